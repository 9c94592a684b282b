package dataplane

import (
	"testing"

	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
)

func TestStationsAreLocatedWhereTheHostHearsThem(t *testing.T) {
	l := newLab(t, "a", "b")
	set := func(s string) vlan.Set {
		v, err := vlan.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	locate := func(network string, n byte) string {
		port, role, ok := l.sw.Locate(network, frame.MAC{2, 0, 0, 0, 0, n})
		if !ok {
			return "nowhere"
		}
		return port + " " + role.String()
	}
	const broadcast = "ffffffffffff "
	l.update("b", func(c *PortConfig) { c.VLANs = set("20") })
	l.send("a", broadcast+"020000000001 88b5 00")
	if got := locate("n", 1); got != "nowhere" {
		t.Errorf("without a host: %s", got)
	}
	l.attach(PortConfig{Name: "n", Network: "n", Role: Host, MTU: 1500, Up: true})
	l.attach(PortConfig{Name: "u/n", Network: "n", Role: Uplink, MTU: 1500, Up: true})
	l.send("b", broadcast+"020000000002 88b5 00")
	l.send("u/n", broadcast+"020000000003 88b5 00")
	l.send("a", broadcast+"020000000004 8100 001e 88b5 00") // VLAN 30
	for n, want := range map[byte]string{1: "a guest", 2: "nowhere", 3: "u/n uplink", 4: "nowhere", 9: "nowhere"} {
		if got := locate("n", n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	l.update("n", func(c *PortConfig) { c.VLANs = set("30p/20u/1") })
	for n, want := range map[byte]string{1: "nowhere", 2: "b guest", 4: "a guest"} {
		if got := locate("n", n); got != want {
			t.Errorf("a leg of other VLANs, %d: %s, want %s", n, got, want)
		}
	}
	if got := locate("m", 1); got != "nowhere" {
		t.Errorf("another network: %s", got)
	}
	if err := l.sw.Detach("b"); err != nil {
		t.Fatal(err)
	}
	if got := locate("n", 2); got != "nowhere" {
		t.Errorf("behind a port that is gone: %s", got)
	}
}
