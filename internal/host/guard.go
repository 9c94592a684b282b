package host

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The guard is a tc filter at a link's ingress that drops everything. Taps see
// the frames before it. It is cls_bpf under a clsact qdisc, which every kernel
// since 4.5 has and which needs no process to hold it, unlike a tcx link.
const (
	guardName = "gxswitch-guard"
	// Priority 1 is left for a fast path, which must see the frames first.
	guardPriority = 2

	tcActShot = 2 // TC_ACT_SHOT, linux/pkt_cls.h

	// An ingress qdisc's filters have its handle for a parent.
	ingressHandle = 0xffff0000
)

// filter is what of a tc filter tells whose it is. A dump has, besides the
// filters, an entry with handle 0 for each priority in use.
type filter struct {
	kind     string
	name     string // of a BPF program
	handle   uint32
	priority uint16
	protocol uint16
}

// is reports whether it is the guard of that name.
func (f filter) is(name string) bool {
	return f.kind == "bpf" && f.name == name && f.handle&guardHandleMask == guardHandle
}

// guardState is what is attached at a link's ingress: ours is the guard of one
// name, foreign all else.
type guardState struct {
	qdisc   string // "clsact", "ingress" or ""
	ours    []filter
	foreign []filter
}

// parent is where ingress filters are attached.
func (g guardState) parent() uint32 {
	if g.qdisc == "ingress" {
		return ingressHandle
	}
	return netlink.HANDLE_MIN_INGRESS
}

func hasGuard(index int) (bool, error) {
	g, err := readGuard(index, guardName)
	return len(g.ours) > 0, err
}

func readGuard(index int, name string) (guardState, error) {
	qdisc, err := ingressQdisc(index)
	if err != nil || qdisc == "" {
		return guardState{}, err
	}
	g := guardState{qdisc: qdisc}
	all, err := filters(index, g.parent())
	if err != nil {
		return guardState{}, err
	}
	for _, f := range all {
		if f.is(name) {
			g.ours = append(g.ours, f)
		}
	}
	for _, f := range all {
		head := f.handle == 0 && len(g.ours) > 0 && f.priority == g.ours[0].priority
		if !head && !f.is(name) {
			g.foreign = append(g.foreign, f)
		}
	}
	return g, nil
}

// hadClsact reports whether the link has an ingress qdisc that no guard brought: where
// one of the two is there, its handle says.
func hadClsact(index int) (bool, error) {
	for _, name := range []string{guardName, uplinkGuardName} {
		g, err := readGuard(index, name)
		if err != nil || g.qdisc == "" {
			return false, err
		}
		if len(g.ours) > 0 {
			return sealedFromHandle(g.ours[0].handle).HadClsact, nil
		}
	}
	return true, nil
}

// setGuard attaches the guard unless it is there. Its handle keeps what the
// link was like before.
func setGuard(index int, was Sealed) error {
	g, err := readGuard(index, guardName)
	if err != nil || len(g.ours) > 0 {
		return err
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "gx_guard",
		Type: ebpf.SchedCLS,
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R0, tcActShot),
			asm.Return(),
		},
		License: "GPL",
	})
	if err != nil {
		return fmt.Errorf("load guard: %w", err)
	}
	defer prog.Close() // the filter holds it
	return g.attach(index, guardName, was.handle(), freePriority(g.foreign), prog)
}

// attach puts a guard at a link's ingress, or in the place of the one of its name
// that is there, without a moment between the two (cls_bpf_change). Handle and
// priority are for a new one.
func (g guardState) attach(index int, name string, handle uint32, priority uint16, prog *ebpf.Program) error {
	if g.qdisc == "" {
		if err := addClsact(index); err != nil {
			return fmt.Errorf("add clsact qdisc: %w", asNoLinkIf(err, index))
		}
	}
	if len(g.ours) > 0 {
		handle, priority = g.ours[0].handle, g.ours[0].priority
	}
	err := netlink.FilterReplace(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index,
			Parent:    g.parent(),
			Handle:    handle,
			Priority:  priority,
			Protocol:  unix.ETH_P_ALL,
		},
		Fd:           prog.FD(),
		Name:         name,
		DirectAction: true,
	})
	// tcf_block_shared; a filter would act on other links as well.
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = fmt.Errorf("its ingress qdisc has a filter block that other interfaces share; make that qdisc without one (tc qdisc show dev %s): %w", nameOf(index), err)
	}
	if err != nil {
		return fmt.Errorf("attach guard: %w", asNoLinkIf(err, index))
	}
	return nil
}

