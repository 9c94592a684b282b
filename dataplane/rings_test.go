package dataplane

import "testing"

// second is one tick as a port saw it.
type second struct {
	lost, read uint64 // in this second
	want       verdict
}

func TestRingVerdicts(t *testing.T) {
	busy, still := second{0, 5000, keep}, second{0, quiet, keep}
	minute := func(last verdict) (s []second) {
		for range 59 {
			s = append(s, still)
		}
		return append(s, second{0, 0, last})
	}
	for _, c := range []struct {
		name    string
		short   int
		seconds []second
	}{
		{"busy without loss", 0, []second{busy, busy, busy}},
		{"loss", 0, []second{busy, {1, 5000, grow}}},
		{"loss of all", 0, []second{{1, 0, renew}}},
		{"loss of all in a long ring", 384, []second{{1, 0, renew}}},
		{"loss in a long ring", 384, []second{{7, 5000, keep}}},
		{"a quiet minute", 384, minute(shrink)},
		{"a quiet minute of a short ring", 0, minute(keep)},
		{"a minute that was not all quiet", 384, append([]second{still, busy}, minute(shrink)...)},
	} {
		r := ringWatch{short: c.short}
		var lost, read uint64
		for i, s := range c.seconds {
			lost, read = lost+s.lost, read+s.read
			if got := r.judge(lost, read); got != s.want {
				t.Errorf("%s: second %d: verdict %d, want %d", c.name, i, got, s.want)
			}
		}
	}
}
