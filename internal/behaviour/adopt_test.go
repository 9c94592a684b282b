package behaviour

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/gopacket/gopacket"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet/nettest"
)

// A daemon that starts after a crash may have other VLANs for a port. What was known
// behind it in those of before is not taken over: frames for it are flooded, as after
// any change of VLANs, and not refused for five minutes.
func TestAddressesOfVLANsThatArePastAreNotAdopted(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ebpf")
	g1 := l.guest(1)
	l.guest(2)
	g3 := l.guest(3)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	known := func() map[string]bool {
		in := map[string]bool{}
		for _, e := range list[[]control.FDBEntry](l, "fdb", "list") {
			if e.VLAN == 1 {
				in[e.Port] = true
			}
		}
		return in
	}
	nettest.Wait(t, "the addresses to be known", func() (bool, error) {
		in := known()
		return in["p1"] && in["p2"], nil
	})
	l.daemon.end(t, syscall.SIGKILL)
	moved := "[[port]]\nname = \"p2\"\nnetwork = \"vault\"\nvlan = \"7\"\n"
	l.start(strings.Replace(isolated, "[[port]]\n", moved+"[[port]]\n", 1))

	if in := known(); !in["p1"] || in["p2"] {
		t.Errorf("known are addresses behind %v, want p1 and not p2", in)
	}
	e, out := hear(t, g3, 3), rawSocket(t, g1, 1)
	frame := ethernet(guestMAC(2), guestMAC(1), 0x88b5, 46)
	out.send(t, frame)
	for _, f := range e.until(t, out) {
		if bytes.Equal(f, frame) {
			return
		}
	}
	t.Errorf("the frame was not flooded, but %v", l.stats("p1").Drops)
}

// A guest that is held to its addresses is held to those of the present
// configuration: a daemon that was killed leaves none behind.
//
//	g1--p1--+-- vault
//	g2--p2--+
func TestAddressesThatArePastAreNotAdopted(t *testing.T) {
	bothEngines(t, testAddressesThatArePastAreNotAdopted)
}

func testAddressesThatArePastAreNotAdopted(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.guest(1), l.guest(2)
	held := func(ip string) string {
		own := fmt.Sprintf("[[port]]\nname = \"p2\"\nnetwork = \"vault\"\nantispoof = \"mac+ip\"\nmac = %q\nip = [%q]\n", guestMAC(2), ip)
		return strings.Replace(isolated, "[[port]]\n", own+"[[port]]\n", 1)
	}
	l.start(held(guestIP(2)))
	talk(t, g1, guestIP(2))
	e, out := hear(t, g1, 1), rawSocket(t, g2, 2)
	packet := func(ip, mark string) []byte { return udp4(t, guestMAC(2), ip, 9, 9, gopacket.Payload(mark)) }
	out.send(t, packet(guestIP(2), "before"))
	if heard := e.until(t, out); marked(heard, "before") != 1 {
		t.Fatalf("heard %x", heard)
	}
	l.daemon.end(t, syscall.SIGKILL)
	l.start(held("10.9.0.77"))
	out.send(t, packet(guestIP(2), "forged"))
	out.send(t, packet("10.9.0.77", "genuine"))
	heard := e.until(t, out)
	if marked(heard, "forged") != 0 || marked(heard, "genuine") != 1 {
		t.Errorf("heard %d frames with the address of before, and %d with its own", marked(heard, "forged"), marked(heard, "genuine"))
	}
}
