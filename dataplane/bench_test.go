package dataplane

import (
	"encoding/binary"
	"fmt"
	"testing"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/ports"
	"gxswitch/shaping"
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

// track is a worker whose ports are a source of one frame and some sinks.
type track struct {
	vnet, data []byte
	sinks      int
	vid        uint16            // in which station B is pinned at the first sink; 0: VLAN 1
	in, out    func(*PortConfig) // settings of the source and of the sinks; nil: none
}

// onTrack runs f on a track whose ports have no settings.
func onTrack(t testing.TB, vnet, data []byte, sinks int, f func(w *worker)) {
	t.Helper()
	track{vnet: vnet, data: data, sinks: sinks}.run(t, f)
}

// run calls f on the worker's thread. The worker does nothing meanwhile but what
// f makes it do.
func (tr track) run(t testing.TB, f func(w *worker)) {
	t.Helper()
	l := newLab(t)
	m, err := ports.NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	src := &source{Port: m}
	for i := range src.raw {
		src.raw[i] = make([]byte, frame.VNetLen, frame.VNetLen+len(tr.data))
		copy(src.raw[i], tr.vnet)
		src.raw[i] = append(src.raw[i], tr.data...)
	}
	config := func(name string, set func(*PortConfig)) PortConfig {
		c := PortConfig{Name: name, Network: "n", MTU: 1500, Up: true}
		if set != nil {
			set(&c)
		}
		return c
	}
	if err := l.sw.Attach(config("in", tr.in), src); err != nil {
		t.Fatal(err)
	}
	for i := range tr.sinks {
		name := fmt.Sprint("out", i)
		l.attach(config(name, tr.out))
		l.ports[name].Discard()
	}
	if err := l.sw.AddFDB("out0", max(tr.vid, 1), mac(t, stB)); err != nil {
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

// everything is a guest's port with every setting that there is.
func everything(t testing.TB, station, ip string) func(*PortConfig) {
	return func(c *PortConfig) {
		c.VLANs = vlans(t, "10p/20")
		c.Policy = heldTo(t, station, ip)
		c.Storm, c.MACLimit, c.Isolated, c.Twin = filter.MaxStormRate, 8, true, "nobody"
		c.RateFrom, c.RateTo = shaping.FromCredit(1<<40, 1000), shaping.FromCredit(1<<40, 1000)
	}
}

func TestBatchUnderPolicyDoesNotAllocate(t *testing.T) {
	trunk := func(c *PortConfig) { c.Role, c.VLANs = Uplink, vlans(t, "1p/10/20") }
	rest := guestMAC + ip4(guest4, neighbour4, 6, tcp)
	lease := serverMAC + answer(ack, guest4, guestMAC)
	for _, c := range []struct {
		name string
		track
		left func(PortStats) bool
	}{
		{"a guest to one", track{data: unhex(t, stB+rest), sinks: 1, vid: 10, in: everything(t, guestMAC, "10.0.0.5"), out: trunk},
			func(st PortStats) bool { return st.Forwarded > 0 && st.Flooded == 0 }},
		{"a guest to all", track{data: unhex(t, all+rest), sinks: 8, in: everything(t, guestMAC, "10.0.0.5"), out: trunk},
			func(st PortStats) bool { return st.Flooded > 0 }},
		{"to guests", track{data: unhex(t, all+rest), sinks: 8, out: everything(t, guestMAC, "10.0.0.5"),
			in: func(c *PortConfig) { c.Role, c.VLANs = Uplink, vlans(t, "10") }}, func(st PortStats) bool { return st.Flooded > 0 }},
		{"an answer that is known to a guest", track{data: unhex(t, all+lease), sinks: 1, in: func(c *PortConfig) { c.Role = Uplink },
			out: func(c *PortConfig) { c.Policy = filter.Policy{Antispoof: filter.MACIP, MAC: mac(t, guestMAC)} }},
			func(st PortStats) bool { return st.Flooded > 0 }},
		{"a forged MAC", track{data: unhex(t, all+neighbourMAC+payload), sinks: 1, in: everything(t, guestMAC, "10.0.0.5")},
			func(st PortStats) bool { return st.RxDrops[frame.SpoofMAC] > 0 }},
		{"between isolated ports", track{data: unhex(t, stB+rest), sinks: 1, vid: 10, in: everything(t, guestMAC, "10.0.0.5"), out: everything(t, stB, "10.0.0.6")},
			func(st PortStats) bool { return st.RxDrops[frame.Isolated] > 0 }},
		{"a storm", track{data: unhex(t, all+rest), sinks: 1, in: func(c *PortConfig) { c.Storm = 1 }},
			func(st PortStats) bool { return st.RxDrops[frame.Storm] > 0 }},
	} {
		c.run(t, func(w *worker) {
			if n := testing.AllocsPerRun(100, func() { w.turn() }); n != 0 {
				t.Errorf("%s: a batch allocates %v times", c.name, n)
			}
			a := w.sw.attached[0] // its lock may be another's, who waits for this worker
			if st := a.stats(); !c.left(st) {
				t.Errorf("%s: the test tests something else: %+v, dropped %v", c.name, st, reasons(st.RxDrops))
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

// BenchmarkPipelinePolicy is what a port's settings cost: TCP of 54 bytes to one
// port, and to eight.
func BenchmarkPipelinePolicy(b *testing.B) {
	packet := guestMAC + ip4(guest4, neighbour4, 6, tcp)
	one, eight := unhex(b, stB+packet), unhex(b, all+packet)
	policy := func(a filter.Antispoof, ips ...string) func(*PortConfig) {
		return func(c *PortConfig) {
			if a != filter.Off {
				c.Policy = heldTo(b, guestMAC, ips...)
			}
		}
	}
	access := func(c *PortConfig) { c.VLANs = vlans(b, "10") }
	trunk := func(c *PortConfig) { c.VLANs = vlans(b, "1p/10/20") }
	for _, c := range []struct {
		name string
		track
	}{
		{"off", track{data: one, sinks: 1}},
		{"VLAN, untagged", track{data: one, sinks: 1, vid: 10, in: access, out: access}},
		{"VLAN, tagged out", track{data: one, sinks: 1, vid: 10, in: access, out: trunk}},
		{"beside a held guest", track{data: one, sinks: 1, out: func(c *PortConfig) { c.Policy = heldTo(b, stB) }}},
		{"mac", track{data: one, sinks: 1, in: policy(filter.MAC)}},
		{"mac+ip", track{data: one, sinks: 1, in: policy(filter.MACIP, "10.0.0.5", "fd00::5")}},
		{"to a guest with mac+ip", track{data: one, sinks: 1, in: func(c *PortConfig) { c.Role = Uplink }, out: policy(filter.MACIP, "10.0.0.5", "fd00::5")}},
		{"rates", track{data: one, sinks: 1, in: func(c *PortConfig) { c.RateFrom = shaping.FromCredit(1<<40, 1000) },
			out: func(c *PortConfig) { c.RateTo = shaping.FromCredit(1<<40, 1000) }}},
		{"flood-8 off", track{data: eight, sinks: 8}},
		{"flood-8 storm", track{data: eight, sinks: 8, in: func(c *PortConfig) { c.Storm = filter.MaxStormRate }}},
		{"storm, all dropped", track{data: eight, sinks: 8, in: func(c *PortConfig) { c.Storm = 1 }}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.run(b, func(w *worker) {
				b.ReportAllocs()
				batches := 0
				for b.Loop() {
					w.nanos += 10_000
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
