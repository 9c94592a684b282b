package fastpath

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
)

// Rules are what the program may do with a port's frames. The zero Rules let it
// decide nothing: all frames of the port go to user space, and none comes to it
// but from there.
type Rules struct {
	Network uint32 // as numbered by Engine.Network
	VLANs   vlan.Set
	MaxLen  int // longest frame the interface takes, without tag

	From bool // frames from the port may be decided
	To   bool // decided frames may leave by it

	Isolated bool      // reaches no other isolated port
	MAC      frame.MAC // the source of all its frames; on an uplink the host's own address; null: any
	Held     bool      // MAC is the guest's, and it has no other
	Guarded  bool      // only IP packets without options, fragments, DHCP and the like are decided
	Snooped  bool      // what a DHCP server sends to it is for user space

	// Addressed holds the guest to the addresses; HostOnly the port, a host's
	// leg, to those of SetHostAddresses.
	Addressed bool
	HostOnly  bool

	Twin uint16 // number of the port that is the same virtual NIC, 0 without one

	// Gateway is to whose MAC frames are that may be of a Flow; null: none are. On an
	// uplink that gateways share with others this alone is decided.
	Gateway frame.MAC
}

// The flags of a port, as in maps.bpf.h.
const (
	flagFrom = 1 << iota
	flagTo
	flagPeer
	flagRest
	flagIsolated
	flagHeld
	flagAddressed
	flagGuarded
	flagSnooped
	flagHostOnly
	flagPromiscuous // of no meaning to the program: the device is, and we made it so
)

func (r *Rules) flags() (flags uint32) {
	for _, f := range []struct {
		set  bool
		flag uint32
	}{
		{r.From, flagFrom}, {r.To, flagTo}, {r.Isolated, flagIsolated}, {r.Held, flagHeld},
		{r.Addressed, flagAddressed}, {r.Guarded, flagGuarded}, {r.Snooped, flagSnooped}, {r.HostOnly, flagHostOnly},
	} {
		if f.set {
			flags |= f.flag
		}
	}
	return flags
}

// SetRules makes the program follow the rules from the next frame on.
func (p *Port) SetRules(r Rules) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return nil
	}
	// While VLANs change the port is nobody's.
	if r.VLANs != p.rules.VLANs || !p.ruled {
		if p.ruled && p.rules.From || p.ruled && p.rules.To {
			if err := p.put(Rules{Network: r.Network}); err != nil {
				return err
			}
		}
		if err := p.e.obj.GxVlans.Put(uint32(p.number), vlansOf(&r.VLANs)); err != nil {
			return err
		}
	}
	if err := p.put(r); err != nil {
		return err
	}
	p.rules, p.ruled = r, true
	return nil
}

func (p *Port) put(r Rules) error {
	fid := uint16(0)
	if r.From && r.VLANs.PVID() != 0 {
		fid = p.e.fid(vlanKey{r.Network, r.VLANs.PVID()}, maxFIDs)
	}
	v := objectPort{
		Where: p.where(), Fid: fid,
		Ifindex: uint32(p.ifindex), Network: r.Network, Flags: r.flags(), Punt: uint32(p.punt.ifindex),
		MaxLen: uint32(max(r.MaxLen, 0)), Pvid: r.VLANs.PVID(), Twin: r.Twin, Mac: macWord(r.MAC),
		Way: uint64(p.punt.place()), Gateway: macWord(r.Gateway),
	}
	if v.Twin == 0 {
		v.Twin = p.number
	}
	if p.peer.Load() && !p.sniffed.Load() {
		v.Flags |= flagPeer
	}
	if p.promiscuous {
		v.Flags |= flagPromiscuous
	}
	if p.options.Uplink {
		v.Flags |= flagRest
	}
	return p.e.obj.GxPorts.Put(uint32(p.number), &v)
}

func vlansOf(s *vlan.Set) *objectVlans {
	v := &objectVlans{}
	for vid := uint16(vlan.MinVID); vid <= vlan.MaxVID; vid++ {
		if s.Carries(vid) {
			v.Carried[vid>>6] |= 1 << (vid & 63)
		}
		if s.Untagged(vid) {
			v.Untagged[vid>>6] |= 1 << (vid & 63)
		}
	}
	return v
}

// SetAddresses says which addresses the port's guest may use, where Rules hold it
// to some.
func (p *Port) SetAddresses(list []netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return nil
	}
	return p.e.setAddresses(uint32(p.number), &p.addrs, list)
}

// SetHostAddresses says which addresses are the host's own.
func (e *Engine) SetHostAddresses(list []netip.Addr) error {
	e.hostMu.Lock()
	defer e.hostMu.Unlock()
	return e.setAddresses(hostAddrs, &e.hostAddrs, list)
}

// setAddresses brings the map from what it has of somebody to what it should.
func (e *Engine) setAddresses(who uint32, has *[]netip.Addr, list []netip.Addr) error {
	list = slices.Clone(list)
	for i := range list {
		list[i] = netip.AddrFrom16(list[i].As16())
	}
	slices.SortFunc(list, netip.Addr.Compare)
	list = slices.Compact(list)
	if slices.Equal(list, *has) {
		return nil
	}
	for _, a := range *has {
		if _, keep := slices.BinarySearchFunc(list, a, netip.Addr.Compare); !keep {
			if err := deleted(e.obj.GxAddrs.Delete(addressOf(who, a))); err != nil {
				return err
			}
		}
	}
	for _, a := range list {
		if err := e.obj.GxAddrs.Put(addressOf(who, a), uint32(1)); err != nil {
			return err
		}
	}
	*has = list
	return nil
}

func addressOf(who uint32, a netip.Addr) *objectAddress {
	k := &objectAddress{Port: who}
	b := a.As16()
	for i := range k.Ip {
		k.Ip[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return k
}
