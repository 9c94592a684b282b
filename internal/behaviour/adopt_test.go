package behaviour

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

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
