package fastpath

import (
	"net/netip"
	"os"
	"testing"

	"gxswitch/fdb"
)

// adopted attaches all guests again after a crash, by the rules given.
func (l *lab) adopted(r func(*Rules)) {
	l.t.Helper()
	l.crash()
	l.open(Options{})
	for _, g := range l.guests {
		g.attach(PortOptions{})
		g.rules(r)
	}
}

// What a predecessor let a guest use, or had of the host's, is not for ever.
func TestAddressesOfAPredecessorAreTakenBack(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	addressed := func(r *Rules) { r.Guarded, r.Addressed = true, true }
	a, b := l.guest(addressed), l.guest(addressed)
	allow := func(mine, hosts string) {
		t.Helper()
		if err := a.port.SetAddresses([]netip.Addr{addr(mine)}); err != nil {
			t.Fatal(err)
		}
		if err := b.port.SetAddresses([]netip.Addr{addr("192.0.2.9")}); err != nil {
			t.Fatal(err)
		}
		if err := l.e.SetHostAddresses([]netip.Addr{addr(hosts)}); err != nil {
			t.Fatal(err)
		}
	}
	allow("192.0.2.1", "192.0.2.101")
	a.known(1)
	b.known(1)
	old := a.ip(b.mac(), "192.0.2.1", "192.0.2.9", 5000, 5001)
	a.send(old)
	b.receive()

	l.adopted(addressed)
	allow("192.0.2.2", "192.0.2.102")
	a.send(a.ip(b.mac(), "192.0.2.2", "192.0.2.9", 5000, 5001))
	b.receive()
	a.send(old)
	l.punted()
	l.quiet(b)

	l.crash()
	l.open(Options{})
	a.attach(PortOptions{})
	l.guests = l.guests[:1]
	l.do(l.e.Sweep) // b is gone
	var k objectAddress
	var one uint32
	n := 0
	for it := l.e.obj.GxAddrs.Iterate(); it.Next(&k, &one); n++ {
		if k.Port != hostAddrs && k.Port != uint32(a.port.Number()) {
			t.Errorf("port %d has an address, and is gone", k.Port)
		}
	}
	if n != 2 {
		t.Errorf("%d addresses are left, want one of a and one of the host's", n)
	}
}

// An interface that has the index of one that went while no daemon ran is nobody's:
// neither are the rules its own, nor the stations that were behind it.
func TestAnotherInterfaceWithTheIndexIsNotAdopted(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	b.known(1)
	pin := b.port.hook.pin
	l.crash()
	if err := os.Remove(pin); err != nil { // as if the interface were new: no program is there
		t.Fatal(err)
	}
	l.open(Options{})
	a.attach(PortOptions{})
	a.rules(nil)
	b.attach(PortOptions{})
	var p objectPort
	if err := l.e.obj.GxPorts.Lookup(uint32(b.port.Number()), &p); err != nil || p.Network != 0 || p.Flags&(flagFrom|flagTo) != 0 {
		t.Errorf("before it has rules: network %d, flags %#x, %v", p.Network, p.Flags, err)
	}
	b.rules(nil)
	a.send(a.to(b.mac()))
	l.punted()
	l.quiet(b)
}

// A network that nobody asks for any more goes, with what was known there.
func TestNetworksOfAPredecessorThatNobodyAsksFor(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	old, err := l.e.Network("old")
	if err != nil {
		t.Fatal(err)
	}
	a := l.guest(func(r *Rules) { r.Network = old })
	l.e.Put(old, fdb.MakeKey(1, a.mac()), a.port.Number(), 0)
	l.adopted(nil)
	l.do(l.e.Sweep)
	l.e.Entries(func(e Entry) { t.Errorf("left: %+v", e) })
	l.adopted(nil)
	if _, known := l.e.networks["old"]; known || l.e.databases[vlanKey{old, 1}] != nil {
		t.Error("it is known to the next")
	}
}

// A station that is now behind a port which is being detached is not left where it
// was.
func TestStationBehindAPortThatGoes(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	number := b.port.Number()
	if err := b.port.Disable(); err != nil {
		t.Fatal(err)
	}
	l.e.Put(l.nw, fdb.MakeKey(1, a.mac()), number, 0)
	l.e.Entries(func(e Entry) { t.Errorf("left: %+v", e) })
}
