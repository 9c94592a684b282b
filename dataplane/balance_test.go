package dataplane

import (
	"encoding/binary"
	"testing"
	"time"
)

func TestWhichInterfaceMoves(t *testing.T) {
	tests := []struct {
		name            string
		busiest, idlest float64
		frames          []uint64 // of the busiest worker's interfaces
		want            int
	}{
		{"two alike, another worker has none", 1, 0, []uint64{1000, 1000}, 0},
		{"the one that makes both most alike", 1, 0, []uint64{100, 500, 400}, 1},
		{"a little beside much: the little", 1, 0.4, []uint64{900, 100}, 1},
		{"a single one stays", 1, 0, []uint64{1000}, -1},
		{"nothing is worth the while", 1, 0, []uint64{1000, 10}, -1},
		{"the busiest rests now and then", 0.8, 0, []uint64{1000, 1000}, -1},
		{"the idlest is busy", 1, 0.6, []uint64{1000, 1000}, -1},
		{"nothing was read", 1, 0, nil, -1},
	}
	for _, tt := range tests {
		if got := toMove(tt.busiest, tt.idlest, tt.frames); got != tt.want {
			t.Errorf("%s: interface %d moves, want %d", tt.name, got, tt.want)
		}
	}
}

// An interface goes from worker to worker under traffic: each frame arrives,
// once and in order.
func TestMovedInterfaceLosesNothing(t *testing.T) {
	const frames, moves = 20_000, 200 // at least
	l := newLab(t, "a", "b")
	if err := l.sw.AddFDB("b", 1, mac(t, neighbourMAC)); err != nil {
		t.Fatal(err)
	}
	packet := unhex(t, neighbourMAC+guestMAC+ip4(guest4, neighbour4, 253, "00000000"))
	sent, moved, next := uint32(0), 0, uint32(0)
	end := time.Now().Add(time.Minute)
	for next < frames || moved < moves || next < sent {
		if sent-next < 500 && (sent < frames || moved < moves) {
			for range 50 {
				binary.BigEndian.PutUint32(packet[len(packet)-4:], sent)
				l.inject("a", nil, packet, 1)
				sent++
			}
		}
		if moved < moves || sent < frames {
			l.sw.mu.Lock()
			a, _ := l.sw.find("a")
			on := a.port.wire
			l.sw.move(on, l.sw.workers[1-on.worker.index])
			l.sw.mu.Unlock()
			moved++
		}
		for _, raw := range l.ports["b"].Sent() {
			if n := binary.BigEndian.Uint32(raw[len(raw)-4:]); n != next {
				t.Fatalf("frame %d came where %d was due, after %d moves", n, next, moved)
			}
			next++
		}
		if time.Now().After(end) {
			t.Fatalf("after a minute %d of %d frames have come", next, sent)
		}
	}
	l.checkSums()
}
