package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
)

// FlowKey names the packets of a flow, as they come: IPv4 over TCP or UDP.
type FlowKey struct {
	Src, Dst netip.AddrPort
	Proto    uint8
	Network  uint32 // whose guest sends them; 0: they come by an uplink
}

// Flow is one direction of what passes a gateway by two ports: what its packets
// become, and where they leave. It holds in one era, and as long as its session
// lives. What it is is checked by who makes it, and here only what changes from
// packet to packet, and where stations are.
type Flow struct {
	FlowKey
	NewSrc, NewDst netip.AddrPort
	DstMAC, SrcMAC frame.MAC // of frames that leave
	In, Out        uint16    // numbers of ports
	MaxLen         int       // longest frame on the way out
	Gateway        uint32    // the network whose gateway it passes
	VLAN           uint16    // in which it goes to a guest of that network; 0: it leaves by the uplink

	Era     uint32
	Session Session
	End     int // of the session that sends: 0 or 1
}

// Session is what the two flows of a session have in common. The zero Session is
// none.
type Session struct{ ID, Life uint32 }

// ErrFlowsFull means that the engine has all the flows that it can have.
var ErrFlowsFull = errors.New("the eBPF engine has no room for another flow")

const maxSessions = 65536 // as in flows.bpf.h; 0 is nobody's

// session is struct session of flows.bpf.h.
type session struct {
	life, stamp uint32
	acked       [2]uint64
	_           uint64
}

// flows is the engine's part for flows: memory that it shares with the program.
type flows struct {
	all  []session
	era  []uint32 // one
	free []uint32 // guarded by Engine.mu
}

func (f *flows) open(obj *objects) (err error) {
	if f.all, err = mapShared[session](obj.GxSessions, maxSessions); err != nil {
		return fmt.Errorf("map the sessions: %w", err)
	}
	if f.era, err = mapShared[uint32](obj.GxEra, 1); err != nil {
		return fmt.Errorf("map the era: %w", err)
	}
	return nil
}

func (f *flows) close() error {
	err := errors.Join(unmapShared(f.all), unmapShared(f.era))
	*f = flows{}
	return err
}

// NextEra ends all flows that there are, in one step, and begins an era.
func (e *Engine) NextEra() uint32 {
	for {
		if era := atomic.AddUint32(&e.flows.era[0], 1); era != 0 { // of no flow
			return era
		}
	}
}

// ClearFlows forgets all flows and sessions, a predecessor's too. It comes before
// the first OpenSession.
func (e *Engine) ClearFlows() error {
	e.NextEra()
	e.mu.Lock()
	e.flows.free = e.flows.free[:0]
	for id := uint32(maxSessions - 1); id > 0; id-- {
		e.flows.free = append(e.flows.free, id)
	}
	e.mu.Unlock()
	var stale []objectFlowKey
	if err := e.eachFlow(func(k *objectFlowKey, _ *objectFlow) { stale = append(stale, *k) }); err != nil {
		return err
	}
	var errs []error
	for i := range stale {
		errs = append(errs, deleted(e.obj.GxFlows.Delete(&stale[i])))
	}
	return errors.Join(errs...)
}

// eachFlow hands f what is in the map.
func (e *Engine) eachFlow(f func(*objectFlowKey, *objectFlow)) error {
	const batch = 4096
	keys, values := make([]objectFlowKey, batch), make([]objectFlow, batch)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := e.obj.GxFlows.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			f(&keys[i], &values[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the flows: %w", err)
		}
	}
}

// PutFlow makes the program forward a flow. ErrFlowsFull: it stays with user
// space.
func (e *Engine) PutFlow(f *Flow) error {
	e.mu.Lock()
	out := e.ports[f.Out]
	e.mu.Unlock()
	if out == nil {
		return nil // it is being detached
	}
	fid := uint32(0)
	if f.VLAN != 0 {
		fid = uint32(e.fid(vlanKey{f.Gateway, f.VLAN}, maxFIDs))
	}
	v := objectFlow{
		Era: f.Era, Session: f.Session.ID, Life: f.Session.Life, Ifindex: uint32(out.ifindex), MaxLen: uint32(f.MaxLen),
		Src: word(f.NewSrc.Addr()), Dst: word(f.NewDst.Addr()), Sport: htons(f.NewSrc.Port()), Dport: htons(f.NewDst.Port()),
		In: f.In, Out: f.Out, Network: uint16(f.Gateway), Vlan: f.VLAN, Fid: fid, End: uint8(f.End),
	}
	copy(v.Macs[:], f.DstMAC[:])
	copy(v.Macs[6:], f.SrcMAC[:])
	err := e.obj.GxFlows.Put(f.key(), &v)
	if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOMEM) {
		return ErrFlowsFull
	}
	return err
}

// DeleteFlow makes the program forget a flow.
func (e *Engine) DeleteFlow(k *FlowKey) error { return deleted(e.obj.GxFlows.Delete(k.key())) }

func (k *FlowKey) key() *objectFlowKey {
	return &objectFlowKey{
		Src: word(k.Src.Addr()), Dst: word(k.Dst.Addr()), Sport: htons(k.Src.Port()), Dport: htons(k.Dst.Port()),
		Scope: uint16(k.Network), Proto: k.Proto,
	}
}

// word is an IPv4 address as it lies in a packet.
func word(a netip.Addr) uint32 {
	b := a.As4()
	return binary.NativeEndian.Uint32(b[:])
}

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// OpenSession begins a session; false where there is no room for one.
func (e *Engine) OpenSession() (Session, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.flows.free)
	if n == 0 {
		return Session{}, false
	}
	id := e.flows.free[n-1]
	e.flows.free = e.flows.free[:n-1]
	s := &e.flows.all[id]
	atomic.StoreUint32(&s.stamp, stampNow())
	for i := range s.acked {
		atomic.StoreUint64(&s.acked[i], 0)
	}
	return Session{id, atomic.AddUint32(&s.life, 1)}, true
}

// EndSession ends the flows of a session at once. It waits for nobody.
func (e *Engine) EndSession(id uint32) { atomic.AddUint32(&e.flows.all[id].life, 1) }

// FreeSession gives back the room of a session that has ended, and whose flows
// were deleted.
func (e *Engine) FreeSession(id uint32) {
	e.mu.Lock()
	e.flows.free = append(e.flows.free, id)
	e.mu.Unlock()
}

// SessionAge is how many seconds ago the program forwarded a packet of a session,
// or it was opened.
func (e *Engine) SessionAge(id uint32) int64 {
	return age(stampNow(), atomic.LoadUint32(&e.flows.all[id].stamp))
}

// Acknowledged is what one end of a session's TCP has acknowledged lately, of
// what the program has seen: acknowledgement and window. ok is false where it has
// seen nothing.
func (e *Engine) Acknowledged(id uint32, end int) (ack uint32, window uint16, ok bool) {
	w := atomic.LoadUint64(&e.flows.all[id].acked[end&1])
	return uint32(w >> 32), uint16(w), w&(1<<31) != 0
}

// Passage is what the flows of a network's gateway brought from its uplink (Rx)
// and took there (Tx), ever.
func (e *Engine) Passage(network uint32) (sum Counters) {
	var each []objectPassage
	if err := e.obj.GxPassages.Lookup(network, &each); err != nil {
		return sum
	}
	for i := range each {
		sum.RxPackets += each[i].RxPackets
		sum.RxBytes += each[i].RxBytes
		sum.TxPackets += each[i].TxPackets
		sum.TxBytes += each[i].TxBytes
	}
	sum.Forwarded = sum.RxPackets
	return sum
}
