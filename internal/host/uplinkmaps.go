package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What the guard's table says of a destination. From ownerNAT on, what is above
// is the number of a set of ports.
const (
	ownerSwitch uint32 = iota
	ownerHost
	ownerNAT
)

// A set of ports is a bit for each, TCP's before UDP's.
const (
	portSetLen = 2 * portSetUDP
	portSetUDP = 1 << 16 / 8
)

// IP protocol numbers.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// guardMaps is what the guard's program looks up. None of it is changed once the
// program runs, but for fragments: another content is another program.
type guardMaps struct {
	owners    *ebpf.Map // trie: longest prefix of a destination to an owner
	ports     *ebpf.Map // array: sets of ports
	fragments *ebpf.Map // hash: packets in pieces, with the time of the first
}

func (m *guardMaps) close() {
	for _, x := range []*ebpf.Map{m.owners, m.ports, m.fragments} {
		_ = x.Close() // also of nil
	}
}

// program loads the guard's program and its maps.
func (g UplinkGuard) program() (*ebpf.Program, error) {
	owners, ports, err := g.tables()
	if err != nil {
		return nil, err
	}
	prog, err := loadUplinkGuard(owners, ports)
	if errors.Is(err, unix.EPERM) {
		// Before Linux 5.11 maps count as locked memory.
		unlimited := &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
		if unix.Prlimit(0, unix.RLIMIT_MEMLOCK, unlimited, nil) == nil {
			prog, err = loadUplinkGuard(owners, ports)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("load guard: %w", err)
	}
	return prog, nil
}

func loadUplinkGuard(owners, ports []ebpf.MapKV) (*ebpf.Program, error) {
	var m guardMaps
	defer m.close() // the program holds them
	for _, x := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&m.owners, ebpf.MapSpec{
			Name: "gx_owners", Type: ebpf.LPMTrie, KeySize: ownerKeyLen, ValueSize: 4,
			MaxEntries: uint32(max(len(owners), 1)), Flags: unix.BPF_F_NO_PREALLOC, Contents: owners,
		}},
		{&m.ports, ebpf.MapSpec{
			Name: "gx_ports", Type: ebpf.Array, KeySize: 4, ValueSize: portSetLen,
			MaxEntries: uint32(max(len(ports), 1)), Contents: ports,
		}},
		{&m.fragments, ebpf.MapSpec{
			Name: "gx_fragments", Type: ebpf.LRUHash, KeySize: fragmentKeyLen, ValueSize: 8, MaxEntries: 2048,
		}},
	} {
		var err error
		if *x.to, err = ebpf.NewMap(&x.spec); err != nil {
			return nil, fmt.Errorf("map %s: %w", x.spec.Name, err)
		}
	}
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "gx_uplink",
		Type:         ebpf.SchedCLS,
		Instructions: uplinkInstructions(&m),
		License:      "GPL",
	})
}

// tables are the contents of the maps owners and ports.
func (g UplinkGuard) tables() (owners, ports []ebpf.MapKV, err error) {
	owner := make(map[netip.Prefix]uint32)
	for _, p := range g.Prefixes {
		if !p.Addr().Is4() {
			return nil, nil, fmt.Errorf("prefix %s: want one of IPv4", p)
		}
		owner[p.Masked()] = ownerSwitch
	}
	for _, a := range g.Host {
		if !a.Is4() {
			return nil, nil, fmt.Errorf("host's address %s: want one of IPv4", a)
		}
		owner[netip.PrefixFrom(a, 32)] = ownerHost
	}
	sets := make(map[netip.Addr][]byte)
	for _, n := range g.NAT {
		if !n.External.Is4() {
			return nil, nil, fmt.Errorf("external address %s: want one of IPv4", n.External)
		}
		set := sets[n.External]
		if set == nil {
			set = make([]byte, portSetLen)
			owner[netip.PrefixFrom(n.External, 32)] = ownerNAT + uint32(len(sets))
			ports = append(ports, ebpf.MapKV{Key: uint32(len(sets)), Value: set})
			sets[n.External] = set
		}
		for _, r := range n.Ports {
			if err := r.addTo(set); err != nil {
				return nil, nil, fmt.Errorf("ports of %s: %w", n.External, err)
			}
		}
	}
	for p, o := range owner {
		owners = append(owners, ebpf.MapKV{Key: ownerKey(p), Value: o})
	}
	return owners, ports, nil
}

// ownerKey is struct bpf_lpm_trie_key: the length in the machine's order, and the
// address as in a packet.
func ownerKey(p netip.Prefix) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(p.Bits()))
	return append(b, p.Addr().AsSlice()...)
}

func (r PortRange) addTo(set []byte) error {
	if r.Last < r.First {
		return fmt.Errorf("%d-%d: want the lower port first", r.First, r.Last)
	}
	var starts []int
	switch r.Proto {
	case protoTCP:
		starts = []int{0}
	case protoUDP:
		starts = []int{portSetUDP}
	case 0:
		starts = []int{0, portSetUDP}
	default:
		return fmt.Errorf("%d-%d: protocol %d: want 6 for TCP, 17 for UDP, or 0 for both", r.First, r.Last, r.Proto)
	}
	for _, start := range starts {
		for p := int(r.First); p <= int(r.Last); p++ {
			set[start+p/8] |= 1 << (p % 8)
		}
	}
	return nil
}
