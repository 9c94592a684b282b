package porttest

import (
	"bytes"
	"testing"

	"gxswitch/ports"
)

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
