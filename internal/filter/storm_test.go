package filter

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestParseStormRate(t *testing.T) {
	for _, c := range []struct {
		text string
		want StormRate
	}{{"1pps", 1}, {"2000pps", 2000}, {"1000000000pps", MaxStormRate}, {"none", 0}} {
		var r StormRate
		if err := r.UnmarshalText([]byte(c.text)); err != nil || r != c.want || r.String() != c.text {
			t.Errorf("%q is %v, %v", c.text, r, err)
		}
		if b, err := r.MarshalText(); err != nil || r != 0 && string(b) != c.text || r == 0 && len(b) != 0 {
			t.Errorf("%v is written %q, %v", r, b, err)
		}
	}
	r := StormRate(7)
	if err := r.UnmarshalText(nil); err != nil || r != 0 {
		t.Errorf("\"\" is %v, %v", r, err)
	}
}

func TestBadStormRates(t *testing.T) {
	for _, c := range []struct {
		text, want, hint string
	}{
		{"", `storm "": character 1: want a number`, `frames a second, as in "2000pps"`},
		{"pps", `storm "pps": character 1: want a number`, `frames a second, as in "2000pps"`},
		{"-1pps", `storm "-1pps": character 1: want a number`, `frames a second, as in "2000pps"`},
		{"0pps", `storm "0pps": character 1: a rate of 0 lets nothing through`, `"none" is no limit; ARP needs some broadcasts`},
		{"000", `storm "000": character 1: a rate of 0 lets nothing through`, `"none" is no limit; ARP needs some broadcasts`},
		{"0200pps", `storm "0200pps": character 1: a number has no leading zeros`, `write "200pps"`},
		{"2000", `storm "2000": character 5: the unit is missing`, `write "2000pps"`},
		{"2000 pps", `storm "2000 pps": character 5: not the unit`, `frames a second, as in "2000pps"`},
		{"2kpps", `storm "2kpps": character 2: not the unit`, `frames a second, as in "2000pps"`},
		{"20Mb/s", `storm "20Mb/s": character 3: not the unit`, `frames a second, as in "2000pps"`},
		{"2000pps ", `storm "2000pps ": character 5: not the unit`, `frames a second, as in "2000pps"`},
		{"1000000001pps", `storm "1000000001pps": character 1: too many frames`, "at most 1000000000pps"},
		{"99999999999999999999pps", `storm "99999999999999999999pps": character 1: too many frames`, "at most 1000000000pps"},
		{"9999999999999999999999999999999999pps", `storm "99999999999999999999999999999999"…: character 1: too many frames`, "at most 1000000000pps"},
	} {
		_, err := ParseStormRate(c.text)
		if e, ok := err.(*Error); !ok || e.Error() != c.want || e.Hint != c.hint {
			t.Errorf("%q: %+v; want %s (%s)", c.text, err, c.want, c.hint)
		}
		r := StormRate(7)
		if err := r.UnmarshalText([]byte(c.text)); c.text != "" && (err == nil || r != 7) {
			t.Errorf("%q: %v, %v", c.text, r, err)
		}
	}
}

func FuzzParseStormRate(f *testing.F) {
	for _, s := range []string{"2000pps", "none", "0pps", "01pps", "2kpps", "10000000000pps"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseStormRate(s)
		if err != nil {
			e, ok := err.(*Error)
			if !ok || e.Pos < 1 || e.Pos > len(s)+1 || e.Hint == "" || e.Error() == "" {
				t.Fatalf("%q: %#v", s, err)
			}
			return
		}
		if r > MaxStormRate || r.String() != s {
			t.Fatalf("%q is read as %v", s, r)
		}
	})
}

func TestStormIsHeldToItsRate(t *testing.T) {
	for _, c := range []struct {
		rate  StormRate
		burst int
	}{{1, 8}, {100, 8}, {160, 8}, {161, 8}, {2000, 100}, {1_000_000, 50_000}} {
		s := NewStorm(c.rate)
		passed := 0
		for s.Allow(Broadcast, 1, 0) {
			passed++
		}
		if passed != c.burst {
			t.Errorf("%v: %d at once, want %d", c.rate, passed, c.burst)
		}
		// Ten times the rate for two seconds.
		passed = 0
		step := max(100_000_000/int64(c.rate), 1)
		for now := int64(0); now <= 2_000_000_000; now += step {
			if s.Allow(Broadcast, 1, now) {
				passed++
			}
		}
		if passed != 2*int(c.rate) {
			t.Errorf("%v: %d in two seconds, want %d", c.rate, passed, 2*c.rate)
		}
	}
}

