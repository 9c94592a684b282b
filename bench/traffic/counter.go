package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/bench/rig"
)

// Counter is the receiver for speed: a tc program at the ingress of an endpoint
// that counts test frames and drops them, and lets all else pass to the guest's
// stack. So it costs the little that a receiver must, in the same place for
// every arm. (XDP would cost less, but on a veth it changes how frames get
// there: through NAPI, and without GSO.)
type Counter struct {
	counts *ebpf.Map // slot → Count, a value for each CPU
	slots  map[rig.Endpoint]uint32
	taps   map[rig.Endpoint]*TapReader // they count themselves
	progs  []*ebpf.Program
}

// Count is what arrived, as the wire would carry it: a GSO super-frame counts
// as its segments, and Bytes are layer-2 bytes without FCS, each segment's
// header included.
type Count struct{ Frames, Bytes uint64 }

// counterSlots bounds the number of different counters.
const counterSlots = 64

// NewCounter makes one without endpoints. It needs CAP_BPF and CAP_NET_ADMIN.
func NewCounter() (*Counter, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("counter: %w", err)
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "gxbench", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 16, MaxEntries: counterSlots,
	})
	if err != nil {
		return nil, fmt.Errorf("counter: %w", err)
	}
	return &Counter{counts: m, slots: map[rig.Endpoint]uint32{}, taps: map[rig.Endpoint]*TapReader{}}, nil
}

// Watch counts at the endpoints, all of them together.
func (c *Counter) Watch(endpoints ...rig.Endpoint) error {
	return c.WatchFor(rig.Arrival{}, endpoints...)
}

// WatchFor counts the test frames that arrive so. Others pass like all else.
func (c *Counter) WatchFor(a rig.Arrival, endpoints ...rig.Endpoint) error {
	slot := uint32(len(c.progs))
	if slot >= counterSlots {
		return fmt.Errorf("counter: more than %d groups of endpoints", counterSlots)
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "gxbench", Type: ebpf.SchedCLS, License: "GPL", Instructions: countAndDrop(c.counts, slot, a),
	})
	if err != nil {
		return fmt.Errorf("counter: %w", err)
	}
	c.progs = append(c.progs, prog)
	for _, e := range endpoints {
		if err := attach(e, prog); err != nil {
			return fmt.Errorf("count at %s of %s: %w", e.Name, e.NS.Name, err)
		}
		c.slots[e] = slot
	}
	return nil
}

// Watches reports whether the endpoint is counted.
func (c *Counter) Watches(e rig.Endpoint) bool {
	_, ok := c.slots[e]
	return ok
}

// Count is what has arrived at the endpoints, and at those they were watched
// with.
func (c *Counter) Count(endpoints ...rig.Endpoint) (Count, error) {
	var all Count
	counted := make(map[uint32]bool, len(c.progs))
	for _, e := range endpoints {
		if t := c.taps[e]; t != nil {
			all.Frames += t.frames.Load()
			all.Bytes += t.bytes.Load()
			continue
		}
		slot, ok := c.slots[e]
		if !ok {
			return Count{}, fmt.Errorf("counter: nobody watches %s of %s", e.Name, e.NS.Name)
		}
		if counted[slot] {
			continue
		}
		counted[slot] = true
		var each []Count
		if err := c.counts.Lookup(slot, &each); err != nil {
			return Count{}, fmt.Errorf("counter: %w", err)
		}
		for _, n := range each {
			all.Frames += n.Frames
			all.Bytes += n.Bytes
		}
	}
	return all, nil
}

// Close forgets the counts. The filters go with the namespaces.
func (c *Counter) Close() error {
	var errs []error
	for _, p := range c.progs {
		errs = append(errs, p.Close())
	}
	return errors.Join(append(errs, c.counts.Close())...)
}

func attach(e rig.Endpoint, prog *ebpf.Program) error {
	return e.NS.Do(func() error {
		at := netlink.QdiscAttrs{LinkIndex: e.Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
		err := netlink.QdiscAdd(&netlink.GenericQdisc{QdiscAttrs: at, QdiscType: "clsact"})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("clsact: %w", err)
		}
		err = netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: e.Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL,
			},
			Fd: prog.FD(), Name: "gxbench", DirectAction: true,
		})
		if err != nil {
			return fmt.Errorf("filter: %w", err)
		}
		return nil
	})
}

