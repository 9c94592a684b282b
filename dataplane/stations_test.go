package dataplane

import (
	"maps"
	"runtime"
	"testing"
	"time"

	"gxswitch/fdb"
	"gxswitch/internal/fastpath"
	"gxswitch/internal/filter"
	"gxswitch/ports"
)

func (k *pretended) Put(_ uint32, at fdb.Key, port uint16, _ int64) (room bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.crowded {
		k.stations[at] = port
	}
	return !k.crowded
}

func (k *pretended) Delete(_ uint32, at fdb.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.stations, at)
}

func (k *pretended) Entries(f func(fastpath.Entry)) {
	k.mu.Lock()
	all := maps.Clone(k.stations)
	k.mu.Unlock()
	for at, port := range all {
		f(fastpath.Entry{Network: 7, Key: at, Port: port})
	}
}

// knows waits until the Kernel knows a station behind a port; 0: not at all.
func (l *flowLab) knows(station string, port uint16) {
	l.t.Helper()
	for end := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		l.kernel.mu.Lock()
		got := l.kernel.stations[fdb.MakeKey(1, mac(l.t, station))]
		l.kernel.mu.Unlock()
		if got == port {
			return
		}
		if time.Now().After(end) {
			l.t.Fatalf("the kernel knows %s behind %d, want %d", station, got, port)
		}
	}
}

// The host's own address is the Kernel's from when its port has come.
func TestKernelKnowsTheHostsAddress(t *testing.T) {
	newFlowLab(t).knows(legMAC, 3)
}

// What a network learned of a NIC while it shared it is the Kernel's when it has the
// NIC for itself.
func TestKernelKnowsWhatWasLearnedOfASharedInterface(t *testing.T) {
	l := newFlowLab(t)
	l.network(NetworkConfig{Name: "lan"})
	l.network(NetworkConfig{Name: "other"})
	m, err := ports.NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.sw.Attach(PortConfig{Name: "lan", Network: "lan", Role: Uplink, MTU: 1500, Up: true}, &pretendedPort{Memory: m, number: 5}); err != nil {
		t.Fatal(err)
	}
	if err := l.sw.Share(PortConfig{Name: "other", Network: "other", Role: Uplink, MTU: 1500, Up: true, UplinkVLAN: 20}, "lan"); err != nil {
		t.Fatal(err)
	}
	l.kernel.punt.inject(5, unhex(t, all+stC+"88b5"))
	l.settle()
	l.knows(stC, 0)
	if err := l.sw.Detach("other"); err != nil {
		t.Fatal(err)
	}
	l.knows(stC, 5)
}

// While a predecessor's ports come one by one nobody takes over the address of a guest
// that is held to it and has not come yet; what has moved stays where it is now.
func TestAdoptedStationsStayTheirOwners(t *testing.T) {
	l := newFlowLabOf(t, true)
	held, moved := fdb.MakeKey(1, mac(t, stA)), fdb.MakeKey(1, mac(t, stB))
	l.kernel.Put(7, held, 5, 0)
	l.kernel.Put(7, moved, 1, 0)
	l.kernel.punt.inject(1, unhex(t, all+stA+"88b5"))
	l.kernel.punt.inject(2, unhex(t, all+stB+"88b5"))
	l.settle()
	l.knows(stA, 5)
	m, err := ports.NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	cfg := PortConfig{Name: "owner", Network: "gw", MTU: 1500, Up: true, Policy: filter.Policy{Antispoof: filter.MAC, MAC: mac(t, stA)}}
	if err := l.sw.Attach(cfg, &pretendedPort{Memory: m, number: 5}); err != nil {
		t.Fatal(err)
	}
	l.sw.Adopt()
	l.knows(stB, 2)
	l.knows(stA, 5)
	id, _ := l.sw.networks["gw"].table.Lookup(held)
	if _, want := l.sw.find("owner"); id != want {
		t.Errorf("the table has the owner's address behind port %d, want %d", id, want)
	}
}

// A station for which the Kernel had no room is not left to user space for as long as
// it speaks.
func TestKernelIsToldAgainOfStationsThatFoundNoRoom(t *testing.T) {
	l := newFlowLab(t)
	l.knows(legMAC, 3)
	crowd := func(crowded bool) {
		l.kernel.mu.Lock()
		defer l.kernel.mu.Unlock()
		l.kernel.crowded = crowded
	}
	crowd(true)
	for range 2 {
		l.kernel.punt.inject(1, unhex(t, all+stA+"88b5"))
		l.settle()
		l.knows(stA, 0)
		crowd(false)
	}
	l.sw.mu.Lock()
	l.sw.retry()
	l.sw.mu.Unlock()
	l.knows(stA, 1)
}
