package porttest

import (
	"bytes"
	"fmt"
	"testing"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

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