func TestStormClassesAreApart(t *testing.T) {
	s := NewStorm(100)
	for s.Allow(Broadcast, 1, 5) {
	}
	for _, c := range []Class{Multicast, UnknownUnicast} {
		for i := range 8 {
			if !s.Allow(c, 1, 5) {
				t.Errorf("class %d: frame %d is held to the broadcasts' limit", c, i)
			}
		}
		if s.Allow(c, 1, 5) {
			t.Errorf("class %d has no limit", c)
		}
	}
}

func TestStormCountsSegments(t *testing.T) {
	s := NewStorm(100)
	if !s.Allow(Multicast, 5, 0) || s.Allow(Multicast, 4, 0) || !s.Allow(Multicast, 3, 0) {
		t.Error("segments of a super-frame are not counted as frames")
	}
	s = NewStorm(100)
	if !s.Allow(Multicast, 45, 0) {
		t.Error("a super-frame larger than the burst never passes")
	}
	if s.Allow(Multicast, 1, 370_000_000) || !s.Allow(Multicast, 1, 380_000_000) {
		t.Error("its debt of 37 frames is not paid off at 100 a second")
	}
}

func TestStormRoundsNothingUp(t *testing.T) {
	s := NewStorm(3)
	s.Allow(Broadcast, 8, 0)
	// Eight frames at three a second come after 2666666666.67 ns.
	if s.Allow(Broadcast, 8, 2_666_666_666) || !s.Allow(Broadcast, 8, 2_666_666_667) {
		t.Error("the bucket is not full when it ought to be")
	}
}

func TestNoStormControl(t *testing.T) {
	var s Storm
	for range 1000 {
		if !s.Allow(Broadcast, 65535, 0) || !NewStorm(0).Allow(Multicast, 65535, 0) {
			t.Fatal("no limit held something back")
		}
	}
	if NewStorm(5).Rate() != 5 || s.Rate() != 0 {
		t.Error("Rate is not what it was made with")
	}
}

func TestStormEqualsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.OneOf(rapid.Int64Range(1, 5000), rapid.Int64Range(1, int64(MaxStormRate))).Draw(t, "rate")
		s := NewStorm(StormRate(rate))
		// The model keeps frames as exact fractions and recalculates from when the
		// bucket was full last.
		burst := big.NewRat(rate*50, 1000)
		if burst.Cmp(big.NewRat(8, 1)) < 0 {
			burst.SetInt64(8)
		}
		level, last := new(big.Rat).Set(burst), int64(0)
		now := rapid.Int64Range(0, 1<<60).Draw(t, "start")
		last = now
		for range rapid.IntRange(1, 60).Draw(t, "frames") {
			now += rapid.OneOf(rapid.Int64Range(0, 1000), rapid.Int64Range(-5, 60_000_000), rapid.Int64Range(0, 1<<50)).Draw(t, "wait")
			if now > last {
				level.Add(level, new(big.Rat).Mul(big.NewRat(now-last, 1_000_000_000), big.NewRat(rate, 1)))
				last = now
			}
			if level.Cmp(burst) > 0 {
				level.Set(burst)
			}
			n := rapid.OneOf(rapid.Just(1), rapid.IntRange(1, 70), rapid.IntRange(1, 65535)).Draw(t, "segments")
			need := big.NewRat(int64(n), 1)
			want := level.Cmp(need) >= 0 || level.Cmp(burst) == 0
			if want {
				level.Sub(level, need)
			}
			if got := s.Allow(UnknownUnicast, n, now); got != want {
				t.Fatalf("%d frames at %d: %v, want %v (the bucket has %v of %v)", n, now, got, want, level, burst)
			}
		}
	})
}
