package porttest

import (
	"bytes"
	"sync"
	"testing"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

func testOrder(t *testing.T, r *rig) {
	const count = 200
	if n := r.Port.Read(r.batch, r.buffers); n != 0 {
		t.Fatalf("%d frames before any was sent", n)
	}
	for i := range uint32(count) {
		r.Send(nil, numbered(i, 60))
	}
	if n := r.Port.Read(nil, r.buffers); n != 0 {
		t.Fatalf("%d frames for an empty batch", n)
	}
	for i := uint32(0); i < count; {
		size := []int{1, 7, ports.BatchSize}[i%3]
		for _, f := range r.read(r.batch[:size]) {
			if want := numbered(i, 60); !bytes.Equal(f.Data(), want) || f.Tagged || f.TCI != 0 || f.Truncated {
				t.Fatalf("frame %d: %s tagged %v truncated %v", i, brief(f.Data()), f.Tagged, f.Truncated)
			}
			if !sameVNet(f.Raw, nil) {
				t.Fatalf("frame %d: virtio-net header %x", i, f.Raw[:frame.VNetLen])
			}
			i++
		}
		r.release()
	}
}

func testBorrowed(t *testing.T, r *rig) {
	const first, more = 20, 100
	sizes := [...]int{60, 1514, 300}
	for i := range uint32(first) {
		r.Send(nil, numbered(i, sizes[i%3]))
	}
	batch := make([]frame.Frame, first+more)
	n := 0
	for n < first {
		n += len(r.read(batch[n:first]))
	}
	for i := range uint32(more) {
		r.Send(nil, numbered(first+i, 200))
	}
	for n < first+more {
		n += len(r.read(batch[n:]))
	}
	for i := range uint32(first) {
		if want := numbered(i, sizes[i%3]); !bytes.Equal(batch[i].Data(), want) {
			t.Fatalf("frame %d changed before its release: %s", i, brief(batch[i].Data()))
		}
	}
	r.release()
	r.Send(nil, numbered(999, 60))
	if f := r.one(); number(f.Data()) != 999 {
		t.Fatalf("after the release: %s", brief(f.Data()))
	}
	r.release()
}

// testGoRound reads many times what the port can keep, and always holds some.
func testGoRound(t *testing.T, r *rig) {
	sent, got := uint32(0), uint32(0)
	for round := range 40 {
		for range round%13 + 1 {
			r.Send(nil, numbered(sent, 60+int(sent)%1400))
			sent++
		}
		for got < sent {
			for _, f := range r.read(r.batch[:min(int(sent-got), len(r.batch))]) {
				if want := numbered(got, 60+int(got)%1400); !bytes.Equal(f.Data(), want) {
					t.Fatalf("frame %d: %s", got, brief(f.Data()))
				}
				got++
			}
			if round%3 != 0 {
				r.release()
			}
		}
		if round%3 == 0 {
			r.release()
		}
	}
	if lost := r.Port.Lost(); lost != 0 {
		t.Errorf("%d lost", lost)
	}
}

func testNoEcho(t *testing.T, r *rig) {
	for i := range uint32(10) {
		r.write(out(t, nil, numbered(i, 60)))
		r.next("own frame", nil, numbered(i, 60))
	}
	r.Send(nil, numbered(99, 60))
	if f := r.one(); number(f.Data()) != 99 {
		t.Errorf("first came %s, not the other end's frame", brief(f.Data()))
	}
	r.release()
}

func testTwoWriters(t *testing.T, r *rig) {
	const each, size = 300, 10
	var results [2]ports.Result
	var wg sync.WaitGroup
	for w := range results {
		wg.Go(func() {
			scratch := ports.NewScratch()
			for i := 0; i < each; i += size {
				var batch []ports.Send
				for k := range size {
					batch = append(batch, out(t, nil, numbered(uint32(w*each+i+k), 100)))
				}
				got := r.Port.Write(batch, scratch)
				results[w].Packets += got.Packets
			}
		})
	}
	wg.Wait()
	if results[0].Packets != each || results[1].Packets != each {
		t.Fatalf("sent %d and %d, want %d of each", results[0].Packets, results[1].Packets, each)
	}
	next := [2]uint32{0, each}
	for range 2 * each {
		_, data := r.Next()
		n := number(data)
		w := n / each
		if !bytes.Equal(data, numbered(n, 100)) || n != next[w] {
			t.Fatalf("writer %d: got %s, want frame %d", w, brief(data), next[w])
		}
		next[w]++
	}
}
