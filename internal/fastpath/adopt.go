package fastpath

import (
	"bytes"
	"errors"
)

// adopt reads what a predecessor left: the numbers of its networks and ports, and
// the links. Its addresses and counters are where they were.
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
	e.successor = len(e.adopted) > 0
	var err error
	if e.links, err = e.pinnedHooks(e.obj.GxIngress, "link"); err != nil {
		return err
	}
	for i := range e.shm { // what was under way then is not any more
		e.shm[i].settled = e.shm[i].punted
	}
	e.stations.each(func(word uint64, fid, _ uint32) {
		k := vlanKey{uint32(word >> 12 & 0xfffffff), uint16(word & 0xfff)}
		if word == k.word() && fid > 0 && fid < maxFIDs && e.byFID[fid] == nil {
			e.takeFID(k, uint16(fid))
		}
	})
	return nil
}

// Adopted reports whether a predecessor had ports here.
func (e *Engine) Adopted() bool { return e.successor }

// Sweep ends what a predecessor left and nobody has attached: to be called once
// all ports are.
func (e *Engine) Sweep() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for ifindex, number := range e.adopted {
		var was objectPort
		if e.obj.GxPorts.Lookup(uint32(number), &was) == nil && was.Flags&flagPromiscuous != 0 {
			errs = append(errs, discreet(ifindex))
		}
		errs = append(errs,
			deleted(e.obj.GxIndex.Delete(uint32(ifindex))),
			e.obj.GxPorts.Put(uint32(number), &objectPort{}))
		if e.links[ifindex] == nil { // it had a filter, if any
			errs = append(errs, detachFilter(ifindex))
		}
	}
	for _, h := range e.links {
		errs = append(errs, h.remove())
	}
	clear(e.adopted)
	clear(e.links)

	attached := map[uint32]bool{}
	for _, p := range e.ports {
		if p != nil {
			attached[p.where()] = true
		}
	}
	e.stations.each(func(word uint64, where, _ uint32) {
		if word>>48 != fidOfVLAN && !attached[where] {
			e.stations.remove(word)
		}
	})
	return errors.Join(errs...)
}
