package demo

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"gxswitch/internal/testnet"
)

const pingInterval = 10 * time.Millisecond

// pings is a series of echo requests (RFC 792) and what came of it.
type pings struct {
	sent, received, duplicates int
	least, total               time.Duration // of the round trips
	arrived                    int           // requests that the far end saw, where somebody looked
}

func (p pings) mean() time.Duration {
	if p.received == 0 {
		return 0
	}
	return p.total / time.Duration(p.received)
}

// series is one on its way.
type series struct {
	pings
	conn  *icmp.PacketConn
	to    netip.Addr
	id    int
	start time.Time
	back  []bool // by sequence number
}

// ping sends n echo requests and waits for answers, until all are back or
// patience is over, counted from the last request.
func ping(ctx context.Context, from *testnet.NS, to netip.Addr, id, n int, patience time.Duration) (pings, error) {
	conn, err := listenICMP(from)
	if err != nil {
		return pings{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	s := series{conn: conn, to: to, id: id, start: time.Now(), back: make([]bool, n)}
	for seq := range n {
		if err := s.send(seq); err != nil {
			return s.pings, err
		}
		if err := s.collect(s.start.Add(time.Duration(seq+1)*pingInterval), false); err != nil {
			return s.pings, err
		}
	}
	if err := s.collect(time.Now().Add(patience-pingInterval), true); err != nil {
		return s.pings, err
	}
	return s.pings, nil
}

func newPingID() int { return rand.IntN(1 << 16) }

// listenICMP opens a socket that stays in the namespace. It hears every ICMP
// message that the namespace gets; the kernel goes on answering requests.
func listenICMP(ns *testnet.NS) (conn *icmp.PacketConn, err error) {
	err = ns.Do(func() error {
		conn, err = icmp.ListenPacket("ip4:1", "0.0.0.0")
		return err
	})
	return conn, err
}

// echoLen is ping(8)'s: 56 bytes after the header.
const echoLen = 56

// send puts the time into the request, for the answer brings it back.
func (s *series) send(seq int) error {
	data := make([]byte, echoLen)
	binary.BigEndian.PutUint64(data, uint64(time.Since(s.start)))
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: s.id, Seq: seq, Data: data}}
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := s.conn.WriteTo(b, &net.IPAddr{IP: s.to.AsSlice()}); err != nil {
		return err
	}
	s.sent++
	return nil
}

// collect takes answers until the deadline, or, where that is enough, until all
// are back.
func (s *series) collect(until time.Time, enough bool) error {
	for !enough || s.received < s.sent {
		e, peer, err := readEcho(s.conn, ipv4.ICMPTypeEchoReply, until)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		if e == nil || e.ID != s.id || peer != s.to || e.Seq >= len(s.back) || len(e.Data) != echoLen {
			continue
		}
		if s.back[e.Seq] {
			s.duplicates++
			continue
		}
		rtt := time.Since(s.start) - time.Duration(binary.BigEndian.Uint64(e.Data))
		if s.received == 0 || rtt < s.least {
			s.least = rtt
		}
		s.back[e.Seq] = true
		s.received++
		s.total += rtt
	}
	return nil
}

// countRequests tells how many requests of the series have arrived at a socket
// of the far end.
func countRequests(conn *icmp.PacketConn, id int) (int, error) {
	n := 0
	until := time.Now().Add(time.Millisecond)
	for {
		e, _, err := readEcho(conn, ipv4.ICMPTypeEcho, until)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if e != nil && e.ID == id {
			n++
		}
	}
}

// readEcho reads one message; nil if it is another than the type wanted.
func readEcho(conn *icmp.PacketConn, want ipv4.ICMPType, until time.Time) (*icmp.Echo, netip.Addr, error) {
	if err := conn.SetReadDeadline(until); err != nil {
		return nil, netip.Addr{}, err
	}
	var buf [1500]byte
	n, peer, err := conn.ReadFrom(buf[:])
	if err != nil {
		return nil, netip.Addr{}, err
	}
	m, err := icmp.ParseMessage(1, buf[:n])
	if err != nil || m.Type != want {
		return nil, netip.Addr{}, nil
	}
	e, _ := m.Body.(*icmp.Echo)
	ip, _ := peer.(*net.IPAddr)
	if ip == nil {
		return nil, netip.Addr{}, nil
	}
	addr, _ := netip.AddrFromSlice(ip.IP)
	return e, addr.Unmap(), nil
}
