package fastpath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"gxswitch/fdb"
)

// Entry is an address as the program knows it.
type Entry struct {
	Network    uint32
	Key        fdb.Key
	Port       uint16 // its Number; 0 if the interface is not that port's any more
	AgeSeconds int64  // since the last frame that the program saw of it
}

// Network is the number of a network. A name keeps its number while the network
// is there, from one daemon to the next.
func (e *Engine) Network(name string) (uint32, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n, ok := e.networks[name]; ok {
		return n, nil
	}
	used := map[uint32]bool{}
	for _, n := range e.networks {
		used[n] = true
	}
	n := uint32(1)
	for used[n] {
		n++
	}
	if err := e.obj.GxNetworks.Put(nameKey(name), n); err != nil {
		return 0, fmt.Errorf("network %s: %w", name, err)
	}
	e.networks[name] = n
	return n, nil
}

// DropNetwork forgets a network and its addresses.
func (e *Engine) DropNetwork(name string) error {
	e.mu.Lock()
	n, ok := e.networks[name]
	e.mu.Unlock()
	if !ok {
		return nil
	}
	var gone []fdb.Key
	err := e.Entries(func(en Entry) {
		if en.Network == n {
			gone = append(gone, en.Key)
		}
	})
	for _, k := range gone {
		err = errors.Join(err, e.Delete(n, k))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, s := range e.slots {
		if k.network == n {
			delete(e.slots, k)
			e.bySlot[s.index] = nil
		}
	}
	delete(e.networks, name)
	return errors.Join(err, deleted(e.obj.GxNetworks.Delete(nameKey(name))))
}

func nameKey(name string) (k [16]byte) {
	copy(k[:], name)
	return k
}

func stationOf(network uint32, k fdb.Key) *objectStation {
	return &objectStation{Network: network, Vlan: k.VLAN(), Mac: k.MAC()}
}

// Put says behind which port an address is.
func (e *Engine) Put(network uint32, k fdb.Key, number uint16, ageSeconds int64) error {
	e.mu.Lock()
	p := e.ports[number]
	if p == nil {
		e.mu.Unlock()
		return nil // it is being detached
	}
	s := e.slot(slotKey{network, k.VLAN()})
	e.mu.Unlock()
	if s == nil {
		e.noRoom(errors.New("4096 VLANs have one already"))
		return nil
	}
	v := objectPlace{
		Ifindex: uint32(p.ifindex), Port: uint32(number), Counter: s.index,
		Stamp: stampNow() - uint32(ageSeconds*1e9>>stampShift),
	}
	err := e.obj.GxFdb.Update(stationOf(network, k), &v, ebpf.UpdateNoExist)
	if errors.Is(err, ebpf.ErrKeyExist) {
		err = e.obj.GxFdb.Put(stationOf(network, k), &v)
		e.edition[0].Add(1)
	}
	if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOMEM) {
		e.noRoom(err)
		// It may have another port's place still.
		return e.Delete(network, k)
	}
	return err
}

// Delete makes the program forget an address.
func (e *Engine) Delete(network uint32, k fdb.Key) error {
	err := deleted(e.obj.GxFdb.Delete(stationOf(network, k)))
	e.edition[0].Add(1)
	return err
}

// Entries hands every address that the program knows to f.
func (e *Engine) Entries(f func(Entry)) error {
	e.mu.Lock()
	at := map[uint32]uint16{} // by ifindex
	for _, p := range e.ports {
		if p != nil {
			at[uint32(p.ifindex)] = p.number
		}
	}
	e.mu.Unlock()
	now := stampNow()
	return e.entries(func(k *objectStation, v *objectPlace) {
		en := Entry{Network: k.Network, Key: fdb.MakeKey(k.Vlan, k.Mac), AgeSeconds: age(now, v.Stamp)}
		if at[v.Ifindex] == uint16(v.Port) {
			en.Port = uint16(v.Port)
		}
		f(en)
	})
}

const entriesBatch = 4096

func (e *Engine) entries(f func(*objectStation, *objectPlace)) error {
	keys, values := make([]objectStation, entriesBatch), make([]objectPlace, entriesBatch)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := e.obj.GxFdb.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			f(&keys[i], &values[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the addresses: %w", err)
		}
	}
}

// The program counts time in periods of 2^30 ns of CLOCK_MONOTONIC.
const stampShift = 30

// age is the seconds since a stamp.
func age(now, stamp uint32) int64 { return int64(int32(now-stamp)) << stampShift / 1e9 }

func stampNow() uint32 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts)
	return uint32(uint64(ts.Nano()) >> stampShift)
}
