package nat

import (
	"testing"

	"gxswitch/internal/frame"
)

// Two tables share an address. When the first gives ports away, its sessions keep
// theirs, and the second, which has them now, leaves those alone.
func TestSharedPortsAreDividedWhileSessionsLive(t *testing.T) {
	const first, middle, last = 62000, 62007, 62015
	a := newTable(t, func(c *Config) { c.FirstPort, c.LastPort = first, last })
	b := newTable(t, func(c *Config) { c.FirstPort, c.LastPort = first, last })
	remote := end{"198.51.100.7", 7777}
	used := map[uint16]end{}
	for i := range uint16(8) {
		guest := end{"10.20.0.11", 40000 + i}
		used[open(t, a, 1, udp(8), guest, remote, 1).port] = guest
	}
	forwardTo(t, a, "udp/62012", end{"10.20.0.10", 53})
	a.SetSiblings([]*Table{b})
	b.SetSiblings([]*Table{a})
	if err := a.SetPorts(first, middle); err != nil {
		t.Fatal(err)
	}
	if err := b.SetPorts(middle+1, last); err != nil {
		t.Fatal(err)
	}
	for port, guest := range used {
		if _, dst := inbound(t, a, udp(8)(remote, end{external, port}), 2); dst != guest {
			t.Errorf("port %d leads to %v, want %v", port, dst, guest)
		}
	}
	for i := range uint16(8) {
		raw := udp(8)(end{"10.20.0.12", 50000 + i}, remote)
		v := b.Outbound(raw, 2, 3)
		if v.Reason == frame.NATExhausted {
			break
		}
		src, _ := passed(t, v, raw, Outside)
		if _, taken := used[src.port]; taken || src.port <= middle || src.port > last || src.port == 62012 {
			t.Errorf("port %d: taken %v", src.port, taken)
		}
	}
	if a.SetPorts(5, 4) == nil {
		t.Error("ports 5-4 are none")
	}
}
