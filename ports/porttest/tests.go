package porttest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

func testOrder(t *testing.T, r *rig) {
	const count = 200
	if n := r.Port.Read(r.batch, r.buffers); n != 0 {
		t.Fatalf("%d frames before any was sent", n)
	}
	for i := range uint32(count) {
		r.Send(nil, numbered(i, 60))
	}
	if n := r.Port.Read(nil, r.buffers); n != 0 {
		t.Fatalf("%d frames for an empty batch", n)
	}
	for i := uint32(0); i < count; {
		size := []int{1, 7, ports.BatchSize}[i%3]
		for _, f := range r.read(r.batch[:size]) {
			if want := numbered(i, 60); !bytes.Equal(f.Data(), want) || f.Tagged || f.TCI != 0 || f.Truncated {
				t.Fatalf("frame %d: %s tagged %v truncated %v", i, brief(f.Data()), f.Tagged, f.Truncated)
			}
			if !sameVNet(f.Raw, nil) {
				t.Fatalf("frame %d: virtio-net header %x", i, f.Raw[:frame.VNetLen])
			}
			i++
		}
		r.release()
	}
}

func testBorrowed(t *testing.T, r *rig) {
	const first, more = 20, 100
	sizes := [...]int{60, 1514, 300}
	for i := range uint32(first) {
		r.Send(nil, numbered(i, sizes[i%3]))
	}
	batch := make([]frame.Frame, first+more)
	n := 0
	for n < first {
		n += len(r.read(batch[n:first]))
	}
	for i := range uint32(more) {
		r.Send(nil, numbered(first+i, 200))
	}
	for n < first+more {
		n += len(r.read(batch[n:]))
	}
	for i := range uint32(first) {
		if want := numbered(i, sizes[i%3]); !bytes.Equal(batch[i].Data(), want) {
			t.Fatalf("frame %d changed before its release: %s", i, brief(batch[i].Data()))
		}
	}
	r.release()
	r.Send(nil, numbered(999, 60))
	if f := r.one(); number(f.Data()) != 999 {
		t.Fatalf("after the release: %s", brief(f.Data()))
	}
	r.release()
}

// testGoRound reads many times what the port can keep, and always holds some.
func testGoRound(t *testing.T, r *rig) {
	sent, got := uint32(0), uint32(0)
	for round := range 40 {
		for range round%13 + 1 {
			r.Send(nil, numbered(sent, 60+int(sent)%1400))
			sent++
		}
		for got < sent {
			for _, f := range r.read(r.batch[:min(int(sent-got), len(r.batch))]) {
				if want := numbered(got, 60+int(got)%1400); !bytes.Equal(f.Data(), want) {
					t.Fatalf("frame %d: %s", got, brief(f.Data()))
				}
				got++
			}
			if round%3 != 0 {
				r.release()
			}
		}
		if round%3 == 0 {
			r.release()
		}
	}
	if lost := r.Port.Lost(); lost != 0 {
		t.Errorf("%d lost", lost)
	}
}

func testNoEcho(t *testing.T, r *rig) {
	for i := range uint32(10) {
		r.write(out(t, nil, numbered(i, 60)))
		r.next("own frame", nil, numbered(i, 60))
	}
	r.Send(nil, numbered(99, 60))
	if f := r.one(); number(f.Data()) != 99 {
		t.Errorf("first came %s, not the other end's frame", brief(f.Data()))
	}
	r.release()
}

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

func testPartialChecksum(t *testing.T, r *rig) {
	vnet, data := unhex(t, "01 00 2a00 0000 2200 0600"), append(unhex(t, udp4), "payload"...)
	r.Send(vnet, data)
	f := r.one()
	if !bytes.Equal(f.Data(), data) || !sameVNet(f.Raw, vnet) {
		t.Errorf("arrived with header %x as %s\nwant %x %s", f.Raw[:frame.VNetLen], brief(f.Data()), vnet, brief(data))
	}
	r.release()

	r.write(out(t, vnet, data), tagged(out(t, vnet, data), 7))
	r.next("untagged", vnet, data)
	r.next("tagged", unhex(t, "01 00 2e00 0000 2600 0600"), insert(data, "8100 0007"))

	r.Send(unhex(t, "01 00 2e00 0000 2600 0600"), insert(data, "8100 0007"))
	f = r.one()
	if !bytes.Equal(f.Data(), data) || !f.Tagged || !sameVNet(f.Raw, vnet) {
		t.Errorf("tagged, arrived with header %x as %s\nwant %x %s", f.Raw[:frame.VNetLen], brief(f.Data()), vnet, brief(data))
	}
	r.release()
}

