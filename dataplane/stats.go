package dataplane

import (
	"fmt"
	"net/netip"
	"time"

	"gxswitch/fdb"
	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/nat"
	"gxswitch/shaping"
)

// PortStats are a port's counters since it was attached, in frames and bytes of
// the wire. Nothing vanishes: RxPackets is Forwarded + Flooded + Consumed + the
// sum of RxDrops.
type PortStats struct {
	Name, Network                string
	RxPackets, RxBytes           uint64
	TxPackets, TxBytes           uint64
	Forwarded, Flooded, Consumed uint64
	RxDrops, TxDrops             [frame.NumReasons]uint64
}

// NetworkStats are a network's counters.
type NetworkStats struct {
	Name                 string
	Ports                int
	FDBEntries, FDBLimit int
	Flooded              uint64 // frames that went to every port
}

// PortStats returns the counters of every port, in no order.
func (s *Switch) PortStats() []PortStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]PortStats, 0, len(s.byName))
	for _, of := range s.open() {
		for i, a := range of {
			st := a.stats()
			if i == 0 { // frames that the ring had no room for arrived too: of whom, nobody knows
				lost := a.port.io.Lost()
				st.RxPackets += lost
				st.RxDrops[frame.RingFull] += lost
				st.addFast(a.port)
			}
			if s.fast != nil && s.isGate(&a.cfg) {
				st.addPassage(s.fast.Passage(s.networks[a.cfg.Network].number), a.port.passage)
			}
			all = append(all, st)
		}
	}
	return all
}

func (a *attachment) stats() PortStats {
	c := &a.port.counters
	st := PortStats{
		Name: a.cfg.Name, Network: a.cfg.Network,
		TxPackets: c.txPackets.Load(), TxBytes: c.txBytes.Load(),
	}
	for r := range st.RxDrops {
		st.RxDrops[r] = c.rxDrops[r].Load()
		st.TxDrops[r] = c.txDrops[r].Load()
	}
	st.Forwarded, st.Flooded, st.Consumed = c.forwarded.Load(), c.flooded.Load(), c.consumed.Load()
	st.RxPackets, st.RxBytes = c.rxPackets.Load(), c.rxBytes.Load()
	return st
}

// NetworkStats returns the counters of every network, in no order.
func (s *Switch) NetworkStats() []NetworkStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]NetworkStats, 0, len(s.networks))
	for name, n := range s.networks {
		st := NetworkStats{Name: name, FDBEntries: n.table.Len(), FDBLimit: n.table.Limit(), Flooded: n.flooded.Load()}
		for _, a := range s.attached {
			if a != nil && a.cfg.Network == name {
				st.Ports++
			}
		}
		all = append(all, st)
	}
	return all
}

// VLANStats are a VLAN of a network that is in use: a port sends it untagged, or
// names it, or frames came in it. A port that carries more than namesAtMost VLANs
// names none of them.
type VLANStats struct {
	Network            string
	VLAN               uint16
	Untagged, Tagged   []string // ports that carry it
	RxPackets, RxBytes uint64   // that entered the network
	FDBEntries         int
}

const namesAtMost = 256

// VLANStats returns the VLANs in use of every network, in no order.
func (s *Switch) VLANStats() []VLANStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []VLANStats
	for name, n := range s.networks {
		entries := map[uint16]int{}
		for _, e := range n.table.Entries(s.clock.Load()) {
			entries[e.Key.VLAN()]++
		}
		for vid := uint16(vlan.MinVID); vid <= vlan.MaxVID; vid++ {
			v := VLANStats{Network: name, VLAN: vid, FDBEntries: entries[vid]}
			c := n.vlans[vid].Load()
			if c != nil {
				v.RxPackets, v.RxBytes = c.packets.Load(), c.bytes.Load()
			}
			if s.fast != nil {
				packets, bytes := s.fast.VLANCounters(n.number, vid)
				v.RxPackets, v.RxBytes = v.RxPackets+packets, v.RxBytes+bytes
			}
			named := false
			for _, a := range s.attached {
				if a == nil || a.cfg.Network != name || s.isGate(&a.cfg) {
					continue
				}
				set := &a.port.carries
				switch {
				case !set.Carries(vid):
				case set.Untagged(vid) && a.cfg.UplinkVLAN == 0:
					v.Untagged = append(v.Untagged, a.cfg.Name)
				default:
					v.Tagged = append(v.Tagged, a.cfg.Name)
					named = named || a.port.names
				}
			}
			if c != nil || len(v.Untagged) > 0 || named {
				all = append(all, v)
			}
		}
	}
	return all
}

