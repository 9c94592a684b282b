package dataplane

import (
	"sync/atomic"
	"testing"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// witness is a memory port that says when the switch breaks the contract: two
// readers at once, a Close while somebody uses it, any use after Close.
type witness struct {
	*ports.Memory
	t       *testing.T
	name    string
	readers atomic.Int32
	users   atomic.Int32
	closed  atomic.Bool
}

func newWitness(t *testing.T, name string) *witness {
	t.Helper()
	m, err := ports.NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	return &witness{Memory: m, t: t, name: name}
}

func (w *witness) use(what string) func() {
	w.users.Add(1)
	if w.closed.Load() {
		w.t.Errorf("%s of %s after Close", what, w.name)
	}
	return func() { w.users.Add(-1) }
}

func (w *witness) Read(batch []frame.Frame, b *ports.Buffers) int {
	defer w.use("Read")()
	if w.readers.Add(1) != 1 {
		w.t.Errorf("two readers of %s", w.name)
	}
	defer w.readers.Add(-1)
	return w.Memory.Read(batch, b)
}

func (w *witness) Write(frames []ports.Send, s *ports.Scratch) ports.Result {
	defer w.use("Write")()
	return w.Memory.Write(frames, s)
}

func (w *witness) Release() {
	defer w.use("Release")()
	w.Memory.Release()
}

func (w *witness) Lost() uint64 {
	defer w.use("Lost")()
	return w.Memory.Lost()
}

func (w *witness) Close() error {
	if w.closed.Swap(true) {
		w.t.Errorf("%s is closed twice", w.name)
	}
	if n := w.users.Load(); n != 0 {
		w.t.Errorf("%s is closed with %d calls under way", w.name, n)
	}
	return w.Memory.Close()
}
