package vlan

import (
	"encoding/json"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustParse(t testing.TB, text string) Set {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAdmit(t *testing.T) {
	trunk, access, wide, none := mustParse(t, "10p/20/30u"), Access(10), Default(), Set{}
	for _, c := range []struct {
		name   string
		set    *Set
		tagged bool
		vid    uint16
		want   uint16
		ok     bool
	}{
		{"untagged", &trunk, false, 0, 10, true},
		{"untagged, whatever stands where the VID would", &trunk, false, 20, 10, true},
		{"priority tag", &trunk, true, 0, 10, true},
		{"tagged with the PVID", &trunk, true, 10, 10, true},
		{"tagged member", &trunk, true, 20, 20, true},
		{"tagged, though it leaves untagged", &trunk, true, 30, 30, true},
		{"not a member", &trunk, true, 40, 40, false},
		{"reserved", &trunk, true, 4095, 4095, false},
		{"access port, untagged", &access, false, 0, 10, true},
		{"access port, tagged with its VLAN", &access, true, 10, 10, true},
		{"access port, another VLAN", &access, true, 20, 20, false},
		{"default, untagged", &wide, false, 0, 1, true},
		{"default, first", &wide, true, 1, 1, true},
		{"default, last", &wide, true, 4094, 4094, true},
		{"default, reserved", &wide, true, 4095, 4095, false},
		{"no set, untagged", &none, false, 0, 0, false},
		{"no set, priority tag", &none, true, 0, 0, false},
		{"no set, tagged", &none, true, 1, 1, false},
	} {
		if got, ok := c.set.Admit(c.tagged, c.vid); got != c.want || ok != c.ok {
			t.Errorf("%s: VLAN %d, admitted %v; want %d, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestNoSuchVLANIsCarried(t *testing.T) {
	s := Default()
	for _, vid := range []uint16{0, 4095, 4096, 4097, 8191, 65535} {
		if s.Carries(vid) || s.Untagged(vid) {
			t.Errorf("VLAN %d: carried %v, untagged %v", vid, s.Carries(vid), s.Untagged(vid))
		}
	}
}

func TestDefaultAndAccessAreWhatTheySay(t *testing.T) {
	if got := Default(); got != mustParse(t, "1p/2-4094") || got.String() != "1p/2-4094" || got.PVID() != 1 {
		t.Errorf("the default is %v", got)
	}
	for _, vid := range []uint16{1, 10, 63, 64, 4094} {
		got := Access(vid)
		if all := slices.Collect(got.All()); !slices.Equal(all, []uint16{vid}) || got.PVID() != vid || !got.Untagged(vid) {
			t.Errorf("an access port of VLAN %d is %v", vid, got)
		}
	}
	for _, vid := range []uint16{0, 4095, 65535} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Access(%d) is a set", vid)
				}
			}()
			Access(vid)
		}()
	}
}

func TestSetIsComparable(t *testing.T) {
	a := mustParse(t, "10p/20-22/100+10x2u")
	for _, c := range []struct {
		in   string
		same bool
	}{
		{"100u/110u/120u/20/22/21/10p", true},
		{"10p/20-22/100+10x2", false},
		{"20p/10/21/22/100+10x2u", false},
		{"10p/20-23/100+10x2u", false},
	} {
		if b := mustParse(t, c.in); (a == b) != c.same {
			t.Errorf("%v and %v: equal %v, want %v", a, b, a == b, c.same)
		}
	}
	if (Set{}) == Default() || !(Set{}).IsZero() || Default().IsZero() || Access(1).IsZero() {
		t.Error("no set is some set")
	}
}

func TestString(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"10p", "10"},
		{"10", "10"},
		{"20/10p", "10p/20"},
		{"1-4/5p/6-9", "5p/1-4/6-9"},
		{"2/1p/3", "1p/2-3"},
		{"1p/2/3/4/5u", "1p/5u/2-4"},
		{"1p/2-3u", "1p/2-3u"},
		{"10p/100/110/120/130/140", "10p/100+10x4"},
		{"10p/100+10x4u", "10p/100+10x4u"},
		{"10p/100/200", "10p/100/200"},
		{"10p/4000+2x1", "10p/4000/4002"}, // two are plainer as a list, though longer
		{"10p/100+10x1", "10p/100/110"},
		{"10p/1/3/5", "10p/1/3/5"}, // 1+2x2 is no shorter
		{"10p/1/3/5/7", "10p/1+2x3"},
		{"10p/1u/3u/5u", "10p/1+2x2u"},
		{"10p/20/30/40/41/50/60/70", "10p/20/30/40-41/50+10x2"},
		{"1p/100/110/120/125/130/135/140", "1p/100+10x2/125+5x3"}, // from the first on
		{"1p/2/10+10x5", "1p/2/10+10x5"},
		{"1p/2+2x2046", "1p/2+2x2046"},
		{"1p/3+2x2045/2+2x2046u", "1p/2+2x2046u/3+2x2045"},
		{"4094p/1-4093", "4094p/1-4093"},
	} {
		if got := mustParse(t, c.in).String(); got != c.want {
			t.Errorf("%s is written %s, want %s", c.in, got, c.want)
		}
	}
	if got := (Set{}).String(); got != "" {
		t.Errorf("no set is written %q", got)
	}
}

func TestAllAscendsAndEnds(t *testing.T) {
	s := mustParse(t, "64p/4094/63u/1/2000-2002")
	want := []uint16{1, 63, 64, 2000, 2001, 2002, 4094}
	if got := slices.Collect(s.All()); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	var got []uint16
	for vid := range s.All() {
		if got = append(got, vid); len(got) == 2 {
			break
		}
	}
	if !slices.Equal(got, want[:2]) {
		t.Errorf("the first two are %v", got)
	}
}

func TestText(t *testing.T) {
	type port struct {
		VLAN Set `json:"vlan"`
	}
	for _, c := range []struct {
		set  Set
		json string
	}{
		{Access(10), `{"vlan":"10"}`},
		{mustParse(t, "10p/20"), `{"vlan":"10p/20"}`},
		{Set{}, `{"vlan":""}`},
	} {
		b, err := json.Marshal(port{c.set})
		if err != nil || string(b) != c.json {
			t.Errorf("%v in JSON is %s, %v; want %s", c.set, b, err, c.json)
		}
		back := port{Default()}
		if err := json.Unmarshal(b, &back); err != nil || back.VLAN != c.set {
			t.Errorf("%s reads as %v, %v; want %v", b, back.VLAN, err, c.set)
		}
	}
	s := Access(7)
	if err := s.UnmarshalText([]byte("10p/20p")); err == nil || s != Access(7) {
		t.Errorf("a text that is no set: %v, and the value became %v", err, s)
	}
}
