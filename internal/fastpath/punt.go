package fastpath

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// Punt is a way from the kernel to user space: a veth pair into one end of which
// the program sends what it does not decide. The Source of each frame is the
// Number of its port. Nothing is written to it.
type Punt struct {
	*ports.Packet
	e       *Engine
	index   int
	ifindex int // of the end that the program sends to
	far     int // of the end that is read
	drop    *hook
	read    atomic.Uint64 // frames that were

	left leaving
	kept uint64 // in the ring as of the last Settle; guarded by Engine.mu, like left
}

var _ ports.Resizer = (*Punt)(nil)

// The ring is for all ports of a worker, which share it: see PUNT_SLOTS in
// maps.bpf.h.
const puntSlots = 4096

// place is where the way's punts are counted.
func (p *Punt) place() int { return maxPorts + p.index }

const puntPrefix = "gxp"

// puntNames are the two ends' names: gxp, the run directory's hash, a number.
func puntNames(hash string, i int) (near, far string) {
	name := puntPrefix + hash + strconv.Itoa(i)
	return name + "a", name + "b"
}

// openPunts makes the veth pairs, or takes those that a predecessor left, which
// its ports still send to.
func (e *Engine) openPunts(n int) error {
	drops, err := e.pinnedHooks(e.obj.GxDrop, "drop")
	if err != nil {
		return err
	}
	for i := range min(max(n, 1), maxWays) {
		p := &Punt{e: e, index: i}
		if err := p.open(drops); err != nil {
			return errors.Join(fmt.Errorf("way to user space %d: %w", i, err), p.remove(), p.release())
		}
		e.punts = append(e.punts, p)
	}
	return nil
}

func (p *Punt) open(drops map[int]*hook) error {
	near, far := puntNames(p.e.hash, p.index)
	a, err := netlink.LinkByName(near)
	if err != nil {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = near, 65535
		pair := netlink.NewVeth(attrs)
		pair.PeerName = far
		pair.PeerMTU = 65535
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("make veth %s: %w", near, err)
		}
		if a, err = netlink.LinkByName(near); err != nil {
			return err
		}
	}
	b, err := netlink.LinkByName(far)
	if err != nil {
		return err
	}
	p.ifindex, p.far = a.Attrs().Index, b.Attrs().Index
	if p.drop = drops[p.far]; p.drop == nil {
		if p.drop, err = p.e.attach(p.e.obj.GxDrop, p.far, "drop"); err != nil {
			return err
		}
	}
	// The near end last: its queue is then ready at once, while the queue of an end
	// that gets its carrier later drops frames until the kernel has looked after it.
	for _, l := range []netlink.Link{b, a} {
		if err := silence(l); err != nil {
			return err
		}
	}
	p.Packet, err = ports.OpenPacket(p.far, ports.PacketOptions{Slots: puntSlots, Trunk: true})
	return err
}

// silence sets an end up so that the host's stack does not speak on it.
func silence(l netlink.Link) error {
	name := l.Attrs().Name
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // no IPv6 at all
		return fmt.Errorf("turn IPv6 off on %s: %w", name, err)
	}
	if err := netlink.LinkSetARPOff(l); err != nil {
		return fmt.Errorf("turn ARP off on %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// Owns reports whether an interface of that name is an engine's own.
func Owns(name string) bool {
	rest, ok := strings.CutPrefix(name, puntPrefix)
	return ok && len(rest) > 8+1 && strings.Trim(rest[:8], "0123456789abcdef") == "" && strings.Trim(rest[8:len(rest)-1], "0123456789") == ""
}

// Punts are the ways to user space, by number.
func (e *Engine) Punts() []*Punt { return e.punts }

// Read implements ports.Port.
func (p *Punt) Read(batch []frame.Frame, buf *ports.Buffers) int {
	n := p.Packet.Read(batch, buf)
	for i := range n {
		if s := batch[i].Source; s < maxPorts {
			atomic.AddUint64(&p.e.shm[s].settled, 1)
		}
	}
	if n > 0 {
		atomic.AddUint64(&p.e.shm[p.place()].settled, uint64(n))
		p.read.Add(uint64(n))
	}
	return n
}

// Settle finds frames that left a port for user space and were lost on the way,
// and counts them at that port. It is to be called about once a second: what had
// left by the last call but one was in the ring by the last, if it ever came
// there, and is read when all is that was in the ring then.
func (e *Engine) Settle() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.punts {
		w.Lost()
		arrived := w.read.Load() >= w.kept
		e.shm[w.place()].settle(&w.left, arrived)
		for _, p := range e.ports {
			if p != nil && p.punt == w {
				p.lost.Add(e.shm[p.number].settle(&p.left, arrived))
			}
		}
		w.kept = w.Kept()
	}
}

// leaving is how many frames had left for user space by the last Settle, and by
// the one before.
type leaving struct{ last, before uint64 }

// settle returns what of the frames that had left by the last call but one is lost,
// if all others of them have arrived.
func (u *punts) settle(left *leaving, arrived bool) (lost uint64) {
	settled, punted := atomic.LoadUint64(&u.settled), atomic.LoadUint64(&u.punted)
	switch {
	case arrived && settled < left.before:
		lost = left.before - settled
		atomic.AddUint64(&u.settled, lost)
	case settled > punted: // the kernel cut super-frames
		atomic.AddUint64(&u.settled, punted-settled)
	}
	*left = leaving{punted, left.last}
	return lost
}

// remove ends the way.
func (p *Punt) remove() error {
	var err error
	if p.drop != nil {
		err = p.drop.remove()
		p.drop = nil
	}
	if p.ifindex != 0 {
		del := netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: p.ifindex}})
		if del != nil && !errors.Is(del, unix.ENODEV) {
			err = errors.Join(err, del)
		}
	}
	return err
}

// release gives up the descriptors.
func (p *Punt) release() error {
	var err error
	if p.drop != nil {
		err = p.drop.close()
		p.drop = nil
	}
	if p.Packet != nil {
		err = errors.Join(err, p.Packet.Close())
		p.Packet = nil
	}
	return err
}

// Close implements ports.Port. The way itself goes with the Engine.
func (p *Punt) Close() error { return nil }

// removePunts removes the veth pairs of an engine that is no more.
func removePunts(hash string) (found bool, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return false, err
	}
	for _, l := range links {
		if name := l.Attrs().Name; strings.HasPrefix(name, puntPrefix+hash) && strings.HasSuffix(name, "a") {
			found = true
			if del := netlink.LinkDel(l); del != nil && !errors.Is(del, unix.ENODEV) {
				err = errors.Join(err, del)
			}
		}
	}
	return found, err
}
