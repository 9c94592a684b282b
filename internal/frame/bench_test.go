package frame

import "testing"

func TestNoAllocation(t *testing.T) {
	plain := slot(unhex(t, noVNet), append(unhex(t, macs+"0800"+ip4+tcp), make([]byte, 1460)...))
	gso := slot(unhex(t, "01 01 0000 e803 2200 1000"), append(unhex(t, macs+"0800"+ip4+tcp), make([]byte, 64000)...))
	six := slot(unhex(t, noVNet), append(unhex(t, macs+"86dd"+ip6+tcp), make([]byte, 1440)...))
	tci := uint16(0)
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"Parse", func() { plain.Parse() }},
		{"Parse of GSO", func() { gso.Parse() }},
		{"Tagging", func() { tci++; plain.Tagging(tci) }},
		{"IPAddresses of IPv4", func() { IPAddresses(plain.Data()) }},
		{"IPAddresses of IPv6", func() { IPAddresses(six.Data()) }},
	} {
		if n := testing.AllocsPerRun(100, c.f); n != 0 {
			t.Errorf("%s allocates %v times", c.name, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, vnet, header string }{
		{"60", noVNet, macs + "0800" + ip4 + tcp + "000000000000"},
		{"GSO", "01 01 0000 a805 2200 1000", macs + "0800" + ip4 + tcp},
	} {
		b.Run(c.name, func(b *testing.B) {
			data := unhex(b, c.header)
			if c.name == "GSO" {
				data = append(data, make([]byte, 64000)...)
			}
			f := slot(unhex(b, c.vnet), data)
			b.ReportAllocs()
			for b.Loop() {
				if f.Parse() != Pass {
					b.Fatal("dropped")
				}
			}
		})
	}
}

func BenchmarkTagging(b *testing.B) {
	f := slot(unhex(b, noVNet), unhex(b, arp))
	b.ReportAllocs()
	tci := uint16(0)
	for b.Loop() {
		tci++ // else it is the same bytes
		f.Tagging(tci)
	}
}

func BenchmarkIPAddresses(b *testing.B) {
	d := unhex(b, macs+"0800"+ip4+tcp)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := IPAddresses(d); !ok {
			b.Fatal("not IP")
		}
	}
}

func BenchmarkSegment(b *testing.B) {
	f := slot(unhex(b, "01 01 0000 a805 2200 1000"), append(unhex(b, macs+"0800"+ip4+tcp), make([]byte, 64000)...))
	f.Parse()
	scratch := make([]byte, 1<<16)
	b.SetBytes(int64(f.Bytes))
	b.ReportAllocs()
	for b.Loop() {
		f.Segment(false, 0, scratch, func([]byte) {})
	}
}
