package fastpath

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A sniffer at the host's end of a guest's veth sees what the program sends to
// the guest, and costs the shorter way only while it is there.
func TestSniffersSeeWhatGoesToAGuest(t *testing.T) {
	for _, tt := range []struct {
		name string
		all  bool // it listens at all interfaces, as tcpdump -i any
	}{{"at the port", false}, {"at all", true}} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.open(Options{})
			a, b := l.guest(nil), l.guest(nil)
			a.known(1)
			b.known(1)
			look := func() { l.do(func() error { return l.e.WatchSniffers() }) }
			short := func() bool {
				var p objectPort
				if err := l.e.obj.GxPorts.Lookup(uint32(b.port.Number()), &p); err != nil {
					t.Fatal(err)
				}
				return p.Flags&flagPeer != 0
			}
			look()
			if !short() {
				t.Error("nobody listens, but the program takes the long way")
			}
			var fd int
			l.do(func() (err error) {
				fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
				if err != nil || tt.all {
					return err
				}
				return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: b.ifindex})
			})
			look()
			sent := a.to(b.mac())
			a.send(sent)
			if got := b.receive(); !bytes.Equal(got, sent) {
				t.Errorf("sent %x, got %x", sent, got)
			}
			if !heard(t, fd, b.ifindex, sent) {
				t.Error("the sniffer did not see the frame leave for the guest")
			}
			if err := unix.Close(fd); err != nil {
				t.Fatal(err)
			}
			look()
			if !short() {
				t.Error("nobody listens any more, but the program takes the long way still")
			}
		})
	}
}

// heard reports whether a packet socket has the frame as one that left by the
// interface. It has been delivered: what the socket will have it has by now.
func heard(t *testing.T, fd, ifindex int, frame []byte) bool {
	t.Helper()
	buf := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if ok && ll.Pkttype == unix.PACKET_OUTGOING && ll.Ifindex == ifindex && bytes.Equal(buf[:n], frame) {
			return true
		}
	}
}
