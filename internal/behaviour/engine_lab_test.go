package behaviour

import (
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// engines fails the test unless the ports have that engine.
func (l *lab) engines(engine string, ports ...string) {
	l.t.Helper()
	for _, name := range ports {
		if p := l.port(name); p.Engine != engine {
			l.t.Errorf("port %s has engine %s (%s), want %s", name, p.Engine, p.EngineReason, engine)
		}
	}
}

// inKernel waits until the program decides frames of guest i to guest j: none of
// many comes to user space.
func (l *lab) inKernel(from *testnet.NS, i, j int) {
	l.t.Helper()
	out, port := rawSocket(l.t, from, i), fmt.Sprintf("p%d", i)
	nettest.Wait(l.t, "frames to stay in the kernel", func() (bool, error) {
		before, decided := l.punted(), l.stats(port).Forwarded
		for range 10 {
			out.send(l.t, ethernet(guestMAC(j), guestMAC(i), 0x88b5, 46))
		}
		return l.punted() == before && l.stats(port).Forwarded >= decided+10, nil
	})
}

// punted is how many frames have taken the ways to user space.
func (l *lab) punted() (n uint64) {
	l.t.Helper()
	err := l.host.Do(func() error {
		links, err := netlink.LinkList()
		for _, i := range links {
			if a := i.Attrs(); strings.HasPrefix(a.Name, "gxp") && strings.HasSuffix(a.Name, "a") {
				n += a.Statistics.TxPackets
			}
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}
