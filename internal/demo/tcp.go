package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"gxswitch/internal/testnet"
)

const (
	transferBytes    = 256_000_000
	transferPatience = 10 * time.Second
	dialPatience     = 2 * time.Second
)

// transfer moves size bytes over one connection and returns bits a second, from
// the first byte sent to the last received.
func transfer(ctx context.Context, from, to *testnet.NS, addr netip.Addr, size int) (float64, error) {
	out, in, err := connect(ctx, from, to, addr)
	if err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	defer out.Close()
	defer in.Close()
	defer context.AfterFunc(ctx, func() { out.Close(); in.Close() })()

	start := time.Now()
	for _, c := range []*net.TCPConn{out, in} {
		if err := c.SetDeadline(start.Add(transferPatience)); err != nil {
			return 0, err
		}
	}
	sent := make(chan error, 1)
	go func() { sent <- send(out, size) }()
	n, err := receive(in)
	took := time.Since(start)
	if err != nil {
		out.Close() // whoever gave up first, the other need not wait
	}
	if sendErr := <-sent; err == nil {
		err = sendErr
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, fmt.Errorf("only %d of %d MB arrived within %s", n/1e6, size/1_000_000, transferPatience)
	case err != nil:
		return 0, err
	case n != size:
		return 0, fmt.Errorf("%d bytes arrived instead of %d", n, size)
	}
	return float64(size) * 8 / took.Seconds(), nil
}

// connect joins two namespaces. The sockets are made inside and stay there.
func connect(ctx context.Context, from, to *testnet.NS, addr netip.Addr) (out, in *net.TCPConn, err error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	var l net.Listener
	err = to.Do(func() error {
		l, err = lc.Listen(ctx, "tcp4", netip.AddrPortFrom(addr, 0).String())
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	var conn net.Conn
	err = from.Do(func() error {
		d := net.Dialer{Timeout: dialPatience}
		conn, err = d.DialContext(ctx, "tcp4", l.Addr().String())
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	out = conn.(*net.TCPConn)
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(dialPatience)); err != nil {
		out.Close()
		return nil, nil, err
	}
	if in, err = l.(*net.TCPListener).AcceptTCP(); err != nil {
		out.Close()
		return nil, nil, err
	}
	return out, in, nil
}

func send(c *net.TCPConn, size int) error {
	chunk := make([]byte, 256<<10)
	for left := size; left > 0; {
		n, err := c.Write(chunk[:min(left, len(chunk))])
		if err != nil {
			return err
		}
		left -= n
	}
	return c.CloseWrite()
}

func receive(c *net.TCPConn) (int, error) {
	chunk := make([]byte, 512<<10)
	total := 0
	for {
		n, err := c.Read(chunk)
		total += n
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
