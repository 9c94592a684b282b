package fastpath

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"gxswitch/internal/frame"
)

// stations is the program's forwarding database, in memory that it shares. It is
// read without a lock by the program, on every processor, and written here alone.
type stations struct {
	mu      sync.Mutex // one writes
	buckets []bucket   // nil once the engine is closed
	state   []state    // one
}

// bucket, slot and state are those of maps.bpf.h. A word is a station's FID<<48 and
// MAC.
type (
	bucket [4]slot
	slot   struct {
		check        atomic.Uint64
		stamp, where atomic.Uint32
	}
	state struct{ secret, mix, _ atomic.Uint64 }
)

// fidOfVLAN is in the place of a word's FID where it names a VLAN of a network, and
// where is that VLAN's FID.
const fidOfVLAN = 0xffff

func (s *stations) open(obj *objects) (err error) {
	if s.state, err = mapShared[state](obj.GxState, 1); err != nil {
		return err
	}
	s.buckets, err = mapShared[bucket](obj.GxFdb, int(obj.GxFdb.MaxEntries()))
	if err != nil || s.state[0].secret.Load() != 0 {
		return err
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails, by its documentation
	s.state[0].mix.Store(binary.NativeEndian.Uint64(random[8:]) | 1)
	s.state[0].secret.Store(binary.NativeEndian.Uint64(random[:]) | 1)
	return nil
}

func (s *stations) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := unmapShared(s.buckets)
	if err == nil {
		err = unmapShared(s.state)
	}
	s.buckets, s.state = nil, nil
	return err
}

// homes are the buckets in which a word may be, as find of stations.bpf.h has them.
func (s *stations) homes(word uint64) [2]*bucket {
	h := word * s.state[0].secret.Load()
	h = (h ^ h>>32) * s.state[0].mix.Load()
	return [2]*bucket{&s.buckets[h>>48], &s.buckets[h>>32&0xffff]}
}

func (s *slot) word() uint64 { return s.check.Load() ^ uint64(s.where.Load()) }

// free reports whether nothing is there: a check that is equal to its where would be
// of a word of FID 0, which is none.
func (s *slot) free() bool { return s.check.Load() == 0 }

// at is the slot of a word, or nil.
func (s *stations) at(word uint64) *slot {
	for _, b := range s.homes(word) {
		for i := range b {
			if !b[i].free() && b[i].word() == word {
				return &b[i]
			}
		}
	}
	return nil
}

// put enters a word, or moves it. It fails, and the word is not there, if all slots
// where it could be are taken by words that have no other slot free either.
func (s *stations) put(word uint64, where, stamp uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets == nil {
		return true // nobody is there to be told
	}
	to := s.at(word)
	if to == nil {
		to = s.room(word)
	}
	if to == nil {
		to = s.makeRoom(word)
	}
	if to == nil {
		return false
	}
	to.set(word, where, stamp)
	return true
}

// room is a free slot where a word may be, or nil.
func (s *stations) room(word uint64) *slot {
	for _, b := range s.homes(word) {
		for i := range b {
			if b[i].free() {
				return &b[i]
			}
		}
	}
	return nil
}

// makeRoom moves another word to where it may be as well. While both slots have it
// the program finds the one or the other.
func (s *stations) makeRoom(word uint64) *slot {
	for _, b := range s.homes(word) {
		for i := range b {
			if to := s.room(b[i].word()); to != nil {
				to.set(b[i].word(), b[i].where.Load(), b[i].stamp.Load())
				return &b[i]
			}
		}
	}
	return nil
}

func (s *slot) set(word uint64, where, stamp uint32) {
	s.stamp.Store(stamp)
	s.where.Store(where)
	s.check.Store(word ^ uint64(where))
}

func (s *stations) remove(word uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets == nil {
		return
	}
	if at := s.at(word); at != nil {
		at.clear()
	}
}

// removeFrom removes a word unless it has moved from there.
func (s *stations) removeFrom(word uint64, where uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets == nil {
		return
	}
	if at := s.at(word); at != nil && at.where.Load() == where {
		at.clear()
	}
}

// single leaves but the first of a word that is there twice: who makes room may have
// been killed at it.
func (s *stations) single(word uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.at(word)
	for _, b := range s.homes(word) {
		for i := range b {
			if at := &b[i]; at != first && !at.free() && at.word() == word {
				at.clear()
			}
		}
	}
}

func (s *slot) clear() {
	s.check.Store(0)
	s.where.Store(0)
}

// each hands every word to f, which may put and remove.
func (s *stations) each(f func(word uint64, where, stamp uint32)) {
	const stride = 256
	type entry struct {
		word         uint64
		where, stamp uint32
	}
	var some []entry
	for from, more := 0, true; more; from += stride {
		some = some[:0]
		s.mu.Lock()
		to := min(from+stride, len(s.buckets))
		for b := from; b < to; b++ {
			for i := range s.buckets[b] {
				if at := &s.buckets[b][i]; !at.free() {
					some = append(some, entry{at.word(), at.where.Load(), at.stamp.Load()})
				}
			}
		}
		more = to < len(s.buckets)
		s.mu.Unlock()
		for _, e := range some {
			f(e.word, e.where, e.stamp)
		}
	}
}

// wordOf names a station.
func wordOf(fid uint16, mac frame.MAC) uint64 { return uint64(fid)<<48 | macWord(mac) }

// macWord is the address as the program reads it: the first byte lowest.
func macWord(m frame.MAC) uint64 {
	var b [8]byte
	copy(b[:], m[:])
	return binary.LittleEndian.Uint64(b[:])
}

// macOf is the address in a word.
func macOf(word uint64) (m frame.MAC) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], word)
	copy(m[:], b[:])
	return m
}