// Lease is an address that a port's guest has from DHCP, as its guard saw it.
type Lease struct {
	Addr    netip.Addr
	Expires time.Time // zero: never
}

// GuestMAC is the address that a port's guest is held to, told or learned from its
// first frame; null where there is none.
func (s *Switch) GuestMAC(port string) frame.MAC {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, _ := s.find(port); a != nil && a.port.guard != nil {
		return a.port.guard.MAC()
	}
	return frame.MAC{}
}

// Leases lists them.
func (s *Switch) Leases(port string) (all []Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, _ := s.find(port)
	if a == nil || a.port.guard == nil {
		return nil
	}
	for _, l := range a.port.guard.Leases(s.clock.Load()) {
		lease := Lease{Addr: l.Addr}
		if l.Expires != filter.Forever {
			lease.Expires = s.started.Add(time.Duration(l.Expires) * time.Second)
		}
		all = append(all, lease)
	}
	return all
}

// Allow gives a port's guest a lease that an earlier daemon saw.
func (s *Switch) Allow(port string, l Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, _ := s.find(port)
	if a == nil || a.port.guard == nil {
		return
	}
	expires := int64(filter.Forever)
	if !l.Expires.IsZero() {
		expires = int64(l.Expires.Sub(s.started) / time.Second)
	}
	a.port.guard.Allow(l.Addr, expires, s.clock.Load())
}

// LeasesChanged reports whether a guest was given an address since the last
// call.
func (s *Switch) LeasesChanged() bool { return s.leased.Swap(false) }

// Pacing returns what a port's rate limits have done; nil in a direction that has
// none.
func (s *Switch) Pacing(port string) (from, to *shaping.Counters) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, _ := s.find(port)
	if a == nil {
		return nil, nil
	}
	now := s.nanos()
	return a.port.from.read(now), a.port.to.read(now)
}

// FDBEntry is a line of a network's forwarding database.
type FDBEntry struct {
	fdb.Entry
	PortName string
}

// FDB lists a network's forwarding database, sorted by VLAN and address.
func (s *Switch) FDB(network string) ([]FDBEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	net := s.networks[network]
	if net == nil {
		return nil, fmt.Errorf("network %s: %w", network, ErrNoNetwork)
	}
	if s.fast != nil {
		s.refresh()
	}
	entries := net.table.Entries(s.clock.Load())
	list := make([]FDBEntry, 0, len(entries))
	for _, e := range entries {
		if int(e.Port) < len(s.attached) && s.attached[e.Port] != nil {
			list = append(list, FDBEntry{e, s.attached[e.Port].cfg.Name})
		}
	}
	return list, nil
}

// AddFDB pins an address to a port. VLAN 1 is that of untagged frames.
func (s *Switch) AddFDB(port string, vid uint16, mac frame.MAC) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, id := s.find(port)
	if a == nil {
		return fmt.Errorf("port %s: %w", port, ErrNoPort)
	}
	return s.networks[a.cfg.Network].table.Add(fdb.MakeKey(vid, mac), id, fdb.Static)
}

// DelFDB removes an address of any kind but local; false if there is none.
func (s *Switch) DelFDB(network string, vid uint16, mac frame.MAC) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	net := s.networks[network]
	if net == nil {
		return false, fmt.Errorf("network %s: %w", network, ErrNoNetwork)
	}
	for _, a := range s.attached {
		if a != nil && a.cfg.Network == network && a.cfg.Local == mac && a.cfg.localKey() == fdb.MakeKey(vid, mac) {
			return false, fmt.Errorf("%s is the host's own address: %w", mac, fdb.ErrExists)
		}
	}
	return net.table.Delete(fdb.MakeKey(vid, mac)), nil
}

// FlushFDB forgets the addresses that were learned in a network, or, where port
// is not empty, at that port. It returns how many there were.
func (s *Switch) FlushFDB(network, port string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if port != "" {
		a, id := s.find(port)
		if a == nil || network != "" && a.cfg.Network != network {
			return 0, fmt.Errorf("port %s: %w", port, ErrNoPort)
		}
		return s.networks[a.cfg.Network].table.FlushPort(id), nil
	}
	net := s.networks[network]
	if net == nil {
		return 0, fmt.Errorf("network %s: %w", network, ErrNoNetwork)
	}
	return net.table.Flush(), nil
}

// GuestNames are the ports by the number that sessions of NAT have of them.
func (s *Switch) GuestNames() map[nat.Guest]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[nat.Guest]string{}
	for name, id := range s.byName {
		names[nat.Guest(id)] = name
	}
	return names
}

// Seconds is the switch's clock, which sessions of NAT go by.
func (s *Switch) Seconds() int64 { return s.clock.Load() }