// Fields of struct __sk_buff and verdicts of linux/pkt_cls.h.
const (
	skbLen         = 0
	skbVLANPresent = 20
	skbVLANTCI     = 24
	skbGSOSize     = 176

	actOK   = 0
	actShot = 2

	udpHeaders = 42
	tagLen     = 4
	maskVID    = 0xfff
)

// countAndDrop is, in C:
//
//	if (load_half(skb, 12) != ETH_P_IP || load_half(skb, 42) != magic) return TC_ACT_OK;
//	if (load_word(skb, 26) != source) return TC_ACT_OK;          // where one is wanted
//	if (!skb->vlan_present || skb->vlan_tci & 0xfff != vid) return TC_ACT_OK;  // likewise
//	frames = 1; bytes = skb->len;
//	if (skb->gso_size) {                       // gso_segs is 0 for what came by a packet socket
//		frames = (skb->len - 42 + skb->gso_size - 1) / skb->gso_size;
//		bytes += (frames - 1) * 42;
//	}
//	bytes += frames * 4;                       // where a tag is wanted
//	c = lookup(&counts, slot); c->frames += frames; c->bytes += bytes;
//	return TC_ACT_SHOT;
//
// A load beyond the end of a short frame ends the program with 0, TC_ACT_OK. No
// two softirqs of one CPU run at once, so the sums need no lock. The kernel has
// taken a tag out of the frame before (__netif_receive_skb_core).
func countAndDrop(counts *ebpf.Map, slot uint32, a rig.Arrival) asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1), // where LoadAbs wants the context
		asm.LoadAbs(12, asm.Half),
		asm.JNE.Imm(asm.R0, unix.ETH_P_IP, "pass"),
		asm.LoadAbs(offMagic, asm.Half),
		asm.JNE.Imm(asm.R0, magic, "pass"),
	}
	if a.Source.IsValid() {
		source := a.Source.As4()
		p = append(p,
			asm.LoadAbs(offSource, asm.Word),
			asm.JNE.Imm32(asm.R0, int32(binary.BigEndian.Uint32(source[:])), "pass"))
	}
	tag := int32(0)
	if a.VID != 0 {
		tag = tagLen
		p = append(p,
			asm.LoadMem(asm.R2, asm.R6, skbVLANPresent, asm.Word),
			asm.JEq.Imm(asm.R2, 0, "pass"),
			asm.LoadMem(asm.R2, asm.R6, skbVLANTCI, asm.Word),
			asm.And.Imm(asm.R2, maskVID),
			asm.JNE.Imm(asm.R2, int32(a.VID), "pass"))
	}
	return append(p,
		asm.Mov.Imm(asm.R7, 1),                        // frames
		asm.LoadMem(asm.R8, asm.R6, skbLen, asm.Word), // bytes
		asm.LoadMem(asm.R2, asm.R6, skbGSOSize, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "tag"),
		asm.Mov.Reg(asm.R7, asm.R8),
		asm.Sub.Imm(asm.R7, udpHeaders+1),
		asm.Add.Reg(asm.R7, asm.R2),
		asm.Div.Reg(asm.R7, asm.R2),
		asm.Mov.Reg(asm.R3, asm.R7),
		asm.Sub.Imm(asm.R3, 1),
		asm.Mul.Imm(asm.R3, udpHeaders),
		asm.Add.Reg(asm.R8, asm.R3),

		asm.Mov.Reg(asm.R3, asm.R7).WithSymbol("tag"),
		asm.Mul.Imm(asm.R3, tag),
		asm.Add.Reg(asm.R8, asm.R3),

		asm.StoreImm(asm.RFP, -4, int64(slot), asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, counts.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R7),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R0, 8, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R8),
		asm.StoreMem(asm.R0, 8, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, actShot),
		asm.Return(),

		asm.Mov.Imm(asm.R0, actOK).WithSymbol("pass"),
		asm.Return(),
	)
}
