package fastpath

import (
	"fmt"

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
	delete(e.unasked, name)
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
	e.Entries(func(en Entry) {
		if en.Network == n {
			e.Delete(n, en.Key)
		}
	})
	e.vlanMu.Lock()
	for k, d := range e.databases {
		if k.network == n {
			e.stations.remove(k.word())
			delete(e.databases, k)
			e.byFID[d.fid] = nil
		}
	}
	e.vlanMu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.networks, name)
	return deleted(e.obj.GxNetworks.Delete(nameKey(name)))
}

func nameKey(name string) (k [16]byte) {
	copy(k[:], name)
	return k
}

// Put says behind which port an address is. Where there is no room, its frames stay
// with user space; Full counts that.
func (e *Engine) Put(network uint32, k fdb.Key, number uint16, ageSeconds int64) (room bool) {
	where := e.at[number].Load()
	if where == 0 { // it is being detached
		e.Delete(network, k) // from where it was
		return true
	}
	fid := e.fid(vlanKey{network, k.VLAN()}, taggedFIDs)
	if fid == 0 {
		e.noRoom("3072 VLANs are known already")
		return false
	}
	if !e.stations.put(wordOf(fid, k.MAC()), where, stampNow()-uint32(ageSeconds*1e9>>stampShift)) {
		e.noRoom("the places where it could be are taken")
		return false
	}
	return true
}

// Delete makes the program forget an address, at once.
func (e *Engine) Delete(network uint32, k fdb.Key) {
	e.vlanMu.RLock()
	d := e.databases[vlanKey{network, k.VLAN()}]
	e.vlanMu.RUnlock()
	if d != nil {
		e.stations.remove(wordOf(d.fid, k.MAC()))
	}
}

// Entries hands every address that the program knows to f, which may call Put and
// Delete.
func (e *Engine) Entries(f func(Entry)) {
	now := stampNow()
	e.stations.each(func(word uint64, where, stamp uint32) {
		if word>>48 == fidOfVLAN {
			return
		}
		e.vlanMu.RLock()
		d := e.byFID[word>>48%maxFIDs]
		e.vlanMu.RUnlock()
		if d == nil {
			return
		}
		en := Entry{Network: d.network, Key: fdb.MakeKey(d.vlan, macOf(word)), AgeSeconds: age(now, stamp)}
		if number := where % maxPorts; e.at[number].Load() == where {
			en.Port = uint16(number)
		}
		f(en)
	})
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
