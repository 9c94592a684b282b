package behaviour

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// Isolated guests reach the host, the LAN and guests that are not, but not each
// other.
//
//	g1--p1 isolated--+               g4--p4 isolated--+
//	g2--p2 isolated--+-- lab--host   g5--p5 isolated--+-- xenbr0--eth0--outside
//	g3--p3-----------+               g6--p6-----------+
func TestIsolatedPorts(t *testing.T) { bothEngines(t, testIsolatedPorts) }
func testIsolatedPorts(t *testing.T, engine string) {
	l := newLab(t, engine)
	guests := map[int]*testnet.NS{}
	for i := 1; i <= 6; i++ {
		guests[i] = l.guest(i)
	}
	outside := nettest.Namespace(t, l.net, "outside")
	mustRun(t, l.host, "ip", "link", "add", "eth0", "up", "type", "veth", "peer", "name", "eth0", "netns", outside.Name)
	mustRun(t, outside, "ip", "addr", "add", "10.9.0.200/24", "dev", "eth0")
	mustRun(t, outside, "ip", "link", "set", "eth0", "up")
	config := "[network.lab]\nmode = \"host-only\"\naddress = \"10.9.0.254/24\"\n[network.xenbr0]\nmode = \"bridged\"\nuplink = \"eth0\"\n"
	for i := 1; i <= 6; i++ {
		network := []string{"lab", "xenbr0"}[(i-1)/3]
		config += fmt.Sprintf("[[port]]\nname = \"p%d\"\nnetwork = %q\nisolated = %v\n", i, network, i%3 != 0 && i != 1)
	}
	l.start(config)
	for i, g := range guests {
		way := []string{"10.9.0.254", "10.9.0.200"}[(i-1)/3]
		talk(t, g, way)
		if i%3 != 0 {
			talk(t, g, guestIP((i+2)/3*3))
		}
	}
	talk(t, guests[1], guestIP(2)) // one that is isolated is not enough
	l.must("port", "set", "p1", "--isolated")
	talk(t, outside, guestIP(4))
	talk(t, l.host, guestIP(2))
	noneTalk(t, []pair{
		{from: guests[1], to: guestIP(2)}, {from: guests[2], to: guestIP(1)},
		{from: guests[4], to: guestIP(5)}, {from: guests[5], to: guestIP(4)},
	})

	// Each knows the other's MAC address, from when they could talk.
	e, out, before := hear(t, guests[2], 2), rawSocket(t, guests[1], 1), l.stats("p1").Drops["isolated"]
	out.send(t, append(ethernet(guestMAC(2), guestMAC(1), 0x88b5, 0), "from g1"...))
	nettest.Wait(t, "the frame to be dropped", func() (bool, error) { return l.stats("p1").Drops["isolated"] > before, nil })
	if n := marked(e.until(t, rawSocket(t, guests[3], 3)), "from g1"); n != 0 {
		t.Errorf("heard %d frames from an isolated guest", n)
	}

	l.must("port", "set", "p1", "--isolated=false")
	talk(t, guests[1], guestIP(2))
}

// Xen's emulated NIC and the paravirtual one are the same NIC of one guest.
//
//	e0--vif1.0------+
//	e1--vif1.0-emu--+-- vault
//	e2--vif2.0------+
func TestTwinsDoNotEcho(t *testing.T) { bothEngines(t, testTwinsDoNotEcho) }
func testTwinsDoNotEcho(t *testing.T, engine string) {
	l := newLab(t, engine)
	names := []string{"vif1.0", "vif1.0-emu", "vif2.0"}
	var outs []raw
	var ears []ear
	for i, name := range names {
		s := guestSpec(i, guestIP(i+1)+"/24")
		s.Port = name
		g := nettest.Guest(t, l.net, l.host, s)
		outs, ears = append(outs, rawSocket(t, g, i)), append(ears, hear(t, g, i))
	}
	l.start("[network.vault]\nmode = \"isolated\"\n[[port]]\nname = \"vif*\"\nnetwork = \"vault\"\n")
	l.awaitPort("vif2.0", "up")
	for from, out := range outs {
		mark := fmt.Sprintf("broadcast by %d", from)
		before := l.stats(names[from])
		out.send(t, append(ethernet(frame.Broadcast, guestMAC(from), 0x88b5, 0), mark...))
		nettest.Wait(t, mark+" to be counted", func() (bool, error) { return l.stats(names[from]).Flooded > before.Flooded, nil })
		for to := range ears {
			want := 1
			if to == from || to+from == 1 { // itself, or its twin
				want = 0
			}
			// The sentinel comes from who is no twin, and where that is who sent
			// the broadcast, in order with it.
			sentry := 2
			if to == 2 {
				sentry = from % 2
			}
			heard := ears[to].until(t, outs[sentry])
			if n := marked(heard, mark); n != want && (sentry == from || n > want) {
				t.Errorf("%s heard %d of %s, want %d", names[to], n, mark, want)
			}
		}
	}
}

