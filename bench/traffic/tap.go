package traffic

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gxswitch/bench/rig"
	"gxswitch/internal/frame"
)

// TapReader is the guest behind a tap: a thread that reads what comes, counts the
// test frames, and waits where there is nothing. A Counter counts with it.
type TapReader struct {
	tap    rig.Tap
	frames atomic.Uint64
	bytes  atomic.Uint64
	halt   atomic.Bool
	done   <-chan error
}

// tapPatience is how soon a thread that waits sees that it is to end.
const tapPatience = 20 // ms

// ReadTap starts to read, and counts at the tap's endpoint until Stop.
func (c *Counter) ReadTap(t rig.Tap) *TapReader {
	r := &TapReader{tap: t}
	r.done = onThread(AnyCore, r.run)
	c.taps[t.Endpoint] = r
	return r
}

// Stop ends the reading.
func (r *TapReader) Stop() error {
	r.halt.Store(true)
	return <-r.done
}

// Announce sends one broadcast from behind the tap.
func (r *TapReader) Announce() error {
	b := make([]byte, rig.VNetLen+MinLen)
	f := b[rig.VNetLen:]
	copy(f[0:], frame.Broadcast[:])
	copy(f[6:], r.tap.MAC[:])
	binary.BigEndian.PutUint16(f[12:], localExperimental)
	if _, errno := write(r.tap.FD, b); errno != 0 {
		return fmt.Errorf("announce %s: %w", r.tap.Name, errno)
	}
	return nil
}

func (r *TapReader) run() error {
	b := make([]byte, rig.VNetLen+1<<16)
	for !r.halt.Load() {
		n, errno := read(r.tap.FD, b)
		switch errno {
		case 0:
			f := b[rig.VNetLen:n]
			if len(f) >= MinLen && binary.BigEndian.Uint16(f[offMagic:]) == magic {
				r.frames.Add(1)
				r.bytes.Add(uint64(len(f)))
			}
		case unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(r.tap.FD), Events: unix.POLLIN}}, tapPatience)
		case unix.EINTR:
		default:
			return fmt.Errorf("read from %s: %w", r.tap.Name, errno)
		}
	}
	return nil
}
