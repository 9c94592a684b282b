package frame

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseMAC(t *testing.T) {
	for _, c := range []struct {
		in   string
		want MAC
		ok   bool
	}{
		{"00:16:3e:11:22:33", MAC{0x00, 0x16, 0x3e, 0x11, 0x22, 0x33}, true},
		{"00-16-3e-11-22-33", MAC{0x00, 0x16, 0x3e, 0x11, 0x22, 0x33}, true},
		{"AB:CD:EF:ab:cd:ef", MAC{0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef}, true},
		{"00:00:00:00:00:00", MAC{}, true},
		{"ff:ff:ff:ff:ff:ff", Broadcast, true},
		{"", MAC{}, false},
		{"00:16:3e:11:22:3", MAC{}, false},
		{"00:16:3e:11:22:333", MAC{}, false},
		{"00:16:3e:11:22:33 ", MAC{}, false},
		{"00:16:3e:11:22-33", MAC{}, false}, // one kind of separator
		{"00.16.3e.11.22.33", MAC{}, false},
		{"0016.3e11.2233...", MAC{}, false},
		{"00163e112233", MAC{}, false},
		{"0g:16:3e:11:22:33", MAC{}, false},
		{"00:16:3e:11:22:3x", MAC{}, false},
		{"+0:16:3e:11:22:33", MAC{}, false},
		{"00:16:3e:11:22:\xff\xff", MAC{}, false},
	} {
		got, err := ParseMAC(c.in)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("ParseMAC(%q) = %v, %v; want %v, ok %v", c.in, got, err, c.want, c.ok)
		}
		if err != nil && !strings.Contains(err.Error(), "six hexadecimal octets") {
			t.Errorf("ParseMAC(%q): %q does not say what is wanted", c.in, err)
		}
	}
}

func TestMACText(t *testing.T) {
	type station struct{ MAC MAC }
	for _, c := range []struct {
		mac  MAC
		json string
	}{
		{MAC{0x00, 0x16, 0x3e, 0xaa, 0xbb, 0xcc}, `{"MAC":"00:16:3e:aa:bb:cc"}`},
		{MAC{}, `{"MAC":""}`},
	} {
		b, err := json.Marshal(station{c.mac})
		if err != nil || string(b) != c.json {
			t.Errorf("%v in JSON is %s, %v; want %s", c.mac, b, err, c.json)
		}
		back := station{Broadcast}
		if err := json.Unmarshal(b, &back); err != nil || back.MAC != c.mac {
			t.Errorf("%s reads as %v, %v; want %v", b, back.MAC, err, c.mac)
		}
	}
	m := Broadcast
	if err := m.UnmarshalText([]byte("nonsense")); err == nil || m != Broadcast {
		t.Errorf("a text that is no address: %v, and the value became %v", err, m)
	}
}

func TestMACKinds(t *testing.T) {
	for _, c := range []struct {
		mac                       string
		zero, multicast, reserved bool
	}{
		{"00:00:00:00:00:00", true, false, false},
		{"00:16:3e:00:00:01", false, false, false},
		{"01:00:5e:00:00:01", false, true, false},
		{"33:33:00:00:00:01", false, true, false},
		{"ff:ff:ff:ff:ff:ff", false, true, false},
		{"01:80:c2:00:00:00", false, true, false}, // BPDU
		{"01:80:c2:00:00:01", false, true, true},  // PAUSE
		{"01:80:c2:00:00:0e", false, true, true},  // LLDP
		{"01:80:c2:00:00:0f", false, true, true},
		{"01:80:c2:00:00:10", false, true, false},
		{"01:80:c2:00:01:01", false, true, false},
		{"01:80:c2:01:00:01", false, true, false},
		{"00:80:c2:00:00:01", false, false, false},
	} {
		m, err := ParseMAC(c.mac)
		if err != nil {
			t.Fatal(err)
		}
		if m.IsZero() != c.zero || m.IsMulticast() != c.multicast || m.IsReserved() != c.reserved {
			t.Errorf("%s: zero %v multicast %v reserved %v; want %v %v %v", m, m.IsZero(), m.IsMulticast(), m.IsReserved(),
				c.zero, c.multicast, c.reserved)
		}
	}
}

func FuzzParseMAC(f *testing.F) {
	f.Add("00:16:3e:11:22:33")
	f.Add("FF-ff-FF-ff-FF-ff")
	f.Add("::::::::::::::::::")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMAC(s)
		if err != nil {
			if m != (MAC{}) {
				t.Errorf("ParseMAC(%q) failed and returned %v", s, m)
			}
			return
		}
		if want := strings.ToLower(strings.ReplaceAll(s, "-", ":")); m.String() != want {
			t.Errorf("ParseMAC(%q) prints as %s", s, m)
		}
		text, err := m.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back MAC
		if err := back.UnmarshalText(text); err != nil || back != m {
			t.Errorf("%s through text is %v, %v", m, back, err)
		}
	})
}
