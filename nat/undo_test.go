package nat

import (
	"slices"
	"testing"
)

// What has been rewritten, in any of the three kinds of session, is as its sender
// sent it again.
func TestUndoGivesBackWhatWasSent(t *testing.T) {
	n := newTable(t, nil)
	forwardTo(t, n, "tcp/8080", end{"10.20.0.10", 80})
	forwardTo(t, n, "udp/8080", end{"10.20.0.10", 80})
	remote, guest := end{"198.51.100.7", 7777}, end{"10.20.0.11", 40000}
	published := end{external, 8080}
	for name, raw := range map[string][]byte{
		"TCP out":     synSegment.build(guest, remote),
		"UDP out":     udp(33)(guest, remote),
		"UDP partial": makePartial(udp(33)(guest, remote), 6),
		"echo out":    echo(guest, end{remote.ip, 0}),
		"TCP forward": synSegment.build(remote, published),
		"UDP forward": udp(8)(remote, published),
		"TCP hairpin": synSegment.build(guest, published),
	} {
		was := slices.Clone(raw)
		if src, _ := packetOf(t, raw); src == remote {
			inbound(t, n, raw, 1)
		} else if v := n.Outbound(raw, 1, 1); v.Reason != 0 {
			t.Fatalf("%s: %v", name, v.Reason)
		}
		if slices.Equal(raw, was) {
			t.Fatalf("%s: is not rewritten", name)
		}
		if !n.Undo(raw, 1) || !slices.Equal(raw, was) {
			t.Errorf("%s:\n%x, want\n%x", name, raw, was)
		}
	}
	stray := udp(8)(end{external, 61000}, remote)
	was := slices.Clone(stray)
	if n.Undo(stray, 1) || !slices.Equal(stray, was) {
		t.Error("a packet of no session was changed")
	}
}
