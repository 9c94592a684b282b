package behaviour

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// tap makes a tap in the host's namespace and returns the guest's end of it,
// which reads and writes frames behind a virtio-net header.
func tap(t *testing.T, host *testnet.NS, name string) *os.File {
	t.Helper()
	var f *os.File
	if err := host.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), name)
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A frame of a GSO kind that the kernel can't hand over (UFO) wedges a receive
// ring. The port is mute for a moment, not for ever.
func TestStuckRingIsMadeAnew(t *testing.T) { bothEngines(t, testStuckRingIsMadeAnew) }
func testStuckRingIsMadeAnew(t *testing.T, engine string) {
	l := newLab(t, engine)
	l.guest(1)
	l.start(isolated)
	guest := tap(t, l.host, "p9")
	l.awaitPort("p9", "up")
	plain := append(make([]byte, frame.VNetLen), ethernet(frame.Broadcast, guestMAC(9), 0x88b5, 46)...)
	send := func(b []byte) {
		if _, err := guest.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	send(plain)
	nettest.Wait(t, "a plain frame to be flooded", func() (bool, error) { return l.stats("p9").Flooded >= 1, nil })

	const size = 4000
	ufo := append(make([]byte, frame.VNetLen), ethernet(frame.Broadcast, guestMAC(9), 0x0800, size)...)
	copy(ufo, []byte{1, 3, 42, 0, 0xc0, 0x05, 34, 0, 6, 0}) // needs checksum, UDP, gso_size 1472
	ip := ufo[frame.VNetLen+frame.HeaderLen:]
	copy(ip, []byte{0x45, 0, size >> 8, size & 0xff, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 9, 10, 9, 0, 255,
		0, 53, 0, 53, (size - 20) >> 8, (size - 20) & 0xff})
	send(ufo)
	before := l.stats("p9").Flooded
	nettest.Wait(t, "frames to be flooded again", func() (bool, error) {
		send(plain)
		return l.stats("p9").Flooded > before+1, nil
	})
	if st := l.stats("p9"); st.Drops["ring_full"] == 0 {
		t.Log("this kernel handed the UFO frame over: nothing was stuck")
	}
}

// A reload that can't be carried out leaves the network as it was.
func TestFailedReloadKeepsTheNetwork(t *testing.T) { bothEngines(t, testFailedReloadKeepsTheNetwork) }
func testFailedReloadKeepsTheNetwork(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.guest(2)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	mustRun(t, l.host, "ip", "link", "add", "vault", "type", "veth", "peer", "name", "vaultp") // somebody's own
	l.write("gxswitch.toml", "[network.vault]\nmode = \"host-only\"\naddress = \"10.9.0.254/24\"\n[[port]]\nname = \"p*\"\nnetwork = \"vault\"\n")
	if _, errs, code := l.cli("reload"); code != 1 {
		t.Errorf("exit %d, %s", code, errs)
	}
	l.awaitPort("p1", "up")
	l.awaitPort("p2", "up")
	talk(t, g1, guestIP(2))
}

// A daemon with another run directory takes nothing from one that is alive.
func TestTwoDaemonsShareNothing(t *testing.T) { bothEngines(t, testTwoDaemonsShareNothing) }
func testTwoDaemonsShareNothing(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.guest(2)
	l.start(hostOnly)
	talk(t, g1, guestIP(2))
	other := &lab{t: t, net: l.net, host: l.host, dir: t.TempDir(), engine: engine}
	other.write("gxswitch.toml", isolated)
	d := other.launch()
	nettest.Wait(t, "the second daemon to be ready or gone", func() (bool, error) {
		select {
		case <-d.done:
			return true, nil
		default:
			_, _, code := other.cli("status")
			return code == 0, nil
		}
	})
	d.end(t, unix.SIGTERM)
	talk(t, g1, guestIP(2))
	talk(t, g1, "10.9.0.254")
}
