package behaviour

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// One network per VLAN of a trunk, and one for the rest. At the trunk's other
// end is a machine with a switch of its own, whose stations hang on access
// ports; the kernel of either has no VLAN devices.
//
//	g1--p1--br0 (4094)----+                        +--p11 4094--g11
//	g2--p2--br1 (4093)----+                        +--p12 4093--g12
//	g3--p3--tagged0-------+--eth1 ====trunk==== eth0--p13-------g13 (untagged)
//	g4--p4 30--tagged0----+                        +--p14 30----g14
const perVLAN = `
[network.br0]
mode = "bridged"
uplink = "eth1"
uplink_vlan = 4094
[network.br1]
mode = "bridged"
uplink = "eth1"
uplink_vlan = 4093
[network.tagged0]
mode = "bridged"
uplink = "eth1"
[[port]]
name = "p1"
network = "br0"
[[port]]
name = "p2"
network = "br1"
[[port]]
name = "p3"
network = "tagged0"
[[port]]
name = "p4"
network = "tagged0"
vlan = "30"
`

const farEnd = `
[network.far]
mode = "bridged"
uplink = "eth0"
[[port]]
name = "p11"
network = "far"
vlan = "4094"
[[port]]
name = "p12"
network = "far"
vlan = "4093"
[[port]]
name = "p13"
network = "far"
[[port]]
name = "p14"
network = "far"
vlan = "30"
`

// far is a machine whose eth0 is the other end of an interface of this one.
func (l *lab) far(nic string) *lab {
	l.t.Helper()
	far := &lab{t: l.t, net: l.net, host: nettest.Namespace(l.t, l.net, "far"), dir: l.t.TempDir(), engine: l.engine}
	mustRun(l.t, l.host, "ip", "link", "add", nic, "up", "type", "veth", "peer", "name", "eth0", "netns", far.host.Name)
	mustRun(l.t, far.host, "ip", "link", "set", "eth0", "up")
	return far
}

// trunk is the layout of perVLAN, running.
func trunk(t *testing.T, engine string) (near, far *lab, guests map[int]*testnet.NS) {
	t.Helper()
	near = newLab(t, engine)
	far = near.far("eth1")
	guests = map[int]*testnet.NS{}
	for i := 1; i <= 4; i++ {
		guests[i], guests[10+i] = near.guest(i), far.guest(10+i)
	}
	near.start(perVLAN)
	far.start(farEnd)
	return near, far, guests
}

// pair is a guest and an address.
type pair struct {
	from *testnet.NS
	to   string
	as   string // the address that it speaks from, "" for its own
}

// noneTalk fails the test for every pair of which anything comes back. They
// wait for their answers together.
func noneTalk(t *testing.T, pairs []pair) {
	t.Helper()
	outs := make([]string, len(pairs))
	var wg sync.WaitGroup
	for i, p := range pairs {
		args := []string{"ping", "-n", "-q", "-c", "3", "-i", "0.01", "-W", "1", "-w", "1", p.to}
		if p.as != "" {
			args = append(args, "-I", p.as)
		}
		wg.Go(func() { outs[i], _ = run(t, p.from, args...) })
	}
	wg.Wait()
	for i, p := range pairs {
		if m := pingLine.FindStringSubmatch(outs[i]); m == nil || m[2] != "0" {
			t.Errorf("%s %s to %s, want no reply:\n%s", p.from.Name, p.as, p.to, outs[i])
		}
	}
}

