package dataplane

import (
	"encoding/binary"
	"fmt"
	"testing"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// source is a port that has the same frames again whenever it is read, and
// costs next to nothing: what is measured is the switch. It does so only
// between start and stop.
type source struct {
	ports.Port // a memory port, for all but reading
	running    bool
	raw        [ports.BatchSize][]byte
}

func (s *source) Read(batch []frame.Frame, _ *ports.Buffers) int {
	if !s.running {
		return 0
	}
	n := min(len(batch), len(s.raw))
	for i := range n {
		batch[i].Reset(s.raw[i])
	}
	return n
}

func (s *source) Release() {}

// onTrack calls f on the thread of a worker whose ports are a source of that
// frame and count sinks; the station it may be for is pinned at the first. The
// worker does nothing meanwhile but what f makes it do.
func onTrack(t testing.TB, vnet, data []byte, sinks int, f func(w *worker)) {
	t.Helper()
	l := newLab(t)
	m, err := ports.NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	src := &source{Port: m}
	for i := range src.raw {
		src.raw[i] = append(append(make([]byte, 0, frame.VNetLen+len(data)), vnet...), data...)
		if vnet == nil {
			src.raw[i] = append(make([]byte, frame.VNetLen), data...)
		}
	}
	if err := l.sw.Attach(PortConfig{Name: "in", Network: "n", MTU: 1500, Up: true}, src); err != nil {
		t.Fatal(err)
	}
	for i := range sinks {
		name := fmt.Sprint("out", i)
		l.attach(PortConfig{Name: name, Network: "n", MTU: 1500, Up: true})
		l.ports[name].Discard()
	}
	if err := l.sw.AddFDB("out0", 1, mac(t, stB)); err != nil {
		t.Fatal(err)
	}
	w := l.sw.workers[0]
	w.call(func() {
		src.running = true
		defer func() { src.running = false }()
		m.Inject(nil, nil) // wakes the worker to the port
		w.pollCold()
		if w.turn() == 0 {
			t.Error("nothing to do")
			return
		}
		f(w)
	})
}

func TestBatchDoesNotAllocate(t *testing.T) {
	vnet, super := superTCP(t, stB, stA, 1448, 64000)
	for _, c := range []struct {
		name       string
		vnet, data []byte
		sinks      int
	}{
		{"unicast", nil, unhex(t, stB+stA+payload), 1},
		{"GSO", vnet, super, 1},
		{"flood", nil, unhex(t, all+stA+payload), 8},
		{"dropped", nil, unhex(t, all+"000000000000"+payload), 1},
		{"runt", nil, unhex(t, stB+stA+payload)[:13], 1},
	} {
		onTrack(t, c.vnet, c.data, c.sinks, func(w *worker) {
			if n := testing.AllocsPerRun(100, func() { w.turn() }); n != 0 {
				t.Errorf("%s: a batch allocates %v times", c.name, n)
			}
		})
	}
}

func TestTaggedBatchDoesNotAllocate(t *testing.T) {
	// A source takes no tags off, so this one is tagged by hand.
	onTrack(t, nil, unhex(t, stB+stA+payload), 3, func(w *worker) {
		frames := make([]frame.Frame, ports.BatchSize)
		raw := append(make([]byte, frame.VNetLen), unhex(t, all+stA+payload)...)
		v := w.sw.view.Load()
		n := testing.AllocsPerRun(100, func() {
			for i := range frames {
				frames[i].Reset(raw)
				frames[i].Tagged, frames[i].TCI = true, uint16(10+i)
			}
			w.process(v, v.ports[0], frames)
			w.flush()
		})
		if n != 0 {
			t.Errorf("a tagged batch allocates %v times", n)
		}
	})
}

// BenchmarkPipeline is the switch without a kernel: from Read to Write, on
// memory ports that forget.
func BenchmarkPipeline(b *testing.B) {
	vnet, super := superTCP(b, stB, stA, 1448, 64000)
	for _, c := range []struct {
		name       string
		vnet, data []byte
		sinks      int
	}{
		{"unicast-60", nil, append(unhex(b, stB+stA+"88b5"), make([]byte, 46)...), 1},
		{"unicast-1514", nil, append(unhex(b, stB+stA+"88b5"), make([]byte, 1500)...), 1},
		{"unicast-GSO", vnet, super, 1},
		{"flood-8", nil, append(unhex(b, all+stA+"88b5"), make([]byte, 46)...), 8},
	} {
		b.Run(c.name, func(b *testing.B) {
			onTrack(b, c.vnet, c.data, c.sinks, func(w *worker) {
				b.ReportAllocs()
				batches := 0
				for b.Loop() {
					w.turn()
					batches++
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(batches*ports.BatchSize), "ns/frame")
			})
		})
	}
}

// BenchmarkPipelineStations is unicast among many stations, whose addresses
// are not all in the nearest cache.
func BenchmarkPipelineStations(b *testing.B) {
	for _, stations := range []int{64, 4096} {
		b.Run(fmt.Sprint(stations), func(b *testing.B) {
			onTrack(b, nil, append(unhex(b, stB+stA+"88b5"), make([]byte, 46)...), 1, func(w *worker) {
				v := w.sw.view.Load()
				frames := make([]frame.Frame, ports.BatchSize)
				raw := make([][]byte, stations)
				for i := range raw {
					raw[i] = append(make([]byte, frame.VNetLen), unhex(b, stB+stA+payload)...)
					binary.BigEndian.PutUint32(raw[i][frame.VNetLen+8:], uint32(i)*2654435761)
				}
				at := 0
				batches := 0
				for b.Loop() {
					for i := range frames {
						frames[i].Reset(raw[at])
						if at++; at == stations {
							at = 0
						}
					}
					w.process(v, v.ports[0], frames)
					w.flush()
					batches++
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(batches*ports.BatchSize), "ns/frame")
			})
		})
	}
}
