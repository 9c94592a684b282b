package control_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gxswitch/internal/control"
	"gxswitch/internal/control/controltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is a running server and how to talk to it.
type daemon struct {
	socket string
	client *control.Client
	log    *logBuffer
	stop   func() // stops it and waits; also done at the end of the test
}

// start serves sw on a socket of its own until the test ends.
func start(t *testing.T, sw control.Switch) *daemon {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "control.sock")
	log := &logBuffer{}
	server, err := control.Listen(control.ServerOptions{Socket: socket,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, sw) }()
	d := &daemon{socket: socket, client: control.NewClient(socket), log: log}
	d.stop = sync.OnceFunc(func() {
		d.client.Close()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := server.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(d.stop)
	return d
}

func seeded(t *testing.T) *daemon { return start(t, controltest.New()) }

// dial opens a connection that lasts as long as the test.
func (d *daemon) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// request sends one request and returns the answer's status, header and body.
func (d *daemon) request(t *testing.T, method, path string, body io.Reader) (int, http.Header, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.socket)
	}}
	req, err := http.NewRequest(method, "http://gxswitch"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, strings.TrimSpace(string(text))
}

// answersWithinASecond fails unless an honest newcomer gets an answer in time.
func (d *daemon) answersWithinASecond(t *testing.T) {
	t.Helper()
	client := control.NewClient(d.socket)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := client.Status(ctx); err != nil {
		t.Errorf("an honest client: %v", err)
	}
}

// logBuffer is what a daemon has logged so far.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