// freePriority is the guard's, or the next one behind filters that have it: a
// priority belongs to one kind and one protocol.
func freePriority(foreign []filter) uint16 {
	p := uint16(guardPriority)
	for used := true; used; {
		used = false
		for _, f := range foreign {
			if f.priority == p {
				p, used = p+1, true
			}
		}
	}
	return p
}

// dropGuard removes the guard of that name, and the qdisc if that came with it.
func dropGuard(index int, name string, keepQdisc bool) error {
	g, err := readGuard(index, name)
	if err != nil {
		return err
	}
	for _, f := range g.ours {
		err := netlink.FilterDel(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: index,
				Parent:    g.parent(),
				Handle:    f.handle,
				Priority:  f.priority,
				Protocol:  f.protocol,
			},
			Fd: -1,
		})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove guard: %w", asNoLinkIf(err, index))
		}
	}
	if keepQdisc || g.qdisc != "clsact" || len(g.foreign) > 0 {
		return nil
	}
	egress, err := filters(index, netlink.HANDLE_MIN_EGRESS)
	if err != nil || len(egress) > 0 {
		return err
	}
	if err := netlink.QdiscDel(clsact(index)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove clsact qdisc: %w", asNoLinkIf(err, index))
	}
	return nil
}

func clsact(index int) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

func addClsact(index int) error {
	err := netlink.QdiscAdd(clsact(index))
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// ingressQdisc is the kind of the one qdisc at a link's ingress, or "". The
// library's list would fetch the qdiscs of all links for it.
//
// ECHO, because the kernel otherwise answers to the multicast group alone. ACK,
// because where a qdisc has been and is no more it answers nothing at all.
func ingressQdisc(index int) (string, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETQDISC, unix.NLM_F_ACK|unix.NLM_F_ECHO)
	req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(index), Parent: netlink.HANDLE_INGRESS})
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWQDISC)
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read ingress qdisc: %w", asNoLink(err))
	}
	for _, m := range msgs {
		if f, err := parseTC(m); err == nil {
			return f.kind, nil
		}
	}
	return "", nil
}

// filters lists the filters of a parent. It reads no more of each than it must:
// the library's list fails on filters whose options it does not understand.
func filters(index int, parent uint32) ([]filter, error) {
	msgs, err := dump(func() ([][]byte, error) {
		req := nl.NewNetlinkRequest(unix.RTM_GETTFILTER, unix.NLM_F_DUMP)
		req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(index), Parent: parent})
		return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWTFILTER)
	})
	if err != nil {
		return nil, fmt.Errorf("list tc filters: %w", asNoLinkIf(err, index))
	}
	list := make([]filter, 0, len(msgs))
	for _, m := range msgs {
		f, err := parseTC(m)
		if err != nil {
			return nil, fmt.Errorf("list tc filters: %w", err)
		}
		list = append(list, f)
	}
	return list, nil
}

func parseTC(m []byte) (filter, error) {
	if len(m) < nl.SizeofTcMsg {
		return filter{}, fmt.Errorf("traffic control message of %d bytes", len(m))
	}
	msg := nl.DeserializeTcMsg(m)
	f := filter{
		handle:   msg.Handle,
		priority: uint16(msg.Info >> 16),
		protocol: nl.Swap16(uint16(msg.Info)),
	}
	attrs, err := nl.ParseRouteAttr(m[nl.SizeofTcMsg:])
	if err != nil {
		return filter{}, err
	}
	var options []byte
	for _, a := range attrs {
		switch a.Attr.Type {
		case nl.TCA_KIND:
			f.kind = cString(a.Value)
		case nl.TCA_OPTIONS:
			options = a.Value
		}
	}
	if f.kind == "bpf" {
		f.name = bpfName(options)
	}
	return f, nil
}

// bpfName finds TCA_BPF_NAME among a BPF filter's options.
func bpfName(options []byte) string {
	attrs, _ := nl.ParseRouteAttr(options)
	for _, a := range attrs {
		if a.Attr.Type == nl.TCA_BPF_NAME {
			return cString(a.Value)
		}
	}
	return ""
}

func cString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}
