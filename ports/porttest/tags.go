package porttest

import (
	"bytes"
	"testing"

	"gxswitch/ports"
)

// The cases of both tag tests, beginning after the MACs.
const (
	rest = "88b5 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
	macs = "020000000002 020000000001"
)

func testTagsIn(t *testing.T, r *rig) {
	for _, c := range []struct {
		name, sent, want string
		tagged           bool
		tci              uint16
	}{
		{"untagged", rest, rest, false, 0},
		{"802.1Q", "8100 a064" + rest, rest, true, 0xa064},
		{"802.1Q with DEI", "8100 7001" + rest, rest, true, 0x7001},
		{"VID 4095", "8100 0fff" + rest, rest, true, 0x0fff},
		{"priority-tagged", "8100 e000" + rest, rest, true, 0xe000},
		{"priority-tagged with priority 0", "8100 0000" + rest, rest, true, 0},
		{"802.1ad is payload", "88a8 a064" + rest, "88a8 a064" + rest, false, 0},
		{"802.1ad and 802.1Q", "88a8 0064 8100 0014" + rest, "88a8 0064 8100 0014" + rest, false, 0},
		{"802.1Q twice", "8100 0064 8100 2014" + rest, "8100 2014" + rest, true, 0x0064},
		{"802.1Q and 802.1ad", "8100 0064 88a8 0014" + rest, "88a8 0014" + rest, true, 0x0064},
	} {
		r.Send(nil, unhex(t, macs+c.sent))
		f := r.one()
		if want := unhex(t, macs+c.want); !bytes.Equal(f.Data(), want) || f.Tagged != c.tagged || f.TCI != c.tci {
			t.Errorf("%s: arrived as %s, tagged %v TCI %#04x\nwant %s, tagged %v TCI %#04x", c.name,
				brief(f.Data()), f.Tagged, f.TCI, brief(want), c.tagged, c.tci)
		}
		r.release()
	}
}

func testTagsOut(t *testing.T, r *rig) {
	plain := func() ports.Send { return out(t, nil, unhex(t, macs+rest)) }
	r.write(plain(), tagged(plain(), 0xa064), tagged(plain(), 0xe000),
		tagged(out(t, nil, unhex(t, macs+"8100 0014"+rest)), 0x0064), out(t, nil, unhex(t, macs+"88a8 0064"+rest)))
	for _, want := range []string{rest, "8100 a064" + rest, "8100 e000" + rest, "8100 0064 8100 0014" + rest, "88a8 0064" + rest} {
		r.next("tag", nil, unhex(t, macs+want))
	}

	// One frame to one port with a tag and to another without.
	s := plain()
	r.write(tagged(s, 5))
	r.write(s)
	r.write(tagged(s, 6))
	for _, want := range []string{"8100 0005" + rest, rest, "8100 0006" + rest} {
		r.next("one frame in three ways", nil, unhex(t, macs+want))
	}
}

// testTagsThrough sends frames on as they lie in the port's memory.
func testTagsThrough(t *testing.T, r *rig) {
	for _, c := range []string{rest, "8100 a064" + rest, "88a8 0064 8100 0014" + rest, "8100 0064 8100 0014" + rest, "8100 0000" + rest} {
		r.Send(nil, unhex(t, macs+c))
		f := r.one()
		f.Parse()
		r.write(ports.Send{Frame: f, TCI: f.TCI, Tagged: f.Tagged})
		r.release()
		r.next("through", nil, unhex(t, macs+c))
	}
}