func testGSO(t *testing.T, r *rig) {
	for _, c := range []struct{ name, vnet, vnetTagged, header string }{
		{"TCPv4", "01 01 3600 a805 2200 1000", "01 01 3a00 a805 2600 1000", tcp4},
		{"TCPv6", "01 04 4a00 9405 3600 1000", "01 04 4e00 9405 3a00 1000", tcp6},
		{"UDPv4", "01 05 2a00 b805 2200 0600", "01 05 2e00 b805 2600 0600", udp4},
	} {
		vnet, vnetTagged := unhex(t, c.vnet), unhex(t, c.vnetTagged)
		data := unhex(t, c.header)
		for i := len(data); i < 65000; i++ {
			data = append(data, byte(i*i>>5))
		}
		// Long ones among short ones, several in a batch.
		r.Send(nil, numbered(1, 60))
		r.Send(vnet, data)
		r.Send(vnet, data[:30000])
		r.Send(nil, numbered(2, 60))
		r.Send(vnetTagged, insert(data, "8100 a064"))
		frames := make([]frame.Frame, 5)
		for n := 0; n < len(frames); {
			n += len(r.read(frames[n:]))
		}
		want := [][]byte{numbered(1, 60), data, data[:30000], numbered(2, 60), data}
		for i := range frames {
			f := &frames[i]
			var wantVNet []byte
			if i%2 == 1 && i != 3 || i == 2 || i == 4 {
				wantVNet = vnet
			}
			if reason := f.Parse(); reason != frame.Pass || !bytes.Equal(f.Data(), want[i]) || !sameVNet(f.Raw, wantVNet) || f.Tagged != (i == 4) {
				t.Fatalf("%s, frame %d: %v, header %x %s tagged %v\nwant %x %s", c.name, i, reason, f.Raw[:frame.VNetLen], brief(f.Data()), f.Tagged,
					wantVNet, brief(want[i]))
			}
		}
		r.write(ports.Send{Frame: &frames[0]}, ports.Send{Frame: &frames[1]}, tagged(ports.Send{Frame: &frames[2]}, 9),
			ports.Send{Frame: &frames[4], TCI: frames[4].TCI, Tagged: true})
		r.release()
		r.next(c.name+" short", nil, numbered(1, 60))
		r.next(c.name+" 64 KiB", vnet, data)
		r.next(c.name+" tagged anew", vnetTagged, insert(data[:30000], "8100 0009"))
		r.next(c.name+" tagged", vnetTagged, insert(data, "8100 a064"))
	}
}

func testJumbo(t *testing.T, r *rig) {
	for i, n := range []int{9014, 2047, 2048, 2049, 4000, 1900, 1990, 2000, 2010, 2020, 2030} { // some just about a slot
		r.Send(nil, numbered(uint32(i), n))
		f := r.one()
		f.Parse()
		if !bytes.Equal(f.Data(), numbered(uint32(i), n)) || f.Truncated {
			t.Errorf("%d bytes: arrived as %s truncated %v", n, brief(f.Data()), f.Truncated)
		}
		r.write(ports.Send{Frame: f})
		r.write(tagged(ports.Send{Frame: f}, 5))
		r.release()
		r.next("jumbo", nil, numbered(uint32(i), n))
		r.next("jumbo, tagged", nil, insert(numbered(uint32(i), n), "8100 0005"))

		outer := insert(numbered(uint32(i), n-4), "88a8 0005")
		r.Send(nil, outer)
		if f := r.one(); !bytes.Equal(f.Data(), outer) {
			t.Errorf("%d bytes with an 802.1ad tag: arrived as %s", n, brief(f.Data()))
		}
		r.release()
	}
}

func testRunts(t *testing.T, r *rig) {
	for n := 14; n < 60; n++ {
		r.Send(nil, numbered(uint32(n), n))
		f := r.one()
		f.Parse()
		if !bytes.Equal(f.Data(), numbered(uint32(n), n)) {
			t.Errorf("%d bytes: arrived as %s", n, brief(f.Data()))
		}
		r.write(ports.Send{Frame: f})
		r.next(fmt.Sprintf("%d bytes", n), nil, numbered(uint32(n), n))
		if n >= 16 { // with less behind a tag, Linux takes nothing in (skb_vlan_untag)
			r.write(tagged(ports.Send{Frame: f}, 5))
			r.next(fmt.Sprintf("%d bytes, tagged", n), nil, insert(numbered(uint32(n), n), "8100 0005"))
		}
		r.release()
	}
}

func testTooLong(t *testing.T, r *rig) {
	fits, long := numbered(1, 1514), numbered(2, 1515)
	got := r.Port.Write([]ports.Send{
		out(t, nil, long), out(t, nil, fits), out(t, nil, long), out(t, nil, numbered(3, 9000)),
		tagged(out(t, nil, fits), 5), tagged(out(t, nil, long), 5), out(t, nil, numbered(4, 60)),
	}, r.scratch)
	if want := (ports.Result{Packets: 3, Bytes: 1514 + 1518 + 60, MTU: 4}); got != want {
		t.Errorf("Write: %+v, want %+v", got, want)
	}
	r.next("just fits", nil, fits)
	r.next("just fits, and a tag", nil, insert(fits, "8100 0005"))
	r.next("after those that did not", nil, numbered(4, 60))
}

