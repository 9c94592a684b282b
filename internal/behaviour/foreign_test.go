package behaviour

import (
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// passing is a program of somebody else's that lets everything pass.
func passing(t *testing.T, kind ebpf.ProgramType, verdict int32) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "foreign", Type: kind, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// foreign puts programs of somebody else's on the ports: a tc filter on p1, a tcx
// program on p2, an XDP program on p3. there says whether they still are.
func (l *lab) foreign() (there func() bool) {
	l.t.Helper()
	filter, tcx, xdp := passing(l.t, ebpf.SchedCLS, -1), passing(l.t, ebpf.SchedCLS, -1), passing(l.t, ebpf.XDP, 2)
	index := map[string]int{}
	err := l.host.Do(func() error {
		for _, name := range []string{"p1", "p2", "p3"} {
			i, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			index[name] = i.Attrs().Index
		}
		at, err := link.AttachTCX(link.TCXOptions{Interface: index["p2"], Program: tcx, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return err
		}
		l.t.Cleanup(func() { at.Close() })
		if err := netlink.LinkSetXdpFd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index["p3"]}}, xdp.FD()); err != nil {
			return err
		}
		if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: index["p1"], Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}); err != nil {
			return err
		}
		return netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index["p1"], Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
			Fd:          filter.FD(), Name: "theirs", DirectAction: true,
		})
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return func() (all bool) {
		l.t.Helper()
		err := l.host.Do(func() error {
			filters, err := netlink.FilterList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index["p1"]}}, netlink.HANDLE_MIN_INGRESS)
			if err != nil {
				return err
			}
			first, ok := filters[0].(*netlink.BpfFilter)
			on, err := link.QueryPrograms(link.QueryOptions{Target: index["p2"], Attach: ebpf.AttachTCXIngress})
			if err != nil {
				return err
			}
			info, err := tcx.Info()
			if err != nil {
				return err
			}
			id, _ := info.ID()
			p3, err := netlink.LinkByIndex(index["p3"])
			if err != nil {
				return err
			}
			all = ok && first.Name == "theirs" && len(on.Programs) > 0 && on.Programs[0].ID == id && p3.Attrs().Xdp.Attached
			return nil
		})
		if err != nil {
			l.t.Fatal(err)
		}
		return all
	}
}

// Programs of somebody else's stay on the ports, and do their work: those of tcx and
// XDP see frames first; a tc filter, which would see none any more, keeps its port
// with the other engine, which says what to do about it.
func TestForeignProgramsStay(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ebpf")
	g1, g2, g3 := l.guest(1), l.guest(2), l.guest(3)
	there := l.foreign()
	l.start(isolated)
	l.engines("afpacket", "p1")
	l.engines("ebpf", "p2", "p3")
	p := l.port("p1")
	for _, s := range []string{"p1 has another program's tc filter", "bpf theirs, preference 1", "tc filter del dev p1 ingress pref 1"} {
		if !strings.Contains(p.EngineReason, s) {
			t.Errorf("p1 has engine %s because %q, which does not say %q", p.Engine, p.EngineReason, s)
		}
	}
	if out := l.must("port", "show", "p1"); !strings.Contains(out, "afpacket (p1 has another") {
		t.Errorf("port show says:\n%s", out)
	}
	if out := l.must("status"); !strings.Contains(out, "port p1 has the engine afpacket: p1 has another") {
		t.Errorf("status says:\n%s", out)
	}
	talk(t, g1, guestIP(2))
	talk(t, g2, guestIP(3))
	talk(t, g3, guestIP(1))
	l.inKernel(g2, 2, 3)
	if !there() {
		t.Error("a program has gone while the daemon runs")
	}
	l.daemon.end(t, syscall.SIGTERM)
	if !there() {
		t.Error("a program has gone with the daemon")
	}

	mustRun(t, l.host, "tc", "filter", "del", "dev", "p1", "ingress", "pref", "1")
	l.start(isolated)
	l.engines("ebpf", "p1")
}
