package fdb

import (
	"cmp"
	"slices"
)

// Entry is one line of a listing.
type Entry struct {
	Key        Key
	Port       PortID
	Kind       Kind
	AgeSeconds int64 // since the last frame from the station; 0 if static or local
}

// Entries is a copy of the table at one moment, ordered by VLAN, then address.
func (t *Table) Entries(now int64) []Entry {
	all := t.unsorted(now)
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

func (t *Table) unsorted(now int64) []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Entry, 0, t.len)
	x := t.index.Load()
	for b := range x.buckets {
		for i := range x.buckets[b].keys {
			v := value(x.buckets[b].values[i].Load())
			if v.kind() == 0 {
				continue
			}
			e := Entry{Key: Key(x.buckets[b].keys[i].Load()), Port: v.port(), Kind: v.kind()}
			if e.Kind == Dynamic {
				e.AgeSeconds = max(int64(v.age(now)), 0)
			}
			all = append(all, e)
		}
	}
	return all
}

// Len is the number of entries of all kinds.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.len
}

// PortLen is the number of p's entries of all kinds.
func (t *Table) PortLen(p PortID) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if int(p) >= len(t.ports) {
		return 0
	}
	return t.ports[p].dynamic.n + t.ports[p].pinned.n
}
