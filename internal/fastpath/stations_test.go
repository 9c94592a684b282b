package fastpath

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
)

// private is a table that no program reads.
func private() *stations {
	s := &stations{buckets: make([]bucket, 65536), state: make([]state, 1)}
	s.state[0].secret.Store(0x9e3779b97f4a7c15)
	s.state[0].mix.Store(0xd6e8feb86659fd93)
	return s
}

// crowd is addresses that take every slot where one could be, and those to which
// they could move from there.
func crowd(s *stations, fid uint16, mac frame.MAC) []frame.MAC {
	homes := s.homes(wordOf(fid, mac))
	inner := settlers(s, fid, homes[:], 1)
	var others []*bucket
	for _, mac := range inner {
		others = append(others, s.homes(wordOf(fid, mac))[1])
	}
	return append(inner, settlers(s, fid, others, 2)...)
}

// settlers is addresses that fill buckets, each of them its first home.
func settlers(s *stations, fid uint16, buckets []*bucket, salt byte) []frame.MAC {
	room, left := map[*bucket]int{}, 0
	for _, b := range buckets {
		room[b] += len(b)
		left += len(b)
	}
	var found []frame.MAC
	for i := uint32(0); left > 0; i++ {
		mac := frame.MAC{2, salt}
		binary.BigEndian.PutUint32(mac[2:], i)
		if first := s.homes(wordOf(fid, mac))[0]; room[first] > 0 {
			room[first]--
			left--
			found = append(found, mac)
		}
	}
	return found
}

func TestStationsAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, model := private(), map[uint64]uint32{}
		word := rapid.Map(rapid.Uint64Range(0, 40), func(i uint64) uint64 { return 1<<48 | i<<40 | 2 })
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				w, where := word.Draw(t, "word"), rapid.Uint32Range(1, 3).Draw(t, "where")
				if !s.put(w, where, 7) {
					t.Fatalf("no room for %x", w)
				}
				model[w] = where
			},
			"remove": func(t *rapid.T) {
				w := word.Draw(t, "word")
				s.remove(w)
				delete(model, w)
			},
			"remove from": func(t *rapid.T) {
				w, where := word.Draw(t, "word"), rapid.Uint32Range(1, 3).Draw(t, "where")
				s.removeFrom(w, where)
				if model[w] == where {
					delete(model, w)
				}
			},
			"": func(t *rapid.T) {
				n := 0
				s.each(func(w uint64, where, stamp uint32) {
					n++
					if want, ok := model[w]; !ok || want != where || stamp != 7 {
						t.Fatalf("%x is at %x (stamp %d), the model says %x, %v", w, where, stamp, want, ok)
					}
				})
				if n != len(model) {
					t.Fatalf("%d stations, the model has %d", n, len(model))
				}
			},
		})
	})
}

// A full complement of stations finds room.
func TestStationsFindRoom(t *testing.T) {
	for _, tt := range []struct {
		name string
		mac  func(i int) frame.MAC
	}{
		{"in a row", func(i int) frame.MAC { return frame.MAC{2, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)} }},
		{"of many vendors", func(i int) frame.MAC { return frame.MAC{byte(i) &^ 1, byte(i >> 8), byte(i >> 16), 0x5e, 0, 0} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := private()
			lost := 0
			const stations = 131072 // half of the slots
			for i := range stations {
				if !s.put(wordOf(1, tt.mac(2*i)), 1, 0) {
					lost++
				}
			}
			if lost > 0 {
				t.Errorf("%d of %d found no room", lost, stations)
			}
			for i := range stations {
				if s.at(wordOf(1, tt.mac(2*i))) == nil {
					t.Fatalf("station %d is not there", i)
				}
			}
		})
	}
}

// Of a word that is twice there, with a predecessor that was killed, one stays.
func TestStationsThatAreTwiceThere(t *testing.T) {
	s, word := private(), wordOf(1, frame.MAC{2, 0, 0, 0, 0, 1})
	for i, b := range s.homes(word) {
		b[3].set(word, uint32(i+1), 0)
	}
	s.single(word)
	n := 0
	s.each(func(_ uint64, where, _ uint32) {
		if n++; where != 1 {
			t.Errorf("the one behind %d is left", where)
		}
	})
	if n != 1 {
		t.Errorf("%d are left", n)
	}
}

// An address for which there is no room stays with user space, and is counted; those
// that are there go on, and it gets the room of one that goes.
func TestNoRoomForAnAddress(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	b.known(1)
	a.known(1)
	l.e.Delete(l.nw, fdb.MakeKey(1, b.mac()))
	crowd := crowd(&l.e.stations, l.e.fid(vlanKey{l.nw, 1}, maxFIDs), b.mac())
	for _, mac := range crowd {
		l.e.Put(l.nw, fdb.MakeKey(1, mac), a.port.Number(), 0)
	}
	b.known(1)
	if n := l.e.Full(); n != 1 {
		t.Errorf("%d addresses found no room, want 1", n)
	}
	a.send(a.to(b.mac()))
	l.punted()
	for _, mac := range crowd {
		a.send(a.to(mac))
	}
	if n := a.port.Counters().SamePort; n != uint64(len(crowd)) {
		t.Errorf("%d frames to known addresses were decided, want %d", n, len(crowd))
	}
	l.e.Delete(l.nw, fdb.MakeKey(1, crowd[len(crowd)-1]))
	b.known(1)
	a.send(a.to(b.mac()))
	b.receive()
	l.none()
}

// A guest that tags with every VLAN in turn takes nothing from networks that come
// after it.
func TestVLANsOfOneGuestLeaveRoomForNetworks(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	hostile := l.guest(nil)
	for vid := uint16(1); vid <= 4094; vid++ {
		hostile.known(vid)
	}
	if n := l.e.Full(); n == 0 {
		t.Error("all VLANs found room: that of others is not tried")
	}
	var err error
	if l.nw, err = l.e.Network("later"); err != nil {
		t.Fatal(err)
	}
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	b.known(1)
	a.send(a.to(b.mac()))
	b.receive()
	l.none()
}
