package gateway

import (
	"net/netip"
	"testing"

	"gxswitch/internal/frame"
)

// A picture goes on from another where nothing that was sent is sent otherwise.
func TestExtends(t *testing.T) {
	was := routed()
	known := map[netip.Addr]frame.MAC{ip(router): {2, 0, 0, 0, 0, 0x77}}
	was.Neighbours[Outside] = NewNeighbours(known)
	was.Routes, was.Errors = NewRoutes([]Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: ip(router)}}), NewErrorLimit()
	table := natted(t).NAT
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   bool
	}{
		{"the same", func(*Config) {}, true},
		{"a neighbour that was not known", func(c *Config) {
			c.Neighbours[Outside] = NewNeighbours(map[netip.Addr]frame.MAC{ip(router): {2, 0, 0, 0, 0, 0x77}, ip(remote): {2, 0, 0, 0, 0, 0x78}})
		}, true},
		{"a neighbour with another MAC", func(c *Config) {
			c.Neighbours[Outside] = NewNeighbours(map[netip.Addr]frame.MAC{ip(router): {2, 0, 0, 0, 0, 0x79}})
		}, false},
		{"a neighbour less", func(c *Config) { c.Neighbours[Outside] = nil }, false},
		{"another MAC of its own", func(c *Config) { c.Link[Inside].MAC[5]++ }, false},
		{"another MTU", func(c *Config) { c.Link[Outside].MTU-- }, false},
		{"other guests", func(c *Config) {
			c.Guests = append(c.Guests[:len(c.Guests):len(c.Guests)], netip.MustParsePrefix("10.99.0.0/24"))
		}, false},
		{"another host's address", func(c *Config) { c.Hosts = map[netip.Addr]struct{}{ip(remote): {}} }, false},
		{"other routes", func(c *Config) { c.Routes = NewRoutes(nil) }, false},
		{"NAT", func(c *Config) { c.NAT = table }, false},
	} {
		c := was
		tt.change(&c)
		if got := newGateway(t, c).Extends(newGateway(t, was)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if newGateway(t, was).Extends(nil) {
		t.Error("extends none")
	}
}
