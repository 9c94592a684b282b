package ports_test

import (
	"testing"

	"go.uber.org/goleak"

	"gxswitch/internal/frame"
	"gxswitch/ports"
	"gxswitch/ports/porttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	porttest.Suite(t, func(t *testing.T, cfg porttest.Config) *porttest.Harness {
		m, err := ports.NewMemory()
		if err != nil {
			t.Fatal(err)
		}
		m.MTU = cfg.MTU
		if cfg.Keep > 0 {
			m.Limit = cfg.Keep
		}
		var sent [][]byte
		return &porttest.Harness{
			Port: m,
			Send: m.Inject,
			Next: func() (vnet, data []byte) {
				t.Helper()
				if sent = append(sent, m.Sent()...); len(sent) == 0 {
					t.Fatal("the port sent nothing")
				}
				raw := sent[0]
				sent = sent[1:]
				return raw[:frame.VNetLen], raw[frame.VNetLen:]
			},
		}
	})
}

func TestMemoryInjectAfterClose(t *testing.T) {
	m, err := ports.NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m.Inject(nil, make([]byte, 60)) // must not touch whose descriptor that is now
	if lost := m.Lost(); lost != 1 {
		t.Errorf("Lost is %d, want 1", lost)
	}
}
