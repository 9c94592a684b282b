package behaviour

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/testnet/nettest"
)

// Ports that are no veth to another namespace: frames leave by the device itself.
//
//	tap p5 [this process]    p6 [veth, both ends on the host] q6    guest 1
func TestPortsWithoutAPeerElsewhere(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ebpf")
	g1 := l.guest(1)
	mustRun(t, l.host, "ip", "link", "add", "p6", "type", "veth", "peer", "name", "q6")
	mustRun(t, l.host, "ip", "link", "set", "q6", "addrgenmode", "none", "up") // silent
	l.start(isolated)
	guest := tap(t, l.host, "p5")
	swallow(t, guest)
	l.awaitPort("p5", "up")
	l.awaitPort("p6", "up")
	l.engines("ebpf", "p1", "p5", "p6")
	vnet := make([]byte, frame.VNetLen)
	write := func(dst frame.MAC) {
		t.Helper()
		if _, err := guest.Write(append(vnet[:frame.VNetLen:frame.VNetLen], ethernet(dst, guestMAC(5), 0x88b5, 46)...)); err != nil {
			t.Fatal(err)
		}
	}
	write(frame.Broadcast)
	out, host := rawSocket(t, g1, 1), rawSocketOn(t, l.host, "q6", 6)
	out.send(t, ethernet(frame.Broadcast, guestMAC(1), 0x88b5, 46))
	host.send(t, ethernet(frame.Broadcast, guestMAC(6), 0x88b5, 46))

	const count = 50
	for _, tt := range []struct {
		from, to string
		send     func()
	}{
		{"p5", "p1", func() { write(guestMAC(1)) }},
		{"p1", "p5", func() { out.send(t, ethernet(guestMAC(5), guestMAC(1), 0x88b5, 46)) }},
		{"p1", "p6", func() { out.send(t, ethernet(guestMAC(6), guestMAC(1), 0x88b5, 46)) }},
		{"p6", "p5", func() { host.send(t, ethernet(guestMAC(5), guestMAC(6), 0x88b5, 46)) }},
	} {
		nettest.Wait(t, tt.from+" to "+tt.to+" to stay in the kernel", func() (bool, error) {
			punted, from, to, device := l.punted(), l.stats(tt.from), l.stats(tt.to), l.sentBy(tt.to)
			for range count {
				tt.send()
			}
			forwarded, sent := l.stats(tt.from).Forwarded-from.Forwarded, l.stats(tt.to).TxPackets-to.TxPackets
			if l.punted() != punted {
				return false, nil // or somebody else spoke
			}
			if forwarded != count {
				t.Errorf("%s to %s: %d forwarded, want %d", tt.from, tt.to, forwarded, count)
			}
			if sent != count {
				t.Errorf("%s to %s: %d in tx_packets, want %d", tt.from, tt.to, sent, count)
			}
			// What is handed to the other end directly the device does not count.
			want := uint64(count)
			if tt.to == "p1" {
				want = 0
			}
			nettest.Wait(t, fmt.Sprintf("%d frames to leave by %s itself", want, tt.to), func() (bool, error) {
				return l.sentBy(tt.to)-device >= want, nil // a tap counts when it is read
			})
			return true, nil
		})
	}
}

// What a tap has no room for, its guest not reading, is counted by its name: of all
// that was decided, each frame was read or is in device_dropped.
func TestTapThatNobodyReads(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ebpf")
	g1 := l.guest(1)
	if err := g1.Sysctl("net.ipv6.conf.eth0.disable_ipv6", "1"); err != nil { // it would be heard too
		t.Fatal(err)
	}
	l.start(isolated)
	guest := tap(t, l.host, "p5")
	l.awaitPort("p5", "up")
	if _, err := guest.Write(append(make([]byte, frame.VNetLen), ethernet(frame.Broadcast, guestMAC(5), 0x88b5, 46)...)); err != nil {
		t.Fatal(err)
	}
	out := rawSocket(t, g1, 1)
	out.send(t, ethernet(frame.Broadcast, guestMAC(1), 0x88b5, 46))
	l.inKernel(g1, 1, 5)
	before, from := l.stats("p5"), l.stats("p1")
	const count = 3000
	for range count {
		out.send(t, ethernet(guestMAC(5), guestMAC(1), 0x88b5, 46))
	}
	nettest.Wait(t, "all to be decided", func() (bool, error) { return l.stats("p1").Forwarded-from.Forwarded >= count, nil })
	after := l.stats("p5")
	read := uint64(drain(t, guest))
	if n := after.TxPackets - before.TxPackets; n != count {
		t.Errorf("tx_packets grew by %d, want %d", n, count)
	}
	if after.DeviceDropped == before.DeviceDropped || read+after.DeviceDropped != after.TxPackets {
		t.Errorf("%d sent, %d read, %d in device_dropped (%d before)", after.TxPackets, read, after.DeviceDropped, before.DeviceDropped)
	}
	if out := l.must("stats", "p5"); !strings.Contains(out, "device_dropped=") {
		t.Errorf("stats says:\n%s", out)
	}
}

// drain reads what has come to a tap's guest and returns how many frames it was.
func drain(t *testing.T, guest *os.File) (frames int) {
	t.Helper()
	c, err := guest.SyscallConn()
	if err == nil {
		err = c.Control(func(fd uintptr) {
			b := make([]byte, 1<<16)
			for {
				if _, err := unix.Read(int(fd), b); err != nil {
					return
				}
				frames++
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// swallow reads what comes to a tap's guest, until the test ends. (Go's poller
// knows the file from before it had a device, and is never woken.)
func swallow(t *testing.T, guest *os.File) {
	t.Helper()
	c, err := guest.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 1<<16)
		_ = c.Control(func(fd uintptr) {
			for !done.Load() {
				if _, err := unix.Read(int(fd), b); err != nil {
					_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10)
				}
			}
		})
	})
	t.Cleanup(func() {
		done.Store(true)
		wg.Wait()
	})
}

// sentBy is how many frames the interface says to have sent.
func (l *lab) sentBy(name string) (n uint64) {
	l.t.Helper()
	err := l.host.Do(func() error {
		i, err := netlink.LinkByName(name)
		if err == nil {
			n = i.Attrs().Statistics.TxPackets
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// A port whose interface is deleted under traffic costs nobody else a frame, and
// what goes to it afterwards is flooded, as for every address that nobody has.
func TestPortDeletedUnderTraffic(t *testing.T) {
	l := newLab(t, "ebpf")
	g1, _, g3 := l.guest(1), l.guest(2), l.guest(3)
	l.guest(4)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	talk(t, g3, guestIP(4))
	p := startPings(t, g3, guestIP(4), "0.001")
	var sent atomic.Uint64
	stop := flood(t, g1, 1, func(int, []byte) {}, guestMAC(2), &sent)
	nettest.Wait(t, "traffic", func() (bool, error) { return sent.Load() > 1000, nil })
	mustRun(t, l.host, "ip", "link", "del", "p2")
	nettest.Wait(t, "frames to be flooded", func() (bool, error) { return l.stats("p1").Flooded > 100, nil })
	stop()
	p.lost(t, 0)
	l.accounted("p1", sent.Load())
}
