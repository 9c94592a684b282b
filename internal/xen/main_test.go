package xen

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gxswitch/internal/xen/xentest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial connects to a store, until the test ends.
func dial(t testing.TB, socket string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// connect makes a store and a connection to it.
func connect(t testing.TB) (*xentest.Server, *Client) {
	s := xentest.New(t)
	return s, dial(t, s.Path())
}

// soon is a context for what is going to take too long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
