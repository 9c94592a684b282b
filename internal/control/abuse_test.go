package control_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/control/controltest"
)

// raw sends bytes as they are and returns what comes back until the end.
func (d *daemon) raw(t *testing.T, text []byte) string {
	t.Helper()
	c := d.dial(t)
	go func() {
		c.Write(text) // it may fail: the server may have had enough
		c.(*net.UnixConn).CloseWrite()
	}()
	var got bytes.Buffer
	io.Copy(&got, c)
	return got.String()
}

func TestGarbageIsAnsweredOrDropped(t *testing.T) {
	d := seeded(t)
	random := make([]byte, 1<<16)
	rng := rand.NewChaCha8([32]byte{7})
	rng.Read(random)
	for _, garbage := range [][]byte{
		{},
		{0},
		random,
		bytes.Repeat([]byte("\r\n"), 1<<12),
		[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), // a TLS ClientHello
		[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		[]byte("GET /v1/status HTTP/9.9\r\nHost: x\r\n\r\n"),
		[]byte("GET /v1/status HTTP/1.1\r\n\r\n"), // no Host
		[]byte("GET /v1/status\r\n\r\n"),
		[]byte("GET \x00 HTTP/1.1\r\nHost: x\r\n\r\n"),
		[]byte("POST /v1/ports HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
		[]byte("POST /v1/ports HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
		[]byte("POST /v1/ports HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
	} {
		answer := d.raw(t, garbage)
		if strings.Contains(answer, " 200 ") {
			t.Errorf("%.40q was answered with %q", garbage, answer)
		}
	}
	for _, odd := range []string{"OPTIONS * HTTP/1.1", "CONNECT gxswitch:80 HTTP/1.1", "GET * HTTP/1.1"} {
		answer := d.raw(t, []byte(odd+"\r\nHost: x\r\nConnection: close\r\n\r\n"))
		if !strings.Contains(answer, " 40") {
			t.Errorf("%s was answered with %q", odd, answer)
		}
	}
	d.answersWithinASecond(t)
}

func TestBodiesAreBounded(t *testing.T) {
	d := seeded(t)
	const size = 100 << 20
	for name, body := range map[string]io.Reader{
		"with its length":    &sized{size},
		"chunked":            io.MultiReader(&sized{size}),
		"one byte too long":  io.MultiReader(&sized{1<<20 + 1}),
		"one byte and known": &sized{1<<20 + 1},
	} {
		req, err := http.NewRequest("POST", "http://gxswitch/v1/ports", body)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := body.(*sized); ok {
			req.ContentLength = s.left
		}
		c := d.dial(t)
		go req.Write(c)
		resp, err := http.ReadResponse(bufio.NewReader(c), req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 413 || !strings.Contains(string(text), "longer than 1048576 bytes") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
		c.Close()
	}
	status, _, body := d.request(t, "POST", "/v1/ports", io.MultiReader(&sized{1 << 20}))
	if status != 400 {
		t.Errorf("a body just within the bound: %d %s", status, body)
	}
	d.answersWithinASecond(t)
}

// sized is so many spaces.
type sized struct{ left int64 }

func (s *sized) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := min(s.left, int64(len(p)))
	s.left -= n
	for i := range p[:n] {
		p[i] = ' '
	}
	return int(n), nil
}

func TestDeepJSONIsRefused(t *testing.T) {
	d := seeded(t)
	for _, open := range []string{"[", `{"a":`} {
		deep := `{"port":` + strings.Repeat(open, (1<<20)/len(open)-16)
		status, _, body := d.request(t, "POST", "/v1/ports", strings.NewReader(deep))
		if status != 400 || !strings.Contains(body, "not JSON") {
			t.Errorf("%.20s…: %d %.200s", deep, status, body)
		}
	}
	d.answersWithinASecond(t)
}

func TestHeadersAreBounded(t *testing.T) {
	d := seeded(t)
	long := strings.Repeat("a", 64<<10)
	for _, text := range []string{
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + long + "\r\n\r\n",
		"GET /v1/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 64<<10) + "\r\n",
	} {
		if answer := d.raw(t, []byte(text)); !strings.HasPrefix(answer, "HTTP/1.1 431 ") && answer != "" {
			t.Errorf("%.30q…: %.80q", text, answer)
		}
	}
	d.answersWithinASecond(t)
}

// wordy is a switch whose configuration is more than a socket's buffers hold.
type wordy struct{ controltest.Switch }

func (*wordy) Config() control.ConfigText {
	return control.ConfigText{TOML: strings.Repeat("x", 300<<10)}
}

func TestSlowConnectionsDoNotKeepOthersOut(t *testing.T) {
	for _, tc := range []struct {
		name, opening string
		answered      bool // so much that the rest of the answer waits to be read
	}{
		{"silent", "", false},
		{"in the header", "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Slow: ", false},
		{"in the body", "POST /v1/ports HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", false},
		{"not reading", "GET /v1/config HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"between two", "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"after an error", "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := start(t, &wordy{})
			for i := range 400 {
				c := d.dial(t)
				if _, err := io.WriteString(c, tc.opening); err != nil {
					t.Fatal(err)
				}
				if tc.answered {
					if _, err := c.Read(make([]byte, 1)); err != nil {
						t.Fatal(err)
					}
				}
				if i%100 == 0 {
					d.answersWithinASecond(t)
				}
			}
			d.answersWithinASecond(t)
		})
	}
}

func TestNewcomerTakesThePlaceOfTheOneIdleLongest(t *testing.T) {
	d := seeded(t)
	idle, busy := d.dial(t), d.dial(t)
	in := bufio.NewReader(busy)
	ask := func() error {
		fmt.Fprint(busy, "GET /v1/networks HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
		}
		return err
	}
	for i := range 400 {
		d.dial(t)
		if i%100 == 0 {
			if err := ask(); err != nil {
				t.Fatalf("after %d newcomers, who completes requests was closed: %v", i, err)
			}
		}
	}
	if err := ask(); err != nil {
		t.Errorf("who completes requests was closed: %v", err)
	}
	idle.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the one idle longest: %v, want EOF", err)
	}
}
