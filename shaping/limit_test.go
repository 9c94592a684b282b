package shaping

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRatesAsXlReadsThem(t *testing.T) {
	for _, c := range []struct {
		in           string
		rate, credit uint64
		usec         int64
		canonical    string
	}{
		{"100Mb/s@20ms", 12_500_000, 250_000, 20_000, "100Mb/s@20ms"},
		{"100Mb/s", 12_500_000, 625_000, 50_000, "100Mb/s"},
		{"1MB/s@20ms", 1_000_000, 20_000, 20_000, "8Mb/s@20ms"},
		{"10MB/s", 10_000_000, 500_000, 50_000, "80Mb/s"},
		{"2000000B/s@50ms", 2_000_000, 100_000, 50_000, "16Mb/s"},
		{"2KB/s@50ms", 2_000, 100, 50_000, "16Kb/s"},
		{"1Gb/s@1s", 125_000_000, 125_000_000, 1_000_000, "1Gb/s@1s"},
		{"1Gb/s@1", 125_000_000, 125_000_000, 1_000_000, "1Gb/s@1s"},
		{"1Gb/s@20m", 125_000_000, 2_500_000, 20_000, "1Gb/s@20ms"},
		{"1Gb/s@20u", 125_000_000, 2_500, 20, "1Gb/s@20us"},
		{"1Gb/s@20us", 125_000_000, 2_500, 20, "1Gb/s@20us"},
		{"1Gb/s@50000us", 125_000_000, 6_250_000, 50_000, "1Gb/s"},
		{"1B/s@1s", 1, 1, 1_000_000, "8b/s@1s"},
		{"15b/s@1s", 1, 1, 1_000_000, "8b/s@1s"},
		{"33B/s", 33, 1, 50_000, "264b/s"},
		{"100Gb/s", 12_500_000_000, 625_000_000, 50_000, "100Gb/s"},
		{"4294967295B/s", 4_294_967_295, 214_748_364, 50_000, "4294967295B/s"},
		{"4294967295GB/s@4us", 4_294_967_295_000_000_000, 17_179_869_180_000, 4, "4294967295GB/s@4us"},
		{"1Mb/s@4294967295us", 125_000, 536_870_911, 4_294_967_295, "1Mb/s@4294967295us"},
		{"none", 0, 0, 0, "none"},
	} {
		l, err := ParseLimit(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if l.BytesPerSecond() != c.rate || l.Credit() != c.credit || l.Interval() != time.Duration(c.usec)*time.Microsecond {
			t.Errorf("%s is %d B/s, %d bytes each %v; want %d, %d, %d µs", c.in,
				l.BytesPerSecond(), l.Credit(), l.Interval(), c.rate, c.credit, c.usec)
		}
		if l.String() != c.canonical {
			t.Errorf("%s is shown as %s, want %s", c.in, l, c.canonical)
		}
	}
}

func TestWhatIsNotARateSaysWhereAndWhatWasMeant(t *testing.T) {
	for _, c := range []struct {
		in   string
		at   int
		msg  string // part of it
		hint string
	}{
		{"100Mbps", 6, `want /s, not "ps"`, "write 100Mb/s"},
		{"100MBps", 6, `want /s, not "ps"`, "write 100MB/s"},
		{"100mb/s", 4, `not "mb/s"`, "write 100Mb/s"},
		{"100mbit", 4, `not "mbit"`, "write 100Mb/s"},
		{"100Mbit/s", 6, `want /s, not "it/s"`, "write 100Mb/s"},
		{"100M", 5, "not the end", "write 100Mb/s"},
		{"100", 4, "not the end", example},
		{"100MB", 6, "want /s, not the end", "write 100MB/s"},
		{"100kB/s@20ms", 4, `not "kB/s@20ms"`, "write 100KB/s@20ms"},
		{"1.5MB/s", 2, "whole number", "write 1500KB/s"},
		{"2.5Gb/s@10ms", 2, "whole number", "write 2500Mb/s@10ms"},
		{"0.0001Kb/s", 2, "whole number", example},
		{" 100 Mb/s", 1, "want the rate's number", "write 100Mb/s"},
		{"100Mb/s ", 8, `not " "`, "write 100Mb/s"},
		{"100Mb/sec", 8, `not "ec"`, "write 100Mb/s"},
		{"@20ms", 1, `number, not "@20ms"`, example},
		{"", 1, "it is empty", example},
		{"Mb/s", 1, "want the rate's number", example},
		{"-1Mb/s", 1, "want the rate's number", example},
		{"0Mb/s", 1, "the rate is 0", `"none" is no limit`},
		{"010Mb/s", 1, "xl reads as octal", "write 10Mb/s"},
		{"0x10Mb/s", 1, "the rate is 0", `"none" is no limit`},
		{"5000000000b/s", 1, "at most 4294967295", "write 5Gb/s"},
		{"100Mb/s@", 9, "want the interval's number, not the end", example},
		{"100Mb/s@0", 9, "the interval is 0", example},
		{"100Mb/s@020ms", 9, "xl reads as octal", "write 100Mb/s@20ms"},
		{"100Mb/s@20MS", 11, `want s, ms or us, not "MS"`, "as in 20ms; without a unit it is seconds"},
		{"100Mb/s@2.5ms", 10, "the interval has to be a whole number", example},
		{"100Mb/s@20ms@3", 13, `want s, ms or us, not "@3"`, "as in 20ms; without a unit it is seconds"},
		{"100Mb/s@5000", 9, "too long", "as in 20ms; without a unit it is seconds"},
		{"4294967295GB/s", 1, "does not fit 64 bits", "a shorter interval"},
		{"7b/s", 1, "less than a byte a second", "at least 8b/s@1s"},
		{"8b/s", 1, "less than a byte in its interval of 50ms", "a longer interval: 8b/s@1s"},
		{"1KB/s@10us", 1, "less than a byte in its interval of 10us", "a longer interval: 8Kb/s@1ms"},
		{"none ", 1, "want the rate's number", example},
	} {
		l, err := ParseLimit(c.in)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q is %v, %v; want an *Error", c.in, l, err)
			continue
		}
		if e.Text != c.in || e.Position != c.at || !strings.Contains(e.Msg, c.msg) || e.Hint != c.hint {
			t.Errorf("%q: at %d: %s (hint: %s)\nwant at %d: …%s… (hint: %s)", c.in, e.Position, e.Msg, e.Hint, c.at, c.msg, c.hint)
		}
	}
}