// testNoRoom sends more than the port keeps: what is lost is counted, and what
// comes later arrives.
func testNoRoom(t *testing.T, r *rig) {
	const count = 200
	for i := range uint32(count) {
		r.Send(nil, numbered(i, 60))
	}
	await(t, "losses", func() bool { return r.Port.Lost() >= count-32 })
	arrived := uint64(0)
	for n := r.Port.Read(r.batch, r.buffers); n > 0; n = r.Port.Read(r.batch, r.buffers) {
		for _, f := range r.batch[:n] {
			if want := numbered(uint32(arrived), 60); !bytes.Equal(f.Data(), want) {
				t.Fatalf("frame %d: %s", arrived, brief(f.Data()))
			}
			arrived++
		}
		r.release()
	}
	lost := r.Port.Lost()
	if arrived+lost != count {
		t.Errorf("%d arrived and %d were lost of %d", arrived, lost, count)
	}
	r.Send(nil, numbered(777, 60))
	if f := r.one(); number(f.Data()) != 777 {
		t.Errorf("after the losses: %s", brief(f.Data()))
	}
	r.release()
	if again := r.Port.Lost(); again != lost {
		t.Errorf("Lost went from %d to %d for nothing", lost, again)
	}
}

// testNoRoomForLong does it with frames of many lengths, long ones among them,
// and reads some of them meanwhile: none is taken for another.
func testNoRoomForLong(t *testing.T, r *rig) {
	length := func(n uint32) int { return []int{60, 8000, 1514, 8000, 9014, 2100}[n%6] }
	header := unhex(t, tcp4)
	vnet := unhex(t, "01 01 3600 a805 2200 1000")
	sent, seen, cut := uint32(0), uint64(0), uint64(0)
	check := func(f *frame.Frame) {
		if f.Truncated {
			cut++
			return
		}
		seen++
		if f.Raw[1] != 0 { // one of the super-frames
			return
		}
		n := number(f.Data())
		if !bytes.Equal(f.Data(), numbered(n, length(n))) {
			t.Fatalf("frame %d is %s", n, brief(f.Data()))
		}
	}
	for round := range 30 {
		for range 20 {
			r.Send(nil, numbered(sent, length(sent)))
			sent++
		}
		for range 8 {
			r.Send(vnet, append(header[:len(header):len(header)], make([]byte, 60000+round)...))
			sent++
		}
		frames := r.read(r.batch[:5+round%20])
		for i := range frames {
			check(&frames[i])
		}
		r.release()
	}
	for {
		n := r.Port.Read(r.batch, r.buffers)
		if n == 0 {
			if uint64(sent) == seen+cut+r.Port.Lost() {
				break
			}
			if !r.readable(patience) {
				t.Fatalf("%d arrived, %d cut, %d lost of %d", seen, cut, r.Port.Lost(), sent)
			}
			continue
		}
		for i := range r.batch[:n] {
			check(&r.batch[i])
		}
		r.release()
	}
	for i := range uint32(6) {
		r.Send(nil, numbered(i, length(i)))
		if f := r.one(); f.Truncated || !bytes.Equal(f.Data(), numbered(i, length(i))) {
			t.Errorf("after the losses, %d: %s", i, brief(f.Data()))
		}
		r.release()
	}
}

func testTwoWriters(t *testing.T, r *rig) {
	const each, size = 300, 10
	var results [2]ports.Result
	var wg sync.WaitGroup
	for w := range results {
		wg.Go(func() {
			scratch := ports.NewScratch()
			for i := 0; i < each; i += size {
				var batch []ports.Send
				for k := range size {
					batch = append(batch, out(t, nil, numbered(uint32(w*each+i+k), 100)))
				}
				got := r.Port.Write(batch, scratch)
				results[w].Packets += got.Packets
			}
		})
	}
	wg.Wait()
	if results[0].Packets != each || results[1].Packets != each {
		t.Fatalf("sent %d and %d, want %d of each", results[0].Packets, results[1].Packets, each)
	}
	next := [2]uint32{0, each}
	for range 2 * each {
		_, data := r.Next()
		n := number(data)
		w := n / each
		if !bytes.Equal(data, numbered(n, 100)) || n != next[w] {
			t.Fatalf("writer %d: got %s, want frame %d", w, brief(data), next[w])
		}
		next[w]++
	}
}