// A flood is held to its rate, and costs the others nothing.
//
//	g1--p1--+
//	g2--p2--+-- vault
//	g3--p3--+   storm = "500pps"
func TestStorm(t *testing.T) { bothEnginesAlone(t, testStorm) }
func testStorm(t *testing.T, engine string) {
	const rate, flood = 500, 20_000
	l := newLab(t, engine)
	g1, g2, g3 := l.guest(1), l.guest(2), l.guest(3)
	l.start("[network.vault]\nmode = \"isolated\"\n[[port]]\nname = \"p3\"\nnetwork = \"vault\"\nstorm = \"500pps\"\n[[port]]\nname = \"p*\"\nnetwork = \"vault\"\n")
	talk(t, g1, guestIP(2))
	for _, c := range []struct {
		name string
		dst  frame.MAC
	}{
		{"broadcast", frame.Broadcast},
		{"multicast", frame.MAC{1, 0, 0x5e, 0, 0, 9}},
		{"unknown unicast", guestMAC(99)},
	} {
		e, out, before := hear(t, g1, 1), rawSocket(t, g3, 3), l.stats("p3")
		replies := make(chan int)
		go func() {
			r, _ := ping(t, g2, guestIP(1), 50)
			replies <- r
		}()
		start := time.Now()
		f := append(ethernet(c.dst, guestMAC(3), 0x88b5, 30), c.name...)
		for range flood {
			out.send(t, f)
		}
		n := times(e.until(t, rawSocket(t, g3, 3)), f)
		// A quarter of a bucket's frames, at least 8, may come at once; a clock
		// that is read once a batch may be late.
		most := int(time.Since(start).Seconds()*rate) + rate/20 + 8
		if n > most || n < rate/20 {
			t.Errorf("%s: %d frames in %v, want at most %d", c.name, n, time.Since(start), most)
		}
		after := l.stats("p3")
		if d := after.Drops["storm"] - before.Drops["storm"] + after.Drops["ring_full"] - before.Drops["ring_full"]; int(d) < flood-most {
			t.Errorf("%s: %d of %d dropped as storm: %v", c.name, d, flood, after.Drops)
		}
		if r := <-replies; r != 50 {
			t.Errorf("%s: %d of 50 replies between others", c.name, r)
		}
	}
	l.must("port", "set", "p3", "--storm", "none")
	e, out := hear(t, g1, 1), rawSocket(t, g3, 3)
	f := append(ethernet(frame.Broadcast, guestMAC(3), 0x88b5, 30), "no limit"...)
	for range 200 {
		out.send(t, f)
	}
	if n := times(e.until(t, out), f); n != 200 {
		t.Errorf("heard %d of 200 without a limit", n)
	}
}

// A guest has as many addresses as its limit says, and the rest of the table
// is for others.
func TestMACLimit(t *testing.T) { bothEngines(t, testMACLimit) }
func testMACLimit(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g3 := l.guest(1), l.guest(3)
	l.start("[network.vault]\nmode = \"isolated\"\n[[port]]\nname = \"p3\"\nnetwork = \"vault\"\nmac_limit = 4\n[[port]]\nname = \"p*\"\nnetwork = \"vault\"\n")
	talk(t, g3, guestIP(1))
	entries := func() int { return len(list[[]control.FDBEntry](l, "fdb", "list", "--port", "p3")) }
	e, out := hear(t, g1, 1), rawSocket(t, g3, 3)
	random := rand.New(rand.NewSource(1))
	send := func() {
		f := ethernet(guestMAC(1), guestMAC(0), 0x88b5, 46)
		for range 100 {
			random.Read(f[8:12])
			out.send(t, f)
		}
		e.until(t, out)
	}
	if send(); entries() != 4 {
		t.Errorf("%d entries, want 4", entries())
	}
	talk(t, g1, guestIP(3))
	l.must("port", "set", "p3", "--mac-limit", "0")
	if send(); entries() < 50 {
		t.Errorf("%d entries without a limit", entries())
	}
}