func TestHintsAreRates(t *testing.T) {
	for _, in := range []string{"100Mbps", "1.5MB/s", "1KB/s@10us", "5000000000b/s", "8b/s"} {
		_, err := ParseLimit(in)
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%q is a rate", in)
		}
		words := strings.Fields(e.Hint)
		if _, err := ParseLimit(words[len(words)-1]); err != nil {
			t.Errorf("%q: the hint %q: %v", in, e.Hint, err)
		}
	}
}

func TestLimitAsText(t *testing.T) {
	for in, want := range map[string]string{"": "", "none": "", "1MB/s@20ms": "8Mb/s@20ms"} {
		var l Limit
		if err := l.UnmarshalText([]byte(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if b, err := l.MarshalText(); err != nil || string(b) != want {
			t.Errorf("%q becomes %q, %v; want %q", in, b, err, want)
		}
	}
	l := mustParse("1Mb/s")
	if err := l.UnmarshalText([]byte("1Mbps")); err == nil || l != mustParse("1Mb/s") {
		t.Errorf("a wrong text leaves %v, %v", l, err)
	}
}

// xl is libxlu_vif.c's arithmetic, for an n without leading zeros.
func xl(n uint32, scale uint64, isBits bool, usec uint32) (credit uint64, ok bool) {
	rate := uint64(n) * scale
	if isBits {
		rate /= 8
	}
	if rate > math.MaxUint64/uint64(usec) {
		return 0, false
	}
	return rate * uint64(usec) / 1_000_000, true
}

// TestCreditOfXenstore: whatever xl writes for a rate comes back, and in words
// that xl would turn into the same.
func TestCreditOfXenstore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint32Range(1, math.MaxUint32).Draw(t, "n")
		scale := rapid.SampledFrom([]uint64{1, 1e3, 1e6, 1e9}).Draw(t, "scale")
		usec := rapid.Uint32Range(1, math.MaxUint32).Draw(t, "usec")
		credit, ok := xl(n, scale, rapid.Bool().Draw(t, "bits"), usec)
		if !ok || credit == 0 || credit > 1<<44 {
			t.Skip("not for xl")
		}
		l := FromCredit(credit, usec)
		if l.Credit() != credit || l.Interval() != time.Duration(usec)*time.Microsecond {
			t.Fatalf("%d,%d becomes %v: %d,%v", credit, usec, l, l.Credit(), l.Interval())
		}
		if back, err := ParseLimit(l.String()); err != nil || back != l {
			t.Fatalf("%v comes back as %v, %v", l, back, err)
		}
	})
	for _, c := range []struct {
		credit uint64
		usec   uint32
		want   string
	}{
		{250_000, 20_000, "100Mb/s@20ms"},
		{625_000, 50_000, "100Mb/s"},
		{1, 3, "2666672b/s@3us"},
		{0, 50_000, "none"},
		{1, 0, "none"},
		{math.MaxUint64, 1, "4294967295GB/s@1us"},
	} {
		if l := FromCredit(c.credit, c.usec); l.String() != c.want {
			t.Errorf("%d,%d is %v, want %s", c.credit, c.usec, l, c.want)
		}
	}
}

func FuzzParseLimit(f *testing.F) {
	for _, s := range []string{"100Mb/s@20ms", "none", "1B/s@1", "100Mbps", "1.5MB/s", "4294967295GB/s@4us",
		"@20ms", "010Mb/s", "1e9Mb/s", "100Mb/s@4294967296us", "\xff", "1/2Mb/s", "..b/s", "1,5,5Kb", "99999999999999999999K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLimit(s)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Text != s || e.Position < 1 || e.Position > len(s)+1 || e.Msg == "" || e.Hint == "" {
				t.Fatalf("%q: %#v", s, err)
			}
			if write, ok := strings.CutPrefix(e.Hint, "write "); ok {
				if _, err := ParseLimit(write); err != nil {
					t.Fatalf("%q: the hint %q is no rate: %v", s, write, err)
				}
			}
			return
		}
		if back, err := ParseLimit(l.String()); err != nil || back != l {
			t.Fatalf("%q is %v, which is %v, %v", s, l, back, err)
		}
		if !l.IsZero() && l.Credit() == 0 {
			t.Fatalf("%q has no credit", s)
		}
	})
}

func mustParse(s string) Limit {
	l, err := ParseLimit(s)
	if err != nil {
		panic(err)
	}
	return l
}
