package fastpath

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// Port is an interface with the program at its ingress. As a ports.Port it can
// only be written to: what comes from it and is not decided in the kernel is
// read from its Punt, with Number for a Source.
type Port struct {
	*ports.Sender
	e           *Engine
	number      uint16
	ifindex     int
	punt        *Punt
	options     PortOptions
	hook        *hook
	base        objectCounters // what the counters were when the port was attached
	peer        atomic.Bool    // it is a veth whose other end is in another namespace
	sniffed     atomic.Bool    // somebody listens there, see WatchSniffers
	promiscuous bool           // the device is, and we made it so
	lost        atomic.Uint64  // on the way to user space
	left        leaving        // guarded by Engine.mu

	mu       sync.Mutex // guards what follows
	rules    Rules
	ruled    bool
	addrs    []netip.Addr
	released bool
}

var _ ports.Port = (*Port)(nil)

// PortOptions say what the interface is.
type PortOptions struct {
	// Uplink is a NIC that the host keeps using: it has what is for its own
	// address, and a copy of all that is not decided.
	Uplink bool
	// Promiscuous asks the device for frames of every destination.
	Promiscuous bool
}

// ErrFull means that the engine has all the ports that it can have.
var ErrFull = errors.New("the eBPF engine has no room for another port")

// Attach puts the program on an interface. Until SetRules all frames go to user
// space; those of a port that a predecessor had attached go on as before.
func (e *Engine) Attach(ifindex int, opt PortOptions) (*Port, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	number, adopted := e.adopted[ifindex]
	if !adopted {
		var ok bool
		if number, ok = e.free(); !ok {
			return nil, ErrFull
		}
	}
	p := &Port{e: e, number: number, ifindex: ifindex, options: opt, punt: e.leastUsed()}
	p.peer.Store(behindNamespace(ifindex))
	var err error
	if p.Sender, err = ports.OpenSender(ifindex); err != nil {
		return nil, err
	}
	if opt.Promiscuous {
		if p.promiscuous, err = e.promiscuous(ifindex, number, adopted); err != nil {
			return nil, errors.Join(err, p.Sender.Close())
		}
	}
	if p.base, err = e.counters(number); err == nil && !adopted {
		err = errors.Join(p.put(Rules{}), e.obj.GxIndex.Put(uint32(ifindex), uint32(number)),
			e.obj.GxNear.Put(uint32(ifindex%maxPorts), uint32(number)))
	}
	if err == nil {
		if p.hook = e.links[ifindex]; p.hook == nil {
			p.hook, err = e.attach(e.obj.GxIngress, ifindex, "link")
		}
	}
	if err != nil {
		_ = e.obj.GxIndex.Delete(uint32(ifindex))
		return nil, errors.Join(fmt.Errorf("eBPF engine: %w", explain(err)), p.Sender.Close())
	}
	delete(e.links, ifindex)
	delete(e.adopted, ifindex)
	p.addrs = e.hadAddrs[uint32(number)]
	delete(e.hadAddrs, uint32(number))
	e.ports[number] = p
	e.at[number].Store(p.where())
	return p, nil
}

// leastUsed is the way to user space that the fewest ports take.
func (e *Engine) leastUsed() *Punt {
	used := make([]int, len(e.punts))
	for _, p := range e.ports {
		if p != nil {
			used[p.punt.index]++
		}
	}
	best := 0
	for i := range used {
		if used[i] < used[best] {
			best = i
		}
	}
	return e.punts[best]
}

// promiscuous makes the device take frames of every destination, by its flag: a
// packet socket's membership would end with the process. It reports whether the
// flag is ours to take back.
func (e *Engine) promiscuous(ifindex int, number uint16, adopted bool) (ours bool, err error) {
	if adopted {
		var was objectPort
		if e.obj.GxPorts.Lookup(uint32(number), &was) == nil && was.Flags&flagPromiscuous != 0 {
			return true, nil
		}
	}
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return false, err
	}
	if l.Attrs().RawFlags&unix.IFF_PROMISC != 0 {
		return false, nil
	}
	return true, netlink.SetPromiscOn(l)
}

