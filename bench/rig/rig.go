// Package rig builds what the bench measures on: namespaces, the links between
// them, and the arms, which are the switches that take turns on those links.
//
//	g0 eth0 ──── p0 ┐            ┌ p2 ──── eth0 s0      lane 0: g0 → s0
//	g1 eth0 ──── p1 ┤  the arm,  ├ p3 ──── eth0 s1      lane 1: g1 → s1
//	                ┤ in ns "sw" ├
//	crowd c0000 ─ x0000          x0001 ─ c0001 crowd    made when asked for
//
//	g0 direct ─────────────────────────────── eth0 d0   the arm "direct":
//	g1 direct ─────────────────────────────── eth0 d1   no switch at all
//
// Links for NAT and VLANs, which are made when asked for too, are in kind.go, taps
// in tap.go.
//
// Every arm but direct works on the same interfaces p0, p1, … one after the
// other: Up gives them to the arm, Down takes them back. Parallel sets of links
// would save that time, but then each arm's links would differ in age, in
// index and in where their memory lies, and an idle daemon would sit beside the
// arm that is measured. Giving them over takes a fraction of a second.
//
// Every interface has the kernel's default offloads and queues, MTU 1500, no
// IPv6, a fixed MAC and IPv4 address, and permanent neighbours, so that nothing
// but the bench's own frames moves.
//
// A Rig is for one goroutine. What fails says which arm or link it was; Close
// takes everything away in any state.
package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
)

// mtu is that of every link.
const mtu = 1500

// Endpoint is a guest's end of a link. It is comparable.
type Endpoint struct {
	NS    *testnet.NS
	Name  string
	Index int
	MAC   frame.MAC
	Addr  netip.Addr // invalid in the crowd
}

// prefixLen is of every address.
const prefixLen = 16

// Broadcast is the address of all in the endpoint's subnet.
func (e Endpoint) Broadcast() netip.Addr {
	a := e.Addr.As4()
	return netip.AddrFrom4([4]byte{a[0], a[1], 255, 255})
}

// Lane is the way from a sender to the receiver that is its own.
type Lane struct{ From, To Endpoint }

// Rig is the namespaces and links.
type Rig struct {
	Switch *testnet.NS
	Lanes  []Lane   // through Switch
	Direct []Lane   // past it, from the same senders
	Ports  []string // the lanes' ends in Switch

	nat  *natLinks  // nil: not asked for yet
	vlan []Endpoint // likewise
	taps []Tap      // likewise

	net   *testnet.Net
	crowd struct {
		ns        *testnet.NS
		endpoints []Endpoint
	}
}

// Lanes is how many lanes fit the machine: a sender on every core, but at least
// two and at most eight.
func Lanes() int { return min(max(runtime.NumCPU(), 2), 8) }

// New builds the namespaces and n lanes. The prefix is that of testnet.New.
func New(prefix string, n int) (_ *Rig, err error) {
	set, err := testnet.New(prefix)
	if err != nil {
		return nil, err
	}
	r := &Rig{net: set}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.Switch, err = r.namespace("sw"); err != nil {
		return nil, err
	}
	if err := r.quietBridges(); err != nil {
		return nil, err
	}
	for i := range n {
		if err := r.lane(i, n); err != nil {
			return nil, fmt.Errorf("lane %d: %w", i, err)
		}
	}
	return r, nil
}

// Close removes all of it.
func (r *Rig) Close() error {
	r.closeTaps()
	return r.net.Close()
}

// Endpoints are all of the lanes' ends, each once.
func (r *Rig) Endpoints() []Endpoint {
	var all []Endpoint
	for _, l := range append(append([]Lane{}, r.Lanes...), r.Direct...) {
		all = append(all, l.From, l.To)
	}
	return all
}

// namespace makes one whose links have no IPv6: no router solicitations, no
// duplicate address detection.
func (r *Rig) namespace(name string) (*testnet.NS, error) {
	ns, err := r.net.Namespace(name)
	if err != nil {
		return nil, err
	}
	for _, which := range []string{"all", "default"} {
		err := ns.Sysctl("net.ipv6.conf."+which+".disable_ipv6", "1")
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			return nil, err
		}
	}
	return ns, nil
}

// quietBridges keeps br_netfilter's hands off the kernel bridge: in a fresh
// namespace every bridged frame would go through iptables, and the comparison
// would be unfair.
func (r *Rig) quietBridges() error {
	for _, family := range []string{"ip", "ip6", "arp"} {
		err := r.Switch.Sysctl("net.bridge.bridge-nf-call-"+family+"tables", "0")
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // no br_netfilter
			return err
		}
	}
	return nil
}

