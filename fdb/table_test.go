package fdb

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"gxswitch/internal/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// station is the nth test address on VLAN 1.
func station(n int) Key {
	return MakeKey(1, frame.MAC{0, 0x16, 0x3e, byte(n >> 16), byte(n >> 8), byte(n)})
}

// stranger is an address such as a flood invents: unicast, at random.
func stranger(r *rand.Rand) Key { return Key(1)<<48 | Key(r.Uint64()&0xfeff_ffff_ffff) | 2<<40 }

// atPort is a table's dynamic entries behind p.
func atPort(t *Table, p PortID) (keys []Key) {
	for _, e := range t.Entries(0) {
		if e.Port == p && e.Kind == Dynamic {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

func TestKeyHoldsVLANAndAddress(t *testing.T) {
	mac := frame.MAC{0x00, 0x16, 0x3e, 0x11, 0x22, 0x33}
	k := MakeKey(4094, mac)
	if k != 0x0ffe_0016_3e11_2233 {
		t.Errorf("key is %#x", uint64(k))
	}
	if k.VLAN() != 4094 || k.MAC() != mac {
		t.Errorf("key gives back %d %v", k.VLAN(), k.MAC())
	}
	if b := append(mac[:], 0xff); KeyFromBytes(4094, b) != k {
		t.Errorf("key from bytes is %#x", uint64(KeyFromBytes(4094, b)))
	}
}

func TestVLANsLearnApart(t *testing.T) {
	tb := New(Config{})
	mac := frame.MAC{2, 0, 0, 0, 0, 1}
	tb.Learn(MakeKey(10, mac), 1, 0)
	tb.Learn(MakeKey(20, mac), 2, 0)
	for vlan, want := range map[uint16]PortID{10: 1, 20: 2} {
		if p, ok := tb.Lookup(MakeKey(vlan, mac)); !ok || p != want {
			t.Errorf("VLAN %d: port %d, %v, want %d", vlan, p, ok, want)
		}
	}
	if p, ok := tb.Lookup(MakeKey(30, mac)); ok {
		t.Errorf("VLAN 30: port %d, want none", p)
	}
}

func TestLearnVerdicts(t *testing.T) {
	tb := New(Config{Limit: 3})
	if err := tb.Add(station(100), 9, Static); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		k    Key
		p    PortID
		now  int64
		want Verdict
		len  int
	}{
		{station(1), 0, 10, Learned, 2},
		{station(1), 0, 10, Refreshed, 2},
		{station(1), 0, 11, Refreshed, 2},
		{station(1), 1, 12, Moved, 2},
		{station(100), 9, 12, Refreshed, 2},
		{station(100), 1, 12, Pinned, 2},
		{station(2), 1, 12, Learned, 3},
		{station(3), 1, 12, Evicted, 3},
		{station(4), 5, 12, Evicted, 3},
		{0, 5, 12, Full, 3},
	} {
		if got := tb.Learn(c.k, c.p, c.now); got != c.want || tb.Len() != c.len {
			t.Errorf("step %d: %v with %d entries, want %v with %d", i, got, tb.Len(), c.want, c.len)
		}
	}
}

func TestStaticEntriesFillTheTable(t *testing.T) {
	tb := New(Config{Limit: 2})
	tb.Learn(station(1), 1, 0)
	for n, want := range []error{nil, nil, ErrFull} {
		if err := tb.Add(station(10+n), 2, Static); !errors.Is(err, want) {
			t.Errorf("add %d: %v, want %v", n, err, want)
		}
	}
	if v := tb.Learn(station(1), 1, 0); v != Full {
		t.Errorf("learn in a table of static entries: %v, want full", v)
	}
}

func TestAddMeetsWhatIsThere(t *testing.T) {
	for _, c := range []struct {
		name        string
		there, kind Kind
		port        PortID // there at 1
		want        Entry
		err         error
	}{
		{"static over dynamic", Dynamic, Static, 2, Entry{station(1), 2, Static, 0}, nil},
		{"static twice", Static, Static, 1, Entry{station(1), 1, Static, 0}, nil},
		{"static elsewhere", Static, Static, 2, Entry{station(1), 1, Static, 0}, ErrExists},
		{"local over static", Static, Local, 1, Entry{station(1), 1, Local, 0}, nil},
		{"static over local", Local, Static, 1, Entry{station(1), 1, Local, 0}, nil},
		{"static elsewhere than local", Local, Static, 2, Entry{station(1), 1, Local, 0}, ErrExists},
	} {
		t.Run(c.name, func(t *testing.T) {
			tb := New(Config{})
			if c.there == Dynamic {
				tb.Learn(station(1), 1, 0)
			} else if err := tb.Add(station(1), 1, c.there); err != nil {
				t.Fatal(err)
			}
			if err := tb.Add(station(1), c.port, c.kind); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if diff := cmp.Diff([]Entry{c.want}, tb.Entries(7)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSilentStationsAgeAndOthersStay(t *testing.T) {
	tb := New(Config{Ageing: 2500 * time.Millisecond}) // counts as 3 s
	// The clock passes the end of 32 bits on the way.
	const start = 1<<32 - 2
	tb.Learn(station(1), 0, start)
	tb.Learn(station(2), 0, start)
	tb.Learn(station(3), 0, start+9) // from a worker with a later now
	if err := tb.Add(station(4), 0, Static); err != nil {
		t.Fatal(err)
	}
	tb.Learn(station(2), 0, start+2)
	for _, c := range []struct {
		after int64
		want  int
	}{{3, 0}, {4, 1}, {4, 0}} {
		if n := tb.Age(start + c.after); n != c.want {
			t.Errorf("%d s: %d went, want %d", c.after, n, c.want)
		}
	}
	want := []Entry{{station(2), 0, Dynamic, 2}, {station(3), 0, Dynamic, 0}, {station(4), 0, Static, 0}}
	if diff := cmp.Diff(want, tb.Entries(start+4)); diff != "" {
		t.Error(diff)
	}
	if n := tb.Age(start + 1000); n != 2 {
		t.Errorf("1000 s: %d went, want 2", n)
	}
}

func TestAgeReachesEveryStride(t *testing.T) {
	tb := New(Config{Limit: 10_000})
	for n := range 10_000 {
		tb.Learn(station(n+1), PortID(n%7), 0)
	}
	if n := tb.Age(301); n != 10_000 || tb.Len() != 0 {
		t.Errorf("%d of 10000 went, %d are left", n, tb.Len())
	}
	checkInvariants(t, tb)
}

func TestActiveStationsOutliveSilentOnes(t *testing.T) {
	tb := New(Config{Limit: 4})
	for n := 1; n <= 4; n++ {
		tb.Learn(station(n), 0, 0)
	}
	tb.Learn(station(1), 0, 5)
	tb.Learn(station(3), 0, 5)
	tb.Learn(station(5), 0, 6)
	tb.Learn(station(6), 0, 6)
	if diff := cmp.Diff([]Key{station(1), station(3), station(5), station(6)}, atPort(tb, 0)); diff != "" {
		t.Error(diff)
	}
}

func TestSparingActiveStationsEnds(t *testing.T) {
	tb := New(Config{Limit: 10 * chances})
	for now := range int64(2) {
		for n := range 10 * chances {
			tb.Learn(station(n+1), 0, now)
		}
	}
	tb.Learn(station(1<<20), 0, 2)
	if _, ok := tb.Lookup(station(chances + 1)); ok {
		t.Errorf("an eviction spared more than %d entries", chances)
	}
	if _, ok := tb.Lookup(station(chances)); !ok {
		t.Errorf("an eviction spared less than %d entries", chances)
	}
}

func TestPortLimitReplacesThePortsOwn(t *testing.T) {
	tb := New(Config{Limit: 100})
	tb.SetPortLimit(1, 2)
	for n := 1; n <= 5; n++ {
		tb.Learn(station(n), 0, 0)
		tb.Learn(station(10+n), 1, 0)
	}
	if diff := cmp.Diff([]Key{station(14), station(15)}, atPort(tb, 1)); diff != "" {
		t.Error(diff)
	}
	if v := tb.Learn(station(1), 1, 0); v != Moved {
		t.Errorf("move to a port at its limit: %v, want moved", v)
	}
	tb.SetPortLimit(1, 1)
	if diff := cmp.Diff([]Key{station(1)}, atPort(tb, 1)); diff != "" {
		t.Error(diff)
	}
	if n := tb.RemovePort(1); n != 1 {
		t.Errorf("port had %d entries, want 1", n)
	}
	tb.Learn(station(20), 1, 0)
	tb.Learn(station(21), 1, 0)
	if n := tb.PortLen(1); n != 2 {
		t.Errorf("a reused number has %d entries, want 2: the limit went with the port", n)
	}
}

func TestNumbersOfNoPort(t *testing.T) {
	tb := New(Config{})
	if n := tb.FlushPort(7) + tb.RemovePort(7) + tb.PortLen(7) + tb.Flush() + tb.Age(0); n != 0 {
		t.Errorf("an empty table gave up %d entries", n)
	}
	tb.SetLimit(-1)
	if tb.Limit() != DefaultLimit {
		t.Errorf("limit is %d", tb.Limit())
	}
}

// A guest floods 200,000 addresses while its neighbours have a few stations
// each, some silent: they keep them all.
func TestFloodEvictsOnlyItsOwn(t *testing.T) {
	const limit, attacker, neighbours, each = 8192, PortID(3), 20, 50
	tb := New(Config{Limit: limit})
	id := func(p, n int) Key { return station(1 + p*each + n) }
	for p := range neighbours {
		for n := range each {
			if PortID(p) != attacker {
				tb.Learn(id(p, n), PortID(p), 0)
			}
		}
	}
	if err := tb.Add(station(1<<20), attacker, Static); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200_000 {
		if v := tb.Learn(stranger(r), attacker, int64(n/10_000)); v != Learned && v != Evicted {
			t.Fatalf("address %d: %v", n, v)
		}
		if n%1000 == 0 && tb.Len() > limit {
			t.Fatalf("%d entries, limit is %d", tb.Len(), limit)
		}
	}
	for p := range neighbours {
		for n := range each {
			if got, ok := tb.Lookup(id(p, n)); PortID(p) != attacker && (!ok || got != PortID(p)) {
				t.Fatalf("station %d of port %d: port %d, %v", n, p, got, ok)
			}
		}
	}
	if _, ok := tb.Lookup(station(1 << 20)); !ok {
		t.Error("the attacker's static entry went")
	}
	if v := tb.Learn(station(1<<20+1), 0, 20); v != Evicted || tb.PortLen(0) != each+1 {
		t.Errorf("a neighbour's new station: %v, port has %d", v, tb.PortLen(0))
	}
	if n := len(tb.index.Load().buckets); n*entriesPerBucket >= 2*limit {
		t.Errorf("%d buckets for %d entries", n, limit)
	}
	checkInvariants(t, tb)
}

// However many addresses come and go, a search ends soon.
func TestChurnDoesNotLengthenSearches(t *testing.T) {
	const limit = 4096
	// missLines is how many buckets a search for an unknown key reads, on average.
	missLines := func(x *index) float64 {
		lines := 0
		for home := range x.buckets {
			lines++
			for b := uint64(home); x.buckets[b].overflow.Load() != 0; b = x.next(b) {
				lines++
			}
		}
		return float64(lines) / float64(len(x.buckets))
	}
	tb, r := New(Config{Limit: limit}), rand.New(rand.NewPCG(3, 4))
	for range 100 * limit {
		tb.Learn(stranger(r), 0, 0)
	}
	if n := missLines(tb.index.Load()); n > 2 {
		t.Errorf("a search that misses reads %.2f buckets, want about 1.4", n)
	}
	tb.Flush()
	if n := missLines(tb.index.Load()); n != 1 {
		t.Errorf("a search in the empty table reads %.2f buckets", n)
	}
}

func TestMemoryFollowsTheEntries(t *testing.T) {
	tb := New(Config{Limit: 65536})
	for n := range 10 {
		tb.Learn(station(n+1), 0, 0)
	}
	if n := len(tb.index.Load().buckets); n != minBuckets {
		t.Errorf("%d buckets for 10 entries", n)
	}
	for n := range 65536 {
		tb.Learn(station(n+1), 0, 0)
	}
	tb.SetLimit(100)
	if n := len(tb.index.Load().buckets); n != 32 || tb.Len() != 100 {
		t.Errorf("%d buckets for %d entries after the limit fell to 100", n, tb.Len())
	}
	checkInvariants(t, tb)
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	tb, r := New(Config{Limit: 1024}), rand.New(rand.NewPCG(5, 6))
	for range 1024 {
		tb.Learn(stranger(r), 1, 0)
	}
	now := int64(0)
	tb.Learn(station(1), 0, now)
	src := make([]byte, 6)
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"lookup", func() { tb.Lookup(station(1)) }},
		{"lookup of a stranger", func() { tb.Lookup(KeyFromBytes(7, src)) }},
		{"refresh", func() { tb.Learn(station(1), 0, now) }},
		{"refresh with a new stamp", func() { now++; tb.Learn(station(1), 0, now) }},
		{"move", func() { tb.Learn(station(2), PortID(now&1), now); now++ }},
		{"learn in the place of another", func() { tb.Learn(stranger(r), 1, now) }},
		{"age", func() { tb.Age(now) }},
	} {
		if n := testing.AllocsPerRun(1000, c.f); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}