func testPollable(t *testing.T, r *rig) {
	for range 3 {
		if r.readable(0) {
			t.Fatal("readable with nothing to read")
		}
		for i := range uint32(3) {
			r.Send(nil, numbered(i, 60))
		}
		for n := 0; n < 3; {
			if !r.readable(patience) {
				t.Fatal("not readable with something to read")
			}
			n += r.Port.Read(r.batch[:1], r.buffers)
		}
		r.release()
	}
}

func testDown(t *testing.T, r *rig) {
	if r.SetUp == nil {
		return // no interface
	}
	r.SetUp(false)
	var batch []ports.Send
	for i := range uint32(3 * ports.BatchSize) {
		batch = append(batch, out(t, nil, numbered(i, 60)))
	}
	if got, want := r.Port.Write(batch, r.scratch), (ports.Result{TxFull: uint64(len(batch))}); got != want {
		t.Errorf("Write while down: %+v, want %+v", got, want)
	}
	if n := r.Port.Read(r.batch, r.buffers); n != 0 {
		t.Errorf("Read while down: %d frames", n)
	}
	r.Port.Release()
	r.SetUp(true)
	r.write(out(t, nil, numbered(5, 60)))
	r.next("after the link came back", nil, numbered(5, 60))
	r.Send(nil, numbered(6, 9000)[:1514])
	r.Send(unhex(t, "01 01 3600 a805 2200 1000"), append(unhex(t, tcp4), make([]byte, 5000)...))
	if f := r.one(); !bytes.Equal(f.Data(), numbered(6, 1514)) {
		t.Errorf("after the link came back: %s", brief(f.Data()))
	}
	// A pending ENETDOWN must not cost a frame that waits on the socket's queue.
	if f := r.one(); f.Truncated || len(f.Data()) != 5054 {
		t.Errorf("a long frame after the link came back: %s truncated %v", brief(f.Data()), f.Truncated)
	}
	r.release()
}

func testDeleted(t *testing.T, r *rig) {
	if r.Delete == nil {
		return // no interface
	}
	for i := range uint32(6) {
		r.Send(nil, numbered(i, []int{60, 9000}[i%2]))
	}
	n := len(r.read(r.batch[:1]))
	f := r.batch[0]
	r.Delete()
	if !bytes.Equal(f.Data(), numbered(0, 60)) {
		t.Errorf("a borrowed frame changed: %s", brief(f.Data()))
	}
	got := r.Port.Write([]ports.Send{out(t, nil, numbered(1, 60)), out(t, nil, numbered(2, 1000))}, r.scratch)
	if want := (ports.Result{TxFull: 2}); got != want {
		t.Errorf("Write: %+v, want %+v", got, want)
	}
	for n < 6 {
		for _, f := range r.read(r.batch) {
			if want := numbered(uint32(n), []int{60, 9000}[n%2]); !bytes.Equal(f.Data(), want) {
				t.Errorf("frame %d: %s truncated %v", n, brief(f.Data()), f.Truncated)
			}
			n++
		}
		r.release()
	}
	if n := r.Port.Read(r.batch, r.buffers); n != 0 {
		t.Errorf("Read: %d frames from nowhere", n)
	}
	r.Port.Lost()
	r.release()
	r.close()
}

func testClose(t *testing.T, open Factory) {
	use := func(t *testing.T) {
		r := newRig(t, open, Config{MTU: 1500})
		r.Send(nil, numbered(1, 60))
		r.one() // and never released
		r.write(out(t, nil, numbered(2, 60)))
		r.close()
	}
	t.Run("first", use) // what the process opens once and keeps
	fds, maps := held(t)
	for range 3 {
		t.Run("again", use)
	}
	if f, m := held(t); f > fds || m > maps {
		t.Errorf("%d descriptors and %d mapped sockets became %d and %d", fds, maps, f, m)
	}
}

// Headers of packets whose lengths suit no particular payload: neither the
// switch nor a veth looks.
const (
	tcp4 = macs + "0800 4500 fdda 0001 4000 4006 0000 0a000001 0a000002 8000 0009 00000001 00000000 5010 ffff 1234 0000"
	tcp6 = macs + "86dd 60000000 fdb2 0640 fd000000000000000000000000000001 fd000000000000000000000000000002" +
		"8000 0009 00000001 00000000 5010 ffff 1234 0000"
	udp4 = macs + "0800 4500 fdda 0001 4000 4011 0000 0a000001 0a000002 8000 0009 fdc6 1234"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// insert puts a tag behind the MACs.
func insert(data []byte, tag string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(tag, " ", ""))
	if err != nil {
		panic(err)
	}
	return append(append(data[:12:12], b...), data[12:]...)
}

// brief shows a frame as far as a reader wants it.
func brief(d []byte) string {
	if len(d) > 64 {
		return fmt.Sprintf("%x… (%d bytes)", d[:64], len(d))
	}
	return fmt.Sprintf("%x (%d bytes)", d, len(d))
}
