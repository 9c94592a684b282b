package behaviour

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/gopacket/gopacket"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/testnet/nettest"
)

// What the command line said of ports holds after a restart and after a crash,
// in what the daemon says and on the wire.
//
//	g1--p1--+
//	g2--p2--+-- vault
//	g3--p3--+   all of the command line
func TestPoliciesOutliveTheDaemon(t *testing.T) { bothEngines(t, testPoliciesOutliveTheDaemon) }
func testPoliciesOutliveTheDaemon(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2, g3 := l.guest(1), l.guest(2), l.guest(3)
	const network = "[network.vault]\nmode = \"isolated\"\n"
	const configured = network + "[[port]]\nname = \"p2\"\nnetwork = \"vault\"\n"
	l.start(configured)
	l.must("port", "add", "p1", "--network", "vault", "--vlan", "10p/20-29/100+10x4", "--isolated", "--storm", "2000pps", "--mac-limit", "16",
		"--rate-from", "100Mb/s@20ms", "--rate-to", "50Mb/s", "--ra-guard", "on", "--dhcp-guard", "off", "--label", "one")
	l.must("port", "add", "p3", "--network", "vault", "--antispoof", "mac+ip", "--mac", guestMAC(3).String(), "--ip", guestIP(3)+",fd00::3")
	l.must("port", "set", "p2", "--vlan", "10", "--isolated", "--rate-to", "30Mb/s")
	before := policies(l)
	check := func() {
		t.Helper()
		l.awaitPort("p1", "up")
		if after := policies(l); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		noneTalk(t, []pair{{from: g1, to: guestIP(2)}, {from: g2, to: guestIP(1)}, {from: g3, to: guestIP(1)}}) // isolated; VLAN 1 and VLAN 10
		out, drops := rawSocket(t, g3, 3), l.stats("p3").Drops["spoof_ip"]
		out.send(t, udp4(t, guestMAC(3), guestIP(2), 9, 9, gopacket.Payload("x")))
		nettest.Wait(t, "a forged frame to be dropped", func() (bool, error) { return l.stats("p3").Drops["spoof_ip"] > drops, nil })
	}
	check()
	l.daemon.end(t, syscall.SIGKILL)
	l.start(configured)
	check()
	l.daemon.end(t, syscall.SIGTERM)
	l.start(configured)
	check()
	l.must("port", "set", "p1", "--isolated=false")
	talk(t, g1, guestIP(2))
	if got := l.port("p1").RateFrom; got != "100Mb/s@20ms" {
		t.Errorf("another key changed with --isolated: rate_from is %q", got)
	}

	// The file is changed while no daemon is there to reload it: it is newer.
	l.daemon.end(t, syscall.SIGTERM)
	l.start(configured + "antispoof = \"mac\"\n")
	l.awaitPort("p2", "up")
	if p := l.port("p2"); p.AntiSpoof != "mac" || p.Isolated || p.RateTo != "" {
		t.Errorf("after the configuration changed: %+v", p)
	}
	if p := l.port("p1"); p.Label != "one" {
		t.Errorf("a port of the command line: %+v", p)
	}
}

// policies is what ports are held to, as the daemon says it, without what
// counts or differs from one start to the next.
func policies(l *lab) (text string) {
	for _, p := range list[[]control.Port](l, "port", "list") {
		p.ShaperFrom, p.ShaperTo, p.LearnedIP, p.LearnedMAC = nil, nil, nil, frame.MAC{}
		b, err := json.Marshal(p)
		if err != nil {
			l.t.Fatal(err)
		}
		text += string(b) + "\n"
	}
	return text
}

// An interface that comes later is held to what is configured for its name from
// its first frame on.
//
//	g1--p1--+-- vault
//	g2--p2--+   (later)
func TestPolicyWaitsForItsInterface(t *testing.T) { bothEngines(t, testPolicyWaitsForItsInterface) }
func testPolicyWaitsForItsInterface(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.start("[defaults.port]\nantispoof = \"mac\"\n[network.vault]\nmode = \"isolated\"\n[[port]]\nname = \"p1\"\nnetwork = \"vault\"\nvlan = \"10\"\nantispoof = \"off\"\n" +
		"[[port]]\nname = \"p2\"\nnetwork = \"vault\"\nvlan = \"10\"\nrate_from = \"10Mb/s\"\nstorm = \"2000pps\"\nmac_limit = 3\nmac = \"" + guestMAC(2).String() + "\"\n")
	l.awaitPort("p1", "up")
	absent := l.port("p2")
	for _, args := range [][]string{{"port", "set", "p2", "--vlan", "11"}, {"port", "del", "p2"}, {"stats", "p2"}} {
		if _, stderr, code := l.cli(args...); code != 4 || !strings.Contains(stderr, "port p2: its interface is not there yet\nhint: ") {
			t.Errorf("%v: exit %d\n%s", args, code, stderr)
		}
	}
	for i := range 2 { // it comes, goes, and comes again
		g2 := nettest.Namespace(t, l.net, fmt.Sprint("late", i))
		e := hear(t, g1, 1)
		// It sends before it is a port, and does not stop.
		mustRun(t, g2, "ip", "link", "add", "eth0", "address", guestMAC(2).String(), "up", "type", "veth", "peer", "name", "p2")
		mustRun(t, g2, "ip", "addr", "add", guestIP(2)+"/24", "dev", "eth0")
		out, stop, done := rawSocket(t, g2, 2), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for f := ethernet(guestMAC(1), guestMAC(66), 0x88b5, 46); ; {
				select {
				case <-stop:
					return
				default:
					out.send(t, f)
				}
			}
		}()
		mustRun(t, g2, "ip", "link", "set", "p2", "netns", l.host.Name)
		mustRun(t, l.host, "ip", "link", "set", "p2", "up")
		l.awaitPort("p2", "up")
		nettest.Wait(t, "forged frames to be dropped", func() (bool, error) { return l.stats("p2").Drops["spoof_mac"] > 0, nil })
		close(stop)
		<-done
		forged := guestMAC(66)
		if n := marked(e.until(t, out), string(forged[:])); n != 0 {
			t.Errorf("%d forged frames were heard", n)
		}
		talk(t, g2, guestIP(1))
		p := l.port("p2")
		if p.VLAN != "10p" && p.VLAN != "10" || p.AntiSpoof != "mac" || p.RateFrom != "10Mb/s" || p.ShaperFrom == nil || p.Storm != "2000pps" ||
			p.MACLimit != 3 || !p.RAGuard || p.Source != "config" {
			t.Errorf("port list: %+v", p)
		}
		if absent.VLAN != p.VLAN || absent.RateFrom != p.RateFrom || absent.AntiSpoof != p.AntiSpoof || absent.MAC != p.MAC {
			t.Errorf("while absent: %+v\nthen: %+v", absent, p)
		}
		mustRun(t, g2, "ip", "link", "del", "eth0")
		l.awaitPort("p2", "absent")
	}
}
