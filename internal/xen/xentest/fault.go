package xentest

import (
	"io"
	"net"
	"strings"
	"time"
)

// Fault is what is wrong with the server's answers. The requests themselves are
// done all the same.
type Fault int

// The faults.
const (
	Polite    Fault = iota
	Silent          // no answer, and the connection stays
	Slow            // a tenth of a second before each byte of an answer
	Trickle         // an answer byte by byte
	Cut             // half an answer, then the end
	HungUp          // the end, without an answer
	OtherID         // the answer to another request
	OtherTx         // the answer in another transaction
	OtherKind       // the answer to another kind of request
	TooLong         // 10000 bytes
	Endless         // a header that announces 4 GiB, and bytes without end
	Garbage         // bytes that are no message
	Events          // three watch events before each answer
	Flood           // watch events without end
	NoMemory        // ENOMEM
	NoName          // an error that xs_wire.h does not know
	NoEnd           // an error without its nul
)

// Misbehave makes the server misbehave from now on, after so many more answers
// that are right.
func (s *Server) Misbehave(f Fault, after int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.after = f, after
}

func (s *Server) manners() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.after > 0 {
		s.after--
		return Polite
	}
	return s.fault
}

// send answers. An error ends the connection.
func (s *Server) send(c net.Conn, to, answer message) error {
	event := message{kind: watchEvent, payload: "/local/domain/0\x00token\x00"}
	switch s.manners() {
	case Silent:
		return nil
	case Slow:
		return s.each(c, answer.bytes(), 100*time.Millisecond)
	case Trickle:
		return s.each(c, answer.bytes(), 0)
	case Cut:
		b := answer.bytes()
		_, _ = c.Write(b[:len(b)/2])
		return io.EOF
	case HungUp:
		return io.EOF
	case OtherID:
		answer.request++
	case OtherTx:
		answer.tx++
	case OtherKind:
		answer.kind = getPerms
	case TooLong:
		answer.payload = strings.Repeat("x", 10000)
	case Endless:
		_, _ = c.Write([]byte(strings.Repeat("\xff", 16)))
		return s.flood(c, []byte(strings.Repeat("x", most)))
	case Garbage:
		_, err := c.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
		return err
	case Events:
		for range 3 {
			if _, err := c.Write(event.bytes()); err != nil {
				return err
			}
		}
	case Flood:
		return s.flood(c, event.bytes())
	case NoMemory:
		answer = message{kind: failure, request: to.request, tx: to.tx, payload: "ENOMEM\x00"}
	case NoName:
		answer = message{kind: failure, request: to.request, tx: to.tx, payload: "EWOULD\n\x1b[2J\x00"}
	case NoEnd:
		answer = message{kind: failure, request: to.request, tx: to.tx, payload: "ENOENT"}
	}
	_, err := c.Write(answer.bytes())
	return err
}

// each writes byte by byte, each after a while.
func (s *Server) each(c net.Conn, b []byte, after time.Duration) error {
	for i := range b {
		select {
		case <-time.After(after):
		case <-s.done:
			return io.EOF
		}
		if _, err := c.Write(b[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// flood writes until the client has had enough.
func (s *Server) flood(c net.Conn, b []byte) error {
	for {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}
