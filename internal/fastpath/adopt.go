package fastpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"slices"
)

// adopt reads what a predecessor left: the numbers of its networks and ports, and
// the links. Its stations and counters are where they were.
func (e *Engine) adopt() error {
	var name [16]byte
	var n uint32
	for it := e.obj.GxNetworks.Iterate(); it.Next(&name, &n); {
		e.networks[string(bytes.TrimRight(name[:], "\x00"))] = n
	}
	var ifindex uint32
	for it := e.obj.GxIndex.Iterate(); it.Next(&ifindex, &n); {
		if n > 0 && n < maxPorts {
			e.adopted[int(ifindex)] = uint16(n)
		}
	}
	var err error
	if e.links, err = e.pinnedHooks(e.obj.GxIngress, "link"); err != nil {
		return err
	}
	there := map[uint32]bool{} // where of ports
	for ifindex, number := range e.adopted {
		if e.hooked(ifindex) {
			there[whereOf(number, ifindex)] = true
		} else if err := e.disown(ifindex, number); err != nil {
			return err
		}
	}
	e.successor = len(e.adopted) > 0
	if err := e.adoptAddresses(); err != nil {
		return err
	}
	for i := range e.shm { // what was under way then is not any more
		e.shm[i].settled = e.shm[i].punted
	}
	for name := range e.networks {
		e.unasked[name] = true
	}
	e.stations.each(func(word uint64, where, _ uint32) {
		e.stations.single(word)
		k := vlanKey{uint32(word >> 12 & 0xfffffff), uint16(word & 0xfff)}
		switch {
		case word>>48 != fidOfVLAN:
			if !there[where] { // or a port that gets the number has it
				e.stations.remove(word)
			}
		case word == k.word() && where > 0 && where < maxFIDs && e.byFID[where] == nil:
			e.takeFID(k, uint16(where))
		}
	})
	return nil
}

// hooked reports whether a predecessor's program is still at the interface. If it is
// not, the interface is another, which has the index of one that is gone.
func (e *Engine) hooked(ifindex int) bool {
	if e.links[ifindex] != nil {
		return true
	}
	handle, err := filterHandleOf(ifindex, e.hash)
	return handle != 0 || gone(err) != nil
}

// disown forgets a port of a predecessor.
func (e *Engine) disown(ifindex int, number uint16) error {
	delete(e.adopted, ifindex)
	return errors.Join(
		deleted(e.obj.GxIndex.Delete(uint32(ifindex))),
		e.obj.GxPorts.Put(uint32(number), &objectPort{}))
}

// adoptAddresses notes what guests and the host were told to have, so that it can be
// taken from them.
func (e *Engine) adoptAddresses() error {
	ported := map[uint32]bool{hostAddrs: true}
	for _, number := range e.adopted {
		ported[uint32(number)] = true
	}
	had := map[uint32][]netip.Addr{}
	var k objectAddress
	var one uint32
	it := e.obj.GxAddrs.Iterate()
	for it.Next(&k, &one) {
		var b [16]byte
		for i, word := range k.Ip {
			binary.NativeEndian.PutUint32(b[4*i:], word)
		}
		had[k.Port] = append(had[k.Port], netip.AddrFrom16(b))
	}
	errs := []error{it.Err()}
	for who, list := range had {
		if !ported[who] {
			errs = append(errs, e.setAddresses(who, &list, nil))
			continue
		}
		slices.SortFunc(list, netip.Addr.Compare)
		e.hadAddrs[who] = list
	}
	e.hostAddrs = e.hadAddrs[hostAddrs]
	return errors.Join(errs...)
}

// Adopted reports whether a predecessor had ports here.
func (e *Engine) Adopted() bool { return e.successor }

// Sweep ends what a predecessor left and nobody has attached, or asked for the number
// of: to be called once all ports are.
func (e *Engine) Sweep() error {
	return errors.Join(e.dropUnattached(), e.dropUnasked())
}

func (e *Engine) dropUnattached() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for ifindex, number := range e.adopted {
		had := e.hadAddrs[uint32(number)]
		errs = append(errs, e.setAddresses(uint32(number), &had, nil))
		var was objectPort
		if e.obj.GxPorts.Lookup(uint32(number), &was) == nil && was.Flags&flagPromiscuous != 0 {
			errs = append(errs, discreet(ifindex))
		}
		errs = append(errs, e.disown(ifindex, number))
		if e.links[ifindex] == nil { // it had a filter, if any
			errs = append(errs, detachFilter(ifindex))
		}
	}
	for _, h := range e.links {
		errs = append(errs, h.remove())
	}
	clear(e.links)

	attached := map[uint32]bool{}
	for _, p := range e.ports {
		if p != nil {
			attached[p.where()] = true
		}
	}
	e.stations.each(func(word uint64, where, _ uint32) {
		if word>>48 != fidOfVLAN && !attached[where] {
			e.stations.removeFrom(word, where) // workers learn
		}
	})
	return errors.Join(errs...)
}

func (e *Engine) dropUnasked() error {
	e.mu.Lock()
	all := slices.Collect(maps.Keys(e.unasked))
	clear(e.unasked)
	e.mu.Unlock()
	var errs []error
	for _, name := range all {
		errs = append(errs, e.DropNetwork(name))
	}
	return errors.Join(errs...)
}