// lane makes sender i and its receiver, both joined to the switch's namespace,
// and the direct way from the same sender.
func (r *Rig) lane(i, lanes int) error {
	from, err := r.namespace("g" + strconv.Itoa(i))
	if err != nil {
		return err
	}
	to, err := r.namespace("s" + strconv.Itoa(i))
	if err != nil {
		return err
	}
	direct, err := r.namespace("d" + strconv.Itoa(i))
	if err != nil {
		return err
	}
	a := Endpoint{NS: from, Name: "eth0", MAC: mac(1, i), Addr: addr(77, 1, i)}
	b := Endpoint{NS: to, Name: "eth0", MAC: mac(2, i), Addr: addr(77, 2, i)}
	portA, portB := "p"+strconv.Itoa(i), "p"+strconv.Itoa(lanes+i)
	if err := plug(r.Switch, portA, frame.MAC{}, &a); err != nil {
		return err
	}
	if err := plug(r.Switch, portB, frame.MAC{}, &b); err != nil {
		return err
	}
	r.Ports = append(r.Ports, portA, portB)

	c := Endpoint{NS: from, Name: "direct", MAC: mac(3, i), Addr: addr(78, 1, i)}
	d := Endpoint{NS: direct, Name: "eth0", MAC: mac(4, i), Addr: addr(78, 2, i)}
	if err := plug(from, c.Name, c.MAC, &d); err != nil {
		return err
	}
	if c.Index, err = indexOf(from, c.Name); err != nil {
		return err
	}
	for _, l := range []Lane{{a, b}, {c, d}} {
		if err := introduce(l.From, l.To); err != nil {
			return err
		}
		if err := introduce(l.To, l.From); err != nil {
			return err
		}
	}
	r.Lanes = append(r.Lanes, Lane{a, b})
	r.Direct = append(r.Direct, Lane{c, d})
	return nil
}

// The addresses of side 1 to 8 (senders, receivers, direct ends, the crowd, those
// of NAT, of VLANs and of taps),
// locally administered.
func mac(side, i int) frame.MAC {
	return frame.MAC{0x02, 0x67, 0x78, byte(side), byte(i >> 8), byte(i)}
}

func addr(net, side, i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(net), byte(side), byte(i + 1)})
}

// plug makes a pair of links: port in ns, and e, whose index it fills in.
func plug(ns *testnet.NS, port string, portMAC frame.MAC, e *Endpoint) error {
	var fd int
	err := e.NS.Do(func() (err error) {
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = ns.Do(func() error {
		a := netlink.NewLinkAttrs()
		a.Name, a.MTU = port, mtu
		if !portMAC.IsZero() {
			a.HardwareAddr = portMAC[:]
		}
		v := netlink.NewVeth(a)
		v.PeerName, v.PeerNamespace, v.PeerHardwareAddr = e.Name, netlink.NsFd(fd), e.MAC[:]
		if err := netlink.LinkAdd(v); err != nil {
			return fmt.Errorf("make veth %s: %w", port, err)
		}
		l, err := host.LinkByName(port)
		if err != nil {
			return err
		}
		return host.SetUp(l.Index, true)
	})
	if err != nil {
		return err
	}
	if e.Index, err = indexOf(e.NS, e.Name); err != nil {
		return err
	}
	return e.NS.Do(func() error { return host.SetUp(e.Index, true) })
}

func indexOf(ns *testnet.NS, name string) (int, error) {
	l, err := ns.Link(name)
	return l.Index, err
}

// introduce gives e its address and tells it the other's MAC for good.
func introduce(e, other Endpoint) error {
	if err := address(e); err != nil {
		return err
	}
	return neighbour(e.NS, e.Index, other.Addr, other.MAC)
}

// address gives e its address.
func address(e Endpoint) error {
	return e.NS.Do(func() error {
		ip := subnet(e.Addr)
		if err := netlink.AddrAdd(link(e.Index), &netlink.Addr{IPNet: ip}); err != nil {
			return fmt.Errorf("add address %s to %s: %w", ip, e.Name, err)
		}
		return nil
	})
}

// subnet is an address with its prefix length.
func subnet(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(prefixLen, 32)}
}

// Crowd returns n further guests' ends, all in one namespace, making those that
// are not there yet. Their ports are CrowdPort(0), CrowdPort(1), …
func (r *Rig) Crowd(n int) ([]Endpoint, error) {
	if n > 0 && r.crowd.ns == nil {
		ns, err := r.namespace("crowd")
		if err != nil {
			return nil, err
		}
		r.crowd.ns = ns
	}
	for i := len(r.crowd.endpoints); i < n; i++ {
		e := Endpoint{NS: r.crowd.ns, Name: fmt.Sprintf("c%04d", i), MAC: mac(5, i)}
		if err := plug(r.Switch, CrowdPort(i), frame.MAC{}, &e); err != nil {
			return nil, fmt.Errorf("guest %d of the crowd: %w", i, err)
		}
		r.crowd.endpoints = append(r.crowd.endpoints, e)
	}
	return r.crowd.endpoints[:n], nil
}

// CrowdPort is the interface in the switch's namespace of guest i of the crowd.
func CrowdPort(i int) string { return fmt.Sprintf("x%04d", i) }

// installed reports whether programs are, and else which is missing.
func installed(look func(string) (string, error), programs ...string) error {
	for _, p := range programs {
		if _, err := look(p); err != nil {
			return fmt.Errorf("%w: %s", ErrNotInstalled, p)
		}
	}
	return nil
}

// runDir makes a directory for a daemon's socket and state.
func runDir(name string) (string, error) { return os.MkdirTemp("", "gxbench-"+name+"-") }