// discreet undoes promiscuous.
func discreet(ifindex int) error {
	err := netlink.SetPromiscOff(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: ifindex}})
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// free is a number that no port has. Numbers are not taken anew before all others
// have had their turn.
func (e *Engine) free() (uint16, bool) {
	taken := map[uint16]bool{0: true}
	for _, n := range e.adopted {
		taken[n] = true
	}
	for range maxPorts {
		n := e.next
		e.next = (e.next + 1) % maxPorts
		if e.ports[n] == nil && !taken[n] {
			return n, true
		}
	}
	return 0, false
}

// behindNamespace reports whether the interface is a veth or netkit whose other
// end is in another namespace, and there is nothing at its egress that
// bpf_redirect_peer would pass by: no queueing discipline, no program of another's.
func behindNamespace(ifindex int) bool {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return false
	}
	switch l.Type() {
	case "veth", "netkit":
	default:
		return false
	}
	if l.Attrs().NetNsID < 0 || watchedAtEgress(ifindex) {
		return false
	}
	switch qdisc(ifindex) {
	case "noqueue", "noop": // an interface that is down has noop
		return true
	}
	return false
}

// watchedAtEgress reports whether somebody has a tc filter or a tcx program at the
// interface's egress. A filter of a kind that can't be read is one.
func watchedAtEgress(ifindex int) bool {
	filters, err := netlink.FilterList(device(ifindex), netlink.HANDLE_MIN_EGRESS)
	if len(filters) > 0 || gone(err) != nil {
		return true
	}
	on, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: ebpf.AttachTCXEgress})
	return err == nil && len(on.Programs) > 0
}

// where is the port as a slot's where has it.
func (p *Port) where() uint32 { return whereOf(p.number, p.ifindex) }

func whereOf(number uint16, ifindex int) uint32 { return uint32(number) | uint32(ifindex)<<12 }

// Number is the Source of the port's frames at its Punt.
func (p *Port) Number() uint16 { return p.number }

// Punt is which of the engine's Punts brings the port's frames.
func (p *Port) Punt() int { return p.punt.index }

// Look finds out anew where the interface's other end is: to be called when the
// link has changed.
func (p *Port) Look() error {
	return p.change(&p.peer, behindNamespace(p.ifindex))
}

// change makes the program follow what was found out about the interface.
func (p *Port) change(what *atomic.Bool, to bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if what.Swap(to) == to || p.released || !p.ruled {
		return nil
	}
	return p.put(p.rules)
}

// Disable takes the port away from the program: frames are neither taken from it
// nor sent to it any more. Close follows.
func (p *Port) Disable() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return nil
	}
	p.released = true
	e := p.e
	if e.leaving.Load() {
		return p.hook.close()
	}
	err := errors.Join(
		deleted(e.obj.GxIndex.Delete(uint32(p.ifindex))),
		e.obj.GxPorts.Put(uint32(p.number), &objectPort{}),
		e.setAddresses(uint32(p.number), &p.addrs, nil),
		p.hook.remove())
	if p.promiscuous {
		err = errors.Join(err, discreet(p.ifindex))
	}
	e.at[p.number].Store(0)
	e.mu.Lock()
	e.ports[p.number] = nil
	e.mu.Unlock()
	return err
}

// Close implements ports.Port.
func (p *Port) Close() error { return errors.Join(p.Disable(), p.Sender.Close()) }

// Read implements ports.Port: nothing comes this way.
func (p *Port) Read([]frame.Frame, *ports.Buffers) int { return 0 }

// Release implements ports.Port.
func (p *Port) Release() {}

// FD implements ports.Port: there is nothing to wait for.
func (p *Port) FD() int { return -1 }

// Lost implements ports.Port: see Counters.
func (p *Port) Lost() uint64 { return 0 }

// Losing implements ports.Port.
func (p *Port) Losing() bool { return false }

// deleted takes "it was not there" for done.
func deleted(err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// qdisc is the name of the interface's root qdisc, "" if it can't be told. The link
// has it; a list of qdiscs would be of all interfaces.
func qdisc(ifindex int) string {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	of := nl.NewIfInfomsg(unix.AF_UNSPEC)
	of.Index = int32(ifindex)
	req.AddData(of)
	msgs, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil || len(msgs) == 0 {
		return ""
	}
	attrs, err := nl.ParseRouteAttr(msgs[0][of.Len():])
	if err != nil {
		return ""
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_QDISC {
			return unix.ByteSliceToString(a.Value)
		}
	}
	return ""
}
