package vlan

import "testing"

func TestNoAllocation(t *testing.T) {
	s := mustParse(t, "10p/20/100+10x4u")
	vid, sum := uint16(0), 0
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"Admit", func() {
			if v, ok := s.Admit(true, vid&0xfff); ok {
				sum += int(v)
			}
		}},
		{"Carries and Untagged", func() {
			if s.Carries(vid) && !s.Untagged(vid) {
				sum++
			}
		}},
		{"PVID", func() { sum += int(s.PVID()) }},
		{"==", func() {
			if s == Default() {
				sum++
			}
		}},
		{"Access", func() {
			if a := Access(vid&7 + 1); a.PVID() == 1 {
				sum++
			}
		}},
	} {
		if n := testing.AllocsPerRun(5000, func() { vid++; c.f() }); n != 0 {
			t.Errorf("%s allocates %v times", c.name, n)
		}
	}
}

// The frames of a benchmark are of many VLANs in no order.
func benchVID(i int) uint16 { return uint16(i*1677) & 0xfff }

func BenchmarkAdmit(b *testing.B) {
	s := Default()
	b.ReportAllocs()
	admitted, i := 0, 0
	for b.Loop() {
		if _, ok := s.Admit(i&1 != 0, benchVID(i)); ok {
			admitted++
		}
		i++
	}
	if admitted == 0 {
		b.Fatal("no frame was admitted")
	}
}

func BenchmarkCarries(b *testing.B) {
	s := mustParse(b, "1p/2+2x2046")
	b.ReportAllocs()
	carried, i := 0, 0
	for b.Loop() {
		if s.Carries(benchVID(i)) {
			carried++
		}
		i++
	}
	if carried == 0 {
		b.Fatal("no VLAN is carried")
	}
}

// BenchmarkEgress is both questions about a frame that leaves.
func BenchmarkEgress(b *testing.B) {
	s := mustParse(b, "1p/2+2x2046")
	b.ReportAllocs()
	tagged, i := 0, 0
	for b.Loop() {
		if vid := benchVID(i); s.Carries(vid) && !s.Untagged(vid) {
			tagged++
		}
		i++
	}
	if tagged == 0 {
		b.Fatal("no frame leaves tagged")
	}
}

func BenchmarkParse(b *testing.B) {
	for _, text := range []string{"10", "10p/20", "1p/2-4094", "10p/100+10x4"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkString(b *testing.B) {
	for _, text := range []string{"10", "1p/2-4094"} {
		b.Run(text, func(b *testing.B) {
			s := mustParse(b, text)
			b.ReportAllocs()
			for b.Loop() {
				if s.String() != text {
					b.Fatal(s)
				}
			}
		})
	}
}

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		if s := Default(); s.PVID() != 1 {
			b.Fatal(s)
		}
	}
}