func TestNetworkPerVLAN(t *testing.T) { bothEngines(t, testNetworkPerVLAN) }
func testNetworkPerVLAN(t *testing.T, engine string) {
	near, _, guests := trunk(t, engine)
	var across []pair
	for i, g := range guests {
		for j := range guests {
			switch {
			case i == j:
			case i%10 == j%10:
				talk(t, g, guestIP(j))
			default:
				across = append(across, pair{from: g, to: guestIP(j)})
			}
		}
	}
	noneTalk(t, across)
	sendFile(t, guests[11], guests[1], guestIP(1), 100<<20) // as GSO frames with a tag
	sendFile(t, guests[4], guests[14], guestIP(14), 100<<20)

	uplinks := map[string]string{}
	for _, p := range list[[]control.Port](near, "port", "list") {
		if p.Name == "eth1" {
			uplinks[p.Network] = p.Role + " " + p.State
		}
	}
	if want := (map[string]string{"br0": "uplink up", "br1": "uplink up", "tagged0": "uplink up"}); fmt.Sprint(uplinks) != fmt.Sprint(want) {
		t.Errorf("eth1 is %v, want %v", uplinks, want)
	}
	for _, s := range list[control.Stats](near, "stats", "eth1").Ports {
		if s.RxPackets == 0 || s.RxPackets != s.Forwarded+s.Flooded+s.Consumed+s.RxDropped {
			t.Errorf("counters of eth1 in %s: %+v", s.Network, s)
		}
	}
}

// A tag keeps its priority and drop eligibility, and gets the VLAN of the wire.
//
//	g1--p1--br0 (4094)--+--eth1 ---- eth0 (the wire, no switch)
//	g3--p3--tagged0-----+
//	g4--p4 30--tagged0--+
func TestTagsOnTheWire(t *testing.T) { bothEngines(t, testTagsOnTheWire) }
func testTagsOnTheWire(t *testing.T, engine string) {
	const prio, vid30 = 0xb000, 30 // PCP 5, DEI
	l := newLab(t, engine)
	far := l.far("eth1")
	g1, g3, g4 := l.guest(1), l.guest(3), l.guest(4)
	l.start(perVLAN)
	for _, p := range []string{"p1", "p3", "p4", "eth1"} {
		l.awaitPort(p, "up")
		awaitOperational(t, l.host, p)
	}
	wire := far.host
	for i, c := range []struct {
		name     string
		from, to *testnet.NS
		i        int
		in, out  []uint16
	}{
		{"untagged, network of a VLAN", g1, wire, 1, nil, []uint16{4094}},
		{"priority tag, network of a VLAN", g1, wire, 1, []uint16{prio}, []uint16{prio | 4094}},
		{"its VLAN", wire, g1, 8, []uint16{4094}, nil},
		{"its VLAN with priority", wire, g1, 8, []uint16{prio | 4094}, nil},
		{"untagged, the rest", g3, wire, 3, nil, nil},
		{"priority tag, the rest", wire, g3, 8, []uint16{prio}, nil},
		{"tagged, the rest", g3, wire, 3, []uint16{prio | vid30}, []uint16{prio | vid30}},
		{"tagged to a trunk port", wire, g3, 8, []uint16{prio | vid30}, []uint16{prio | vid30}},
		{"tagged to an access port", wire, g4, 8, []uint16{prio | vid30}, nil},
		{"untagged at an access port", g4, wire, 4, nil, []uint16{vid30}},
		{"priority tag at an access port", g4, wire, 4, []uint16{prio}, []uint16{prio | vid30}},
		{"its own VLAN's tag at an access port", g4, wire, 4, []uint16{prio | vid30}, []uint16{prio | vid30}},
		{"802.1ad", g3, wire, 3, nil, nil},
		{"two tags on a trunk", g3, wire, 3, []uint16{prio | vid30, 7}, []uint16{prio | vid30, 7}},
	} {
		f := ethernet(frame.Broadcast, guestMAC(c.i), 0x88b5, 46)
		if c.name == "802.1ad" {
			f = append(ethernet(frame.Broadcast, guestMAC(c.i), 0x88a8, 0), append([]byte{0x20, 9, 0x88, 0xb5}, make([]byte, 46)...)...)
		}
		f[len(f)-1] = byte(i)
		e, out := hear(t, c.to, 9), rawSocket(t, c.from, c.i)
		out.send(t, tagged(f, c.in...))
		heard := e.until(t, out, c.in...)
		if n := times(heard, tagged(f, c.out...)); n != 1 {
			t.Errorf("%s: heard %d times with tags %x, want once, in:\n%x", c.name, n, c.out, heard)
		}
	}

	// None of these may get on the wire, or to the port beside.
	for _, c := range []struct {
		name, port string
		from       *testnet.NS
		i          int
		tcis       []uint16
		reason     string
	}{
		{"another VLAN at an access port", "p4", g4, 4, []uint16{31}, "vlan_denied"},
		{"the VLAN of another network", "p1", g1, 1, []uint16{4093}, "no_destination"},
		{"VLAN 4095", "p3", g3, 3, []uint16{4095}, "vlan_denied"},
		{"a hop into another network's VLAN", "p3", g3, 3, []uint16{1, 4094}, "vlan_denied"},
	} {
		const mark = "a frame that is nowhere to be seen"
		f := append(ethernet(frame.Broadcast, guestMAC(c.i), 0x88b5, 0), mark...)
		e, out := hear(t, wire, 9), rawSocket(t, c.from, c.i)
		before := l.stats(c.port)
		out.send(t, tagged(f, c.tcis...))
		if heard := e.until(t, out); marked(heard, mark) != 0 {
			t.Errorf("%s: on the wire:\n%x", c.name, heard)
		}
		after := l.stats(c.port)
		if d := after.Drops[c.reason] - before.Drops[c.reason]; d != 1 {
			t.Errorf("%s: %d dropped as %s, want 1: %v", c.name, d, c.reason, after.Drops)
		}
	}
}

