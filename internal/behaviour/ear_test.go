package behaviour

import (
	"bytes"
	order "encoding/binary"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
)

// ear hears every frame that comes in at a guest's eth0, byte for byte, with
// the tag that the kernel took out back in its place.
type ear struct {
	fd  int
	mac frame.MAC
}

// sentinelWait is how long one is waited for before the next is sent.
const sentinelWait = time.Second

// hear opens one on guest i's. For its sentinels alone i matters: those to a MAC
// that nobody has go to everybody.
func hear(t *testing.T, ns *testnet.NS, i int) ear {
	t.Helper()
	e := ear{mac: guestMAC(i)}
	err := ns.Do(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if e.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		for _, o := range []struct{ level, name, value int }{
			{unix.SOL_PACKET, unix.PACKET_AUXDATA, 1},
			{unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
			{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32 << 20},
		} {
			if err := unix.SetsockoptInt(e.fd, o.level, o.name, o.value); err != nil {
				return err
			}
		}
		wait := unix.NsecToTimeval(sentinelWait.Nanoseconds())
		if err := unix.SetsockoptTimeval(e.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
			return err
		}
		const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
		return unix.Bind(e.fd, &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: all})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(e.fd) })
	return e
}

// until is what came before the sentinel that is sent now. It tells of all that
// its sender sent before; with tags, the sentinel bears them. Each has a number of
// its own: one of another ear, flooded, may get here only now. Behind a flood it may
// find no room in the switch, and is sent again.
func (e ear) until(t *testing.T, from raw, tcis ...uint16) [][]byte {
	t.Helper()
	last := ethernet(e.mac, from.mac, sentinel, 46)
	order.BigEndian.PutUint16(last[16:], 0x88b6) // behind what looks like a tag
	order.NativeEndian.PutUint64(last[18:], rand.Uint64())
	var heard [][]byte
	b, oob := make([]byte, 1<<16), make([]byte, 64)
	var sent time.Time
	for sentinels := 0; ; {
		if time.Since(sent) > sentinelWait {
			if sentinels == 10 {
				t.Fatalf("waited for a sentinel from %s to %s", from.mac, e.mac)
			}
			from.send(t, tagged(last, tcis...))
			sent = time.Now()
			sentinels++
		}
		n, oobn, _, _, err := unix.Recvmsg(e.fd, b, oob, 0)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if err != nil {
			t.Fatalf("waiting for a sentinel from %s to %s: %v", from.mac, e.mac, err)
		}
		f := withTag(bytes.Clone(b[:n]), oob[:oobn])
		if bytes.HasSuffix(f, last[12:]) && bytes.HasPrefix(f, last[:12]) { // between them what tags it has
			return heard
		}
		heard = append(heard, f)
	}
}

// withTag puts the tag of a control message, struct tpacket_auxdata of
// packet(7), back into the frame.
func withTag(f, oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return f
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < 20 {
			continue
		}
		if order.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID != 0 {
			f = tagged(f, order.NativeEndian.Uint16(m.Data[16:]))
			order.BigEndian.PutUint16(f[12:], order.NativeEndian.Uint16(m.Data[18:])) // 802.1Q or 802.1ad
		}
	}
	return f
}

// tagged is the frame with 802.1Q tags, the outermost first.
func tagged(f []byte, tcis ...uint16) []byte {
	var tags []byte
	for _, tci := range tcis {
		tags = append(tags, 0x81, 0, byte(tci>>8), byte(tci))
	}
	return append(append(append([]byte{}, f[:12]...), tags...), f[12:]...)
}

// marked counts the frames that have the mark in them.
func marked(heard [][]byte, mark string) (n int) {
	for _, h := range heard {
		if bytes.Contains(h, []byte(mark)) {
			n++
		}
	}
	return n
}

// times is how often a frame was heard.
func times(heard [][]byte, f []byte) (n int) {
	for _, h := range heard {
		if bytes.Equal(h, f) {
			n++
		}
	}
	return n
}
