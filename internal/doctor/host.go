package doctor

import (
	"net/netip"
	"sync"

	"gxswitch/internal/host"
	"gxswitch/ports"
)

// ThisHost is the machine that the program runs on. It tries the kernel once.
func ThisHost() Host { return &thisHost{try: sync.OnceValue(try)} }

type thisHost struct{ try func() Trial }

func (*thisHost) Links() ([]host.Link, error) { return host.Links() }

func (*thisHost) Offloads(name string) (host.Offloads, error) { return host.ReadOffloads(name) }

// Takeover says what would keep a network from having the NIC's addresses, and
// what may disturb it later.
func (*thisHost) Takeover(network string, nic host.Link) ([]string, error) {
	_, err := host.PlanTakeover(network, nic)
	return host.TakeoverWarnings(network, nic), err
}

func (h *thisHost) Try() Trial { return h.try() }

func try() (t Trial) {
	t.Veth, t.Namespace = host.Scratch(func(l host.Link) {
		t.Guard = host.Seal(l)
		t.Uplink = host.SetUplinkGuard(l, host.UplinkGuard{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		t.TCX = host.TryTCX(l.Index)
		p, err := ports.OpenPacket(l.Index, ports.PacketOptions{})
		if err == nil {
			err = p.Close()
		}
		t.Ring = err
	})
	return t
}
