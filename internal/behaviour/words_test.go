package behaviour

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gxswitch/internal/testnet"
)

// in runs f in the namespace and fails the test on its error.
func in(t *testing.T, ns *testnet.NS, f func() error) {
	t.Helper()
	if err := ns.Do(f); err != nil {
		t.Fatal(err)
	}
}

// serve answers each connection with the line that it sends and the peer's address.
func serve(t *testing.T, ns *testnet.NS, addr string) {
	t.Helper()
	var ln net.Listener
	in(t, ns, func() (err error) {
		ln, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp4", addr)
		return err
	})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				defer context.AfterFunc(t.Context(), func() { c.Close() })() // its other end may be gone without a word
				_ = c.SetDeadline(time.Now().Add(60 * time.Second))
				b := make([]byte, 64)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					fmt.Fprintf(c, "%s from %s\n", strings.TrimSpace(string(b[:n])), c.RemoteAddr())
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
}

// ask opens a connection, sends a word and returns it with the answer.
func ask(ns *testnet.NS, from, to, word string) (c net.Conn, answer string, err error) {
	err = ns.Do(func() error {
		d := net.Dialer{Timeout: 10 * time.Second}
		if from != "" {
			a, err := net.ResolveTCPAddr("tcp4", from)
			if err != nil {
				return err
			}
			d.LocalAddr = a
			d.Control = reuse
		}
		c, err = d.Dial("tcp4", to)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	answer, err = say(c, word)
	return c, answer, err
}

// reuse lets a port be bound again after a connection of an earlier test.
func reuse(_, _ string, c syscall.RawConn) (err error) {
	return errors.Join(c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) }), err)
}

func say(c net.Conn, word string) (string, error) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, word+"\n"); err != nil {
		return "", err
	}
	b := make([]byte, 128)
	n, err := c.Read(b)
	return strings.TrimSpace(string(b[:n])), err
}
