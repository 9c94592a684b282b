package nat

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
)

// play sends segments through a session that a guest opens, one a word: > from
// the guest or < from the remote, then flags (S, A, F, R), then, after @, how far
// the sequence number is from what the other end expects. Both ends have a window
// of 1000, and acknowledge all. It returns the session's state.
func play(t *testing.T, n *Table, script string, now int64) string {
	t.Helper()
	g, r, e := end{guestA, 40000}, end{remote, 443}, end{}
	for _, w := range strings.Fields(script) {
		s := segment{seq: 5000, ack: 7000, window: 1000}
		if w[0] == '<' {
			s.seq, s.ack = 7000, 5000
		}
		letters, offset, _ := strings.Cut(w[1:], "@")
		for i, f := range []byte{fin, syn, rst, ack} {
			if strings.ContainsRune(letters, rune("FSRA"[i])) {
				s.flags |= f
			}
		}
		if offset != "" {
			var by int32
			if _, err := fmt.Sscan(offset, &by); err != nil {
				t.Fatal(err)
			}
			s.seq += uint32(by)
		}
		if w[0] == '>' {
			e, _ = outbound(t, n, numberA, s.build(g, r), Outside, now)
		} else {
			inbound(t, n, s.build(r, e), now)
		}
	}
	l := n.Sessions(now)
	if len(l) != 1 {
		t.Fatalf("%s: %v", script, l)
	}
	return l[0].State
}

func TestTCPStates(t *testing.T) {
	const established = ">S <SA >A "
	for _, c := range []struct{ script, state string }{
		{">S", "opening"},
		{">S >S", "opening"},
		{">S <RA", "opening"},
		{">S <A", "opening"},
		{">S <S", "established"}, // both open at a time
		{">S <SA", "established"},
		{established, "established"},
		{established + ">S", "established"},
		{established + ">FA", "half-closed by guest"},
		{established + ">FA >FA", "half-closed by guest"},
		{established + "<FA", "half-closed by remote"},
		{established + ">FA <FA", "closed"},
		{established + "<FA >FA", "closed"},
		{established + "<FA >FA <A >A", "closed"},
		{established + "<FA >FA >S", "opening"},
		{established + "<FA >FA <S", "closed"},
		{established + ">R", "reset by guest"},
		{established + "<R", "reset by remote"},
		{established + "<RA >A", "reset by remote"}, // the guest's last, on its way
		{established + "<R >S <SA", "established"},
		{established + "<FA >R", "reset by guest"},

		// Forged. A window is 64 KiB and some at least.
		{established + "<R@100000", "established"},
		{established + "<R@-100000", "established"},
		{established + "<R@2000000000", "established"},
		{established + ">R@2000000000", "established"},
		{established + "<FA@2000000000 >FA", "half-closed by guest"},
		{established + "<R@10 <A", "established"}, // guessed, but the remote lives
		{established + "<R@10 <R@10", "reset by remote"},
		{established + "<R@10 <A >FA <FA", "closed"},
		{established + "<S@2000000000 <R@2000000000", "established"},
		{established + "<A@2000000000 <R@2000000000", "established"},
	} {
		if got := play(t, newTable(t, nil), c.script, at); got != c.state {
			t.Errorf("%s: %s, want %s", c.script, got, c.state)
		}
	}
}

func TestResetSessionLastsFourMinutes(t *testing.T) {
	n := newTable(t, nil)
	play(t, n, ">S <SA >A <R", at)
	if n.Expire(at+240) != 0 || n.Expire(at+241) != 1 {
		t.Error("want 240 s")
	}
}

func TestGenuineResetIsBelievedAfterMuchData(t *testing.T) {
	n, g, r := newTable(t, nil), end{guestA, 40000}, end{remote, 443}
	scale := []layers.TCPOption{{OptionType: 1}, {OptionType: 3, OptionLength: 3, OptionData: []byte{7}}}
	e, _ := outbound(t, n, numberA, segment{flags: syn, seq: 1, options: scale}.build(g, r), Outside, at)
	inbound(t, n, segment{flags: syn | ack, seq: 0xffff0000, ack: 2, options: scale}.build(r, e), at)
	seq := uint32(0xffff0000) // wraps soon
	for range 5000 {
		seq += 1448
		inbound(t, n, segment{flags: ack, seq: seq - 1448, ack: 2, window: 500, length: 1448}.build(r, e), at)
		outbound(t, n, numberA, segment{flags: ack, seq: 2, ack: seq, window: 2000}.build(g, r), Outside, at)
	}
	// The window is 2000 << 7 bytes; a reset may come at its end, and not far behind.
	inbound(t, n, segment{flags: rst, seq: seq + 2000<<7 + 1<<18}.build(r, e), at)
	if s := n.Sessions(at)[0].State; s != "established" {
		t.Errorf("reset beyond the window: %s", s)
	}
	inbound(t, n, segment{flags: rst, seq: seq + 2000<<7}.build(r, e), at)
	if s := n.Sessions(at)[0].State; s != "reset by remote" {
		t.Errorf("reset at the window's end: %s", s)
	}
}

func TestStrangersSegmentsOpenNothing(t *testing.T) {
	n := newTable(t, nil)
	forwardTo(t, n, "tcp/80", end{server, 80})
	r := end{remote, 5000}
	for _, flags := range []byte{0, ack, fin, rst, rst | ack, fin | ack, syn | ack, syn | rst, syn | fin} {
		raw := segment{flags: flags}.build(r, end{external, 80})
		dropped(t, fmt.Sprintf("flags %#x", flags), func(raw []byte) Verdict { return n.Inbound(raw, at) }, raw, frame.NATNoSession)
	}
	if n.Len() != 0 {
		t.Errorf("%v", n.Sessions(at))
	}
}

func TestWindowScaleIsReadFromAnyOptions(t *testing.T) {
	header := make([]byte, 60)
	for _, c := range []struct {
		options string
		want    track
	}{
		{"", 0},
		{"\x03\x03\x07", 7},
		{"\x01\x01\x03\x03\x07\x00", 7},
		{"\x02\x04\x05\xb4\x03\x03\xff", 14},
		{"\x00\x03\x03\x07", 0},
		{"\x03\x02\x07", 0},
		{"\x05", 0},
		{"\x05\x00\x03\x03\x07", 0},
		{"\x05\x40\x03\x03\x07", 0},
	} {
		clear(header[tcpLen:])
		copy(header[tcpLen:], c.options)
		header[12] = byte((tcpLen+len(c.options)+3)/4) << 4
		if got := windowScale(header); got != c.want {
			t.Errorf("% x: %d, want %d", c.options, got, c.want)
		}
	}
	header[12] = 0xf0
	windowScale(header[:20]) // the options are missing
}
