package behaviour

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"gxswitch/internal/testnet"
)

// session is a TCP connection on which one end says a number every few
// milliseconds and the other answers it, as one who types over ssh.
type session struct {
	name    string
	stop    chan struct{}
	wg      sync.WaitGroup
	err     error
	longest time.Duration // until an answer came
	count   int
}

func startSession(t *testing.T, server, client *testnet.NS, addr string) *session {
	t.Helper()
	s := &session{name: client.Name + " to " + addr, stop: make(chan struct{})}
	var listener net.Listener
	if err := server.Do(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s.wg.Go(func() {
		c, err := listener.Accept()
		listener.Close()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(line))
		}
	})
	var conn net.Conn
	if err := client.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
		return err
	}); err != nil {
		listener.Close()
		t.Fatal(err)
	}
	s.wg.Go(func() {
		defer conn.Close()
		r := bufio.NewReader(conn)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
			}
			at := time.Now()
			_ = conn.SetDeadline(at.Add(15 * time.Second))
			if _, s.err = fmt.Fprintln(conn, s.count); s.err != nil {
				return
			}
			line, err := r.ReadString('\n')
			if s.err = err; err != nil {
				return
			}
			if line != fmt.Sprintln(s.count) {
				s.err = fmt.Errorf("%q is the answer to %d", line, s.count)
				return
			}
			s.count++
			s.longest = max(s.longest, time.Since(at))
		}
	})
	t.Cleanup(s.end)
	return s
}

func (s *session) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.wg.Wait()
}

// survived ends the session and fails the test if it broke or stood still.
func (s *session) survived(t *testing.T, most time.Duration) {
	t.Helper()
	s.end()
	t.Logf("%s: %d answers, the longest after %v", s.name, s.count, s.longest)
	if s.err != nil || s.count == 0 || s.longest > most {
		t.Errorf("%s: %v after %d answers, longest wait %v", s.name, s.err, s.count, s.longest)
	}
}
