package host_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// neighbourMap is what a caller makes of the events.
type neighbourMap struct {
	w     <-chan []host.NeighbourEvent
	known map[string]host.Neighbour // by "link address"
}

func watchNeighbours(t *testing.T) *neighbourMap {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w, err := host.WatchNeighbours(ctx)
	ok(t, err)
	t.Cleanup(func() {
		cancel()
		for range w {
		}
	})
	return &neighbourMap{w, make(map[string]host.Neighbour)}
}

func (m *neighbourMap) apply(events []host.NeighbourEvent) {
	for _, e := range events {
		key := fmt.Sprint(e.Link, " ", e.Addr)
		if m.known[key] = e.Neighbour; e.Gone {
			delete(m.known, key)
		}
	}
}

func (m *neighbourMap) await(t *testing.T, what string, cond func(map[string]host.Neighbour) bool) {
	t.Helper()
	timeout := time.After(15 * time.Second)
	for !cond(m.known) {
		select {
		case events, open := <-m.w:
			if !open {
				t.Fatal("the watch has ended")
			}
			m.apply(events)
		case <-timeout:
			t.Fatalf("waited for %s; have %v", what, m.known)
		}
	}
}

// await1 waits for one neighbour to be in a state; 0 is unknown.
func (m *neighbourMap) await1(t *testing.T, link int, addr string, want host.NeighbourState) host.Neighbour {
	t.Helper()
	key := fmt.Sprint(link, " ", addr)
	m.await(t, fmt.Sprintf("%s in state %#x", key, want), func(known map[string]host.Neighbour) bool { return known[key].State == want })
	return m.known[key]
}

// 10.0.0.1 vif1.0 ──── eth0 10.0.0.2, MAC 02:…:02
func neighbourLab(t *testing.T, name string) (sw, guest *testnet.NS, port host.Link) {
	n := nettest.Test(t, name)
	sw = nettest.Namespace(t, n, "host")
	guest = nettest.Guest(t, n, sw, testnet.GuestSpec{
		Name: "guest", Port: "vif1.0", MAC: frame.MAC{2, 0, 0, 0, 0, 2}, Addr: netip.MustParsePrefix("10.0.0.2/24"),
	})
	ok(t, sw.Do(func() error {
		sh(t, "ip addr add 10.0.0.1/24 dev vif1.0")
		port = link(t, "vif1.0")
		// So that a test need not wait for the kernel's seconds.
		sh(t, "sysctl -qw net.ipv4.neigh.vif1/0.delay_first_probe_time=0 net.ipv4.neigh.vif1/0.retrans_time_ms=100")
		return nil
	}))
	return sw, guest, port
}

func TestResolveAsksAndTheAnswerIsTold(t *testing.T) {
	t.Parallel()
	sw, _, port := neighbourLab(t, "resolve")
	ok(t, sw.Do(func() error {
		tap, err := packet.Listen(&net.Interface{Index: port.Index, Name: port.Name}, packet.Raw, unix.ETH_P_ALL, nil)
		ok(t, err)
		defer tap.Close()
		m := watchNeighbours(t)
		there, nobody := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")

		ok(t, host.Resolve(port.Index, there))
		sees(t, tap, port.MAC, unix.ETH_P_ARP)
		if n := m.await1(t, port.Index, "10.0.0.2", host.NeighbourReachable); n.MAC != (frame.MAC{2, 0, 0, 0, 0, 2}) || n.Link != port.Index || n.Addr != there {
			t.Errorf("got %+v", n)
		}

		ok(t, host.Resolve(port.Index, nobody))
		if n := m.await1(t, port.Index, "10.0.0.3", host.NeighbourFailed); !n.MAC.IsZero() {
			t.Errorf("nobody has %s", n.MAC)
		}
		// Once more, now that the kernel has given up.
		drain(t, tap)
		ok(t, host.Resolve(port.Index, nobody))
		sees(t, tap, port.MAC, unix.ETH_P_ARP)
		return nil
	}))
}

func TestResolveConfirmsAStaleNeighbour(t *testing.T) {
	t.Parallel()
	sw, guest, port := neighbourLab(t, "stale")
	ok(t, sw.Do(func() error {
		m := watchNeighbours(t)
		sh(t, "ip neigh replace 10.0.0.2 dev vif1.0 lladdr 02:00:00:00:00:02 nud stale")
		m.await1(t, port.Index, "10.0.0.2", host.NeighbourStale)
		ok(t, host.Resolve(port.Index, netip.MustParseAddr("10.0.0.2")))
		m.await1(t, port.Index, "10.0.0.2", host.NeighbourReachable)

		// It has left: who goes on using it is told.
		sh(t, "ip -n %s addr flush dev eth0", guest.Name)
		sh(t, "ip neigh replace 10.0.0.2 dev vif1.0 lladdr 02:00:00:00:00:02 nud stale")
		m.await1(t, port.Index, "10.0.0.2", host.NeighbourStale)
		ok(t, host.Resolve(port.Index, netip.MustParseAddr("10.0.0.2")))
		m.await1(t, port.Index, "10.0.0.2", host.NeighbourFailed)
		return nil
	}))
}