// One network, its VLANs kept apart by access ports; a guest with a switch of
// its own on a trunk, and the host in one of the VLANs.
//
//	g1--p1 4094--+                                 +--p11 4094--g11
//	g2--p2 4093--+-- lab --p9 trunk------- eth0 ---+--p12 4093--g12
//	host 4094----+
const oneNetwork = `
[network.lab]
mode = "host-only"
address = "10.9.0.254/24"
[[port]]
name = "lab"
network = "lab"
vlan = "4094"
[[port]]
name = "p1"
network = "lab"
vlan = "4094"
[[port]]
name = "p2"
network = "lab"
vlan = "4093"
[[port]]
name = "p9"
network = "lab"
vlan = "1p/4093-4094"
`

func TestOneNetworkWithAccessPorts(t *testing.T) { bothEngines(t, testOneNetworkWithAccessPorts) }
func testOneNetworkWithAccessPorts(t *testing.T, engine string) {
	l := newLab(t, engine)
	far := l.far("p9")
	g1, g2, g11, g12 := l.guest(1), l.guest(2), far.guest(11), far.guest(12)
	l.start(oneNetwork)
	far.start(farEnd)
	talk(t, g1, guestIP(11))
	talk(t, g12, guestIP(2))
	talk(t, g1, "10.9.0.254")
	talk(t, g11, "10.9.0.254")
	talk(t, l.host, guestIP(1))
	noneTalk(t, []pair{
		{from: g1, to: guestIP(2)}, {from: g1, to: guestIP(12)}, {from: g2, to: guestIP(11)}, {from: g11, to: guestIP(12)},
		{from: g2, to: "10.9.0.254"}, {from: g12, to: "10.9.0.254"}, {from: l.host, to: guestIP(2)},
	})
	carriers := map[int]control.VLAN{}
	for _, v := range list[[]control.VLAN](l, "vlan", "list") {
		carriers[v.VLAN] = v
	}
	if v := carriers[4094]; fmt.Sprint(v.Untagged, v.Tagged) != "[lab p1] [p9]" || v.RxPackets == 0 || v.FDBEntries < 3 {
		t.Errorf("VLAN 4094: %+v", v)
	}
	if v := carriers[4093]; fmt.Sprint(v.Untagged, v.Tagged) != "[p2] [p9]" {
		t.Errorf("VLAN 4093: %+v", v)
	}
	if table := l.must("vlan", "list"); !regexp.MustCompile(`(?m)^lab +4094 +lab,p1 +p9 `).MatchString(table) {
		t.Errorf("vlan list:\n%s", table)
	}

	// The host moves, and stays where it is over a restart.
	l.must("port", "set", "lab", "--vlan", "4093")
	flushNeighbours(t, l.host, g1, g2, g11, g12)
	talk(t, g2, "10.9.0.254")
	talk(t, g12, "10.9.0.254")
	noneTalk(t, []pair{{from: g1, to: "10.9.0.254"}, {from: g11, to: "10.9.0.254"}})
	l.daemon.end(t, syscall.SIGKILL)
	l.start(oneNetwork)
	talk(t, g2, "10.9.0.254")
}

