package fdb

import (
	"cmp"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model is the table as its documentation puts it: every entry in one slice, in
// the order in which it is up for eviction within its port.
type model struct {
	limit     int
	portLimit map[PortID]int
	ageing    int64
	entries   []modelEntry
}

type modelEntry struct {
	Entry
	heard, seen int64
}

func (m *model) at(k Key) int {
	return slices.IndexFunc(m.entries, func(e modelEntry) bool { return e.Key == k })
}

func (m *model) count(p PortID, kinds ...Kind) (n int) {
	for _, e := range m.entries {
		if e.Port == p && slices.Contains(kinds, e.Kind) {
			n++
		}
	}
	return n
}

func (m *model) removeIf(f func(e modelEntry) bool) int {
	n := len(m.entries)
	m.entries = slices.DeleteFunc(m.entries, f)
	return n - len(m.entries)
}

func (m *model) evict(p PortID) {
	for {
		i := slices.IndexFunc(m.entries, func(e modelEntry) bool { return e.Port == p && e.Kind == Dynamic })
		e := m.entries[i]
		m.entries = slices.Delete(m.entries, i, i+1)
		if e.heard == e.seen {
			return
		}
		e.seen = e.heard
		m.entries = append(m.entries, e)
	}
}

// largest is the port with the most dynamic entries; in a tie preferred, else
// the lowest number.
func (m *model) largest(preferred PortID) (PortID, int) {
	best, most := preferred, m.count(preferred, Dynamic)
	for p := range PortID(modelPorts) {
		if n := m.count(p, Dynamic); n > most {
			best, most = p, n
		}
	}
	return best, most
}

func (m *model) makeRoom(p PortID) (evicted, ok bool) {
	if len(m.entries) < m.limit {
		return false, true
	}
	q, n := m.largest(p)
	if n == 0 {
		return false, false
	}
	m.evict(q)
	return true, true
}

func (m *model) makeRoomAt(p PortID) bool {
	if m.portLimit[p] == 0 || m.count(p, Dynamic) < m.portLimit[p] {
		return false
	}
	m.evict(p)
	return true
}

func (m *model) put(k Key, p PortID, kind Kind, now int64) {
	m.removeIf(func(e modelEntry) bool { return e.Key == k })
	m.entries = append(m.entries, modelEntry{Entry{Key: k, Port: p, Kind: kind}, now, now})
}

func (m *model) learn(k Key, p PortID, now int64) Verdict {
	if i := m.at(k); i >= 0 {
		e := &m.entries[i]
		switch {
		case e.Port == p:
			e.heard = max(e.heard, now)
			return Refreshed
		case e.Kind != Dynamic:
			return Pinned
		}
		m.makeRoomAt(p)
		m.put(k, p, Dynamic, now)
		return Moved
	}
	if m.makeRoomAt(p) {
		m.put(k, p, Dynamic, now)
		return Evicted
	}
	evicted, ok := m.makeRoom(p)
	if !ok {
		return Full
	}
	m.put(k, p, Dynamic, now)
	if evicted {
		return Evicted
	}
	return Learned
}

func (m *model) add(k Key, p PortID, kind Kind) error {
	i := m.at(k)
	if i < 0 {
		if _, ok := m.makeRoom(p); !ok {
			return ErrFull
		}
	} else if e := m.entries[i]; e.Kind != Dynamic {
		if e.Port != p {
			return ErrExists
		}
		kind = max(kind, e.Kind)
	}
	m.put(k, p, kind, 0)
	return nil
}

func (m *model) setLimit(n int) {
	m.limit = n
	for len(m.entries) > m.limit {
		p, n := m.largest(0)
		if n == 0 {
			return
		}
		m.evict(p)
	}
}

func (m *model) list(now int64) []Entry {
	all := []Entry{}
	for _, e := range m.entries {
		if e.Kind == Dynamic {
			e.AgeSeconds = max(now-e.heard, 0)
		}
		all = append(all, e.Entry)
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

const modelPorts, modelKeys = 5, 300

func TestTableIsItsModel(t *testing.T) { rapid.Check(t, tableIsItsModel) }

func FuzzTableIsItsModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(tableIsItsModel)) }

func tableIsItsModel(t *rapid.T) {
	// Small limits crowd the table, large ones let it grow.
	limit := rapid.OneOf(rapid.IntRange(1, 12), rapid.IntRange(60, 200))
	// Few keys meet each other, many fill the table.
	keys := rapid.Custom(func(t *rapid.T) Key {
		n := rapid.OneOf(rapid.IntRange(1, 15), rapid.IntRange(1, modelKeys)).Draw(t, "station")
		return station(n) + Key(n%3)<<48
	})
	ports := rapid.Map(rapid.IntRange(0, modelPorts-1), func(n int) PortID { return PortID(n) })
	// The later start lets stamps wrap.
	now := rapid.SampledFrom([]int64{0, 1<<32 - 20}).Draw(t, "start")

	m := &model{limit: limit.Draw(t, "limit"), ageing: 30, portLimit: map[PortID]int{}}
	tb := New(Config{Limit: m.limit, Ageing: 30 * time.Second})
	followed := map[Key]PortID{}
	tb.Follow(func(k Key) {
		if p, ok := tb.Lookup(k); ok {
			followed[k] = p
		} else {
			delete(followed, k)
		}
	})
	equal := func(t *rapid.T, what string, got, want any) {
		if got != want {
			t.Fatalf("%s: %v, the model says %v", what, got, want)
		}
	}
	learn := func(t *rapid.T) {
		k, p, at := keys.Draw(t, "key"), ports.Draw(t, "port"), now-int64(rapid.IntRange(0, 1).Draw(t, "late"))
		equal(t, "learn", tb.Learn(k, p, at), m.learn(k, p, at))
	}
	t.Repeat(map[string]func(*rapid.T){
		"learn":       learn,
		"learn again": learn,
		"flood": func(t *rapid.T) {
			from, p := rapid.IntRange(1, modelKeys).Draw(t, "from"), ports.Draw(t, "port")
			for n := range rapid.IntRange(1, 100).Draw(t, "count") {
				k := station(from + n)
				equal(t, "learn", tb.Learn(k, p, now), m.learn(k, p, now))
			}
		},
		"time passes": func(t *rapid.T) { now += int64(rapid.IntRange(1, 20).Draw(t, "seconds")) },
		"age": func(t *rapid.T) {
			equal(t, "age", tb.Age(now), m.removeIf(func(e modelEntry) bool {
				return e.Kind == Dynamic && now-e.heard > m.ageing
			}))
		},
		"add": func(t *rapid.T) {
			k, p, kind := keys.Draw(t, "key"), ports.Draw(t, "port"), rapid.SampledFrom([]Kind{Static, Local}).Draw(t, "kind")
			equal(t, "add", tb.Add(k, p, kind), m.add(k, p, kind))
		},
		"delete": func(t *rapid.T) {
			k := keys.Draw(t, "key")
			equal(t, "delete", tb.Delete(k), m.removeIf(func(e modelEntry) bool { return e.Key == k }) == 1)
		},
		"flush": func(t *rapid.T) {
			equal(t, "flush", tb.Flush(), m.removeIf(func(e modelEntry) bool { return e.Kind == Dynamic }))
		},
		"flush port": func(t *rapid.T) {
			p := ports.Draw(t, "port")
			equal(t, "flush port", tb.FlushPort(p), m.removeIf(func(e modelEntry) bool { return e.Port == p && e.Kind == Dynamic }))
		},
		"remove port": func(t *rapid.T) {
			p := ports.Draw(t, "port")
			m.portLimit[p] = 0
			equal(t, "remove port", tb.RemovePort(p), m.removeIf(func(e modelEntry) bool { return e.Port == p }))
		},
		"set limit": func(t *rapid.T) {
			n := limit.Draw(t, "limit")
			m.setLimit(n)
			tb.SetLimit(n)
		},
		"set port limit": func(t *rapid.T) {
			p, n := ports.Draw(t, "port"), rapid.IntRange(0, 5).Draw(t, "limit")
			m.portLimit[p] = n
			for n > 0 && m.count(p, Dynamic) > n {
				m.evict(p)
			}
			tb.SetPortLimit(p, n)
		},
		"set ageing": func(t *rapid.T) {
			m.ageing = int64(rapid.IntRange(1, 60).Draw(t, "ageing"))
			tb.SetAgeing(time.Duration(m.ageing) * time.Second)
		},
		"": func(t *rapid.T) {
			if diff := gocmp.Diff(m.list(now), tb.Entries(now)); diff != "" {
				t.Fatalf("entries (-model +table):\n%s", diff)
			}
			equal(t, "len", tb.Len(), len(m.entries))
			equal(t, "len of who follows", len(followed), len(m.entries))
			equal(t, "limit", tb.Limit(), m.limit)
			for p := range PortID(modelPorts) {
				equal(t, "port len", tb.PortLen(p), m.count(p, Dynamic, Static, Local))
			}
			for n := range modelKeys {
				k := station(n) + Key(n%3)<<48
				i := m.at(k)
				p, ok := tb.Lookup(k)
				equal(t, "lookup finds", ok, i >= 0)
				if ok {
					equal(t, "lookup", p, m.entries[i].Port)
					equal(t, "who follows", followed[k], p)
				}
			}
			checkInvariants(t, tb)
		},
	})
}

// checkInvariants recounts what the table keeps by increments.
func checkInvariants(t interface{ Errorf(string, ...any) }, tb *Table) {
	x := tb.index.Load()
	overflow := make([]uint32, len(x.buckets))
	found := 0
	for b := range x.buckets {
		for i := range x.buckets[b].keys {
			k, v := Key(x.buckets[b].keys[i].Load()), value(x.buckets[b].values[i].Load())
			if (k == 0) != (v.kind() == 0) {
				t.Errorf("slot %d.%d: key %#x with value %#x", b, i, uint64(k), uint64(v))
			}
			if k == 0 {
				continue
			}
			found++
			for h := x.home(k); h != uint64(b); h = x.next(h) {
				overflow[h]++
			}
		}
	}
	for b := range x.buckets {
		if got := x.buckets[b].overflow.Load(); got != overflow[b] {
			t.Errorf("bucket %d: overflow %d, want %d", b, got, overflow[b])
		}
	}
	listed := 0
	for p := range tb.ports {
		r := &tb.ports[p]
		for _, l := range []list{r.dynamic, r.pinned} {
			n, prev := 0, none
			for at := l.first; at != none; at = x.links[at].next {
				v := value(x.value(at).Load())
				if v.port() != PortID(p) || (v.kind() == Dynamic) != (l == r.dynamic) || x.links[at].prev != prev {
					t.Errorf("port %d lists slot %d: %#x", p, at, uint64(v))
				}
				n, prev = n+1, at
			}
			if n != l.n || prev != l.last {
				t.Errorf("port %d: list of %d counts %d", p, n, l.n)
			}
			listed += n
		}
		if tb.bySize[r.rank] != PortID(p) {
			t.Errorf("port %d is not at its place in the heap", p)
		}
		if up := tb.bySize[max(r.rank-1, 0)/2]; tb.larger(PortID(p), up) {
			t.Errorf("port %d is below the smaller port %d", p, up)
		}
	}
	if found != tb.len || listed != tb.len {
		t.Errorf("%d entries found, %d listed, %d counted", found, listed, tb.len)
	}
}