func TestResolveLeavesWhatIsSet(t *testing.T) {
	t.Parallel()
	sw, _, port := neighbourLab(t, "permanent")
	ok(t, sw.Do(func() error {
		m := watchNeighbours(t)
		sh(t, "ip neigh add 10.0.0.8 dev vif1.0 lladdr 02:00:00:00:00:08 nud permanent")
		sh(t, "ip neigh add 10.0.0.9 dev vif1.0 lladdr 02:00:00:00:00:09 nud noarp")
		ok(t, host.Resolve(port.Index, netip.MustParseAddr("10.0.0.8")))
		ok(t, host.Resolve(port.Index, netip.MustParseAddr("10.0.0.9")))
		sh(t, "ip neigh add 10.0.0.10 dev vif1.0 lladdr 02:00:00:00:00:10 nud permanent") // comes after
		m.await1(t, port.Index, "10.0.0.10", host.NeighbourPermanent)
		m.await1(t, port.Index, "10.0.0.8", host.NeighbourPermanent)
		m.await1(t, port.Index, "10.0.0.9", host.NeighbourNoARP)
		// The kernel would not tell.
		if got := sh(t, "ip neigh show 10.0.0.8 dev vif1.0"); !strings.Contains(got, "PERMANENT") {
			t.Errorf("the kernel has %s", got)
		}
		if got := sh(t, "ip neigh show 10.0.0.9 dev vif1.0 nud noarp"); !strings.Contains(got, "NOARP") {
			t.Errorf("the kernel has %s", got)
		}
		return nil
	}))
}

func TestUnresolveForgetsWhatNobodySet(t *testing.T) {
	t.Parallel()
	sw, _, port := neighbourLab(t, "unresolve")
	ok(t, sw.Do(func() error {
		sh(t, "ip neigh add 10.0.0.8 dev vif1.0 lladdr 02:00:00:00:00:08 nud permanent")
		sh(t, "ip neigh add 10.0.0.9 dev vif1.0 lladdr 02:00:00:00:00:09 nud stale")
		for _, a := range []string{"10.0.0.7", "10.0.0.8", "10.0.0.9"} {
			ok(t, host.Unresolve(port.Index, netip.MustParseAddr(a)))
		}
		if got := sh(t, "ip neigh show dev vif1.0"); !strings.Contains(got, "10.0.0.8") || strings.Contains(got, "00:00:09") {
			t.Errorf("the kernel has %s", got)
		}
		return nil
	}))
}

func TestNeighboursAreToldAsTheyComeAndGo(t *testing.T) {
	t.Parallel()
	sw, _, port := neighbourLab(t, "neighbours")
	ok(t, sw.Do(func() error {
		sh(t, "ip neigh add 10.0.0.5 dev vif1.0 lladdr 02:00:00:00:00:05 nud permanent")
		sh(t, "ip neigh add proxy 10.0.0.77 dev vif1.0")
		m := watchNeighbours(t)
		m.await1(t, port.Index, "10.0.0.5", host.NeighbourPermanent)
		sh(t, "ip neigh replace 10.0.0.5 dev vif1.0 lladdr 02:00:00:00:00:55 nud permanent")
		m.await(t, "the new MAC", func(known map[string]host.Neighbour) bool {
			return known[fmt.Sprint(port.Index, " 10.0.0.5")].MAC[5] == 0x55
		})
		sh(t, "ip neigh del 10.0.0.5 dev vif1.0")
		m.await1(t, port.Index, "10.0.0.5", 0)

		// A slow reader: everything happens before it looks.
		for i := range 200 {
			sh(t, "ip neigh add 10.0.0.6 dev vif1.0 lladdr 02:00:00:00:01:%02x nud permanent", i)
			sh(t, "ip neigh del 10.0.0.6 dev vif1.0")
		}
		sh(t, "ip neigh add 10.0.0.7 dev vif1.0 lladdr 02:00:00:00:00:07 nud permanent")
		m.await1(t, port.Index, "10.0.0.7", host.NeighbourPermanent)
		m.await1(t, port.Index, "10.0.0.6", 0)

		sh(t, "ip neigh add proxy 10.0.0.78 dev vif1.0")
		sh(t, "ip -6 neigh add fd00::9 dev vif1.0 lladdr 02:00:00:00:00:09 nud permanent")
		sh(t, "ip link del vif1.0")
		m.await(t, "all to be gone", func(known map[string]host.Neighbour) bool { return len(known) == 0 })
		return nil
	}))
}

// Messages that overrun the socket's buffer are made up for.
func TestLostNeighboursAreFoundAgain(t *testing.T) {
	t.Parallel()
	sw, _, port := neighbourLab(t, "neighlost")
	ok(t, sw.Do(func() error {
		sh(t, "ip neigh add 10.0.0.9 dev vif1.0 lladdr 02:00:00:00:00:09 nud permanent")
		start, err := host.WatchNeighboursLater(4096)
		ok(t, err)
		for i := range 500 {
			sh(t, "ip neigh add 10.0.%d.%d dev vif1.0 lladdr 02:00:00:00:00:01 nud permanent", 1+i/200, 1+i%200)
		}
		sh(t, "ip neigh del 10.0.0.9 dev vif1.0")
		ctx, cancel := context.WithCancel(t.Context())
		m := &neighbourMap{start(ctx), make(map[string]host.Neighbour)}
		m.await(t, "500 neighbours", func(known map[string]host.Neighbour) bool {
			_, gone := known[fmt.Sprint(port.Index, " 10.0.0.9")]
			return len(known) == 500 && !gone
		})
		cancel()
		for range m.w {
		}
		return nil
	}))
}

func TestResolveOfNothingIsAnError(t *testing.T) {
	t.Parallel()
	inside(t, "resolvebad", func(*testnet.NS) {
		if err := host.Resolve(999, netip.MustParseAddr("10.0.0.1")); !errors.Is(err, host.ErrNoLink) {
			t.Errorf("missing link: %v", err)
		}
		if err := host.Resolve(1, netip.MustParseAddr("fd00::1")); errorText(err) != "resolve fd00::1 on lo: want an IPv4 address" {
			t.Errorf("IPv6: %v", err)
		}
		if err := host.Resolve(1, netip.Addr{}); errorText(err) != "resolve invalid IP on lo: want an IPv4 address" {
			t.Errorf("no address: %v", err)
		}
	})
}