// flushNeighbours makes guests ask for each other's addresses anew.
func flushNeighbours(t *testing.T, spaces ...*testnet.NS) {
	t.Helper()
	for _, ns := range spaces {
		mustRun(t, ns, "ip", "neigh", "flush", "all")
	}
}

// Networks that come to and go from a shared NIC, and a port's VLANs, are
// nothing that the others would feel.
func TestChangesOnATrunkLoseNothing(t *testing.T) {
	bothEnginesAlone(t, testChangesOnATrunkLoseNothing)
}
func testChangesOnATrunkLoseNothing(t *testing.T, engine string) {
	l, _, guests := trunk(t, engine)
	pairs := []pair{{from: guests[1], to: guestIP(11)}, {from: guests[13], to: guestIP(3)}}
	for _, p := range pairs {
		talk(t, p.from, p.to)
	}
	talk(t, guests[4], guestIP(14))
	for _, c := range []struct {
		name  string
		apply func(round int)
	}{
		{"network by reload", func(round int) {
			text := perVLAN
			if round%2 == 0 { // the first of the NIC's networks in the alphabet, and the last
				text += "[network.a]\nmode = \"bridged\"\nuplink = \"eth1\"\nuplink_vlan = 100\n" +
					"[network.z]\nmode = \"bridged\"\nuplink = \"eth1\"\nuplink_vlan = 200\n"
			}
			l.write("gxswitch.toml", text)
			l.must("reload")
		}},
		{"VLANs of a port", func(round int) { l.must("port", "set", "p4", "--vlan", []string{"31", "30"}[round%2]) }},
	} {
		changing(t, c.name, pairs, 500, "0.002", c.apply)
	}
	l.must("port", "set", "p4", "--vlan", "30")
	talk(t, guests[4], guestIP(14))
}

// A NIC is shared and left again by one network after the other.
func TestLastAndFirstNetworkOfANIC(t *testing.T) { bothEngines(t, testLastAndFirstNetworkOfANIC) }
func testLastAndFirstNetworkOfANIC(t *testing.T, engine string) {
	l := newLab(t, engine)
	far := l.far("eth1")
	g1, g3 := l.guest(1), l.guest(3)
	far.guest(11)
	far.guest(13)
	far.start(farEnd)
	const br0 = "[network.br0]\nmode = \"bridged\"\nuplink = \"eth1\"\nuplink_vlan = 4094\n[[port]]\nname = \"p1\"\nnetwork = \"br0\"\n"
	const rest = "[network.tagged0]\nmode = \"bridged\"\nuplink = \"eth1\"\n[[port]]\nname = \"p3\"\nnetwork = \"tagged0\"\n"
	l.start(br0)
	talk(t, g1, guestIP(11))
	for _, c := range []struct {
		config  string
		talking []pair
		silent  []pair
	}{
		{br0 + rest, []pair{{from: g1, to: guestIP(11)}, {from: g3, to: guestIP(13)}}, nil},
		{rest, []pair{{from: g3, to: guestIP(13)}}, []pair{{from: g1, to: guestIP(11)}}},
		{rest + br0, []pair{{from: g1, to: guestIP(11)}, {from: g3, to: guestIP(13)}}, nil},
		{br0, []pair{{from: g1, to: guestIP(11)}}, []pair{{from: g3, to: guestIP(13)}}},
	} {
		l.write("gxswitch.toml", c.config)
		l.must("reload")
		for _, p := range c.talking {
			talk(t, p.from, p.to)
		}
		noneTalk(t, c.silent)
	}
	l.write("gxswitch.toml", strings.ReplaceAll(br0, "4094", "4093"))
	l.must("reload")
	noneTalk(t, []pair{{from: g1, to: guestIP(11)}})
	l.must("network", "set", "br0", "--uplink-vlan", "4094")
	talk(t, g1, guestIP(11))
}
