package behaviour

import (
	order "encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gxswitch/internal/testnet"
)

// headers are what Ethernet, IPv4 and UDP add to a payload on the wire.
const headers = 14 + 20 + 8

// flow is a stream of datagrams between two guests.
type flow struct {
	out *net.UDPConn
	in  *net.UDPConn

	stop chan struct{}
	wg   sync.WaitGroup
	sent atomic.Int64 // datagrams

	mu       sync.Mutex
	arrivals []arrival
	stalls   []stall
}

// arrival is when the kernel took a frame in, and its bytes on the wire.
type arrival struct {
	at    time.Time
	bytes int
}

// stall is a time in which the sender did not get to run, though it wanted:
// then the machine may have kept the switch waiting too.
type stall struct{ from, to time.Time }

const stallTime = 20 * time.Millisecond

// newFlow opens the sockets; nothing is sent yet.
func newFlow(t *testing.T, from, to *testnet.NS, ip string) *flow {
	t.Helper()
	f := &flow{stop: make(chan struct{})}
	if err := to.Do(func() (err error) {
		f.in, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := from.Do(func() (err error) {
		f.out, err = net.DialUDP("udp4", nil, f.in.LocalAddr().(*net.UDPAddr))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	in, err := f.in.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = in.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	f.wg.Go(f.receive)
	t.Cleanup(f.end)
	return f
}

func (f *flow) receive() {
	b, oob := make([]byte, 2048), make([]byte, 64)
	for {
		n, oobn, _, _, err := f.in.ReadMsgUDP(b, oob)
		if err != nil {
			return
		}
		at := time.Now()
		if ms, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(ms) == 1 && len(ms[0].Data) == 16 {
			at = time.Unix(int64(order.NativeEndian.Uint64(ms[0].Data)), int64(order.NativeEndian.Uint64(ms[0].Data[8:])))
		}
		f.mu.Lock()
		f.arrivals = append(f.arrivals, arrival{at, n + headers})
		f.mu.Unlock()
	}
}

// send sends datagrams of a payload at a rate of bits on the wire until end.
func (f *flow) send(payload, bitsPerSecond int) {
	f.wg.Go(func() {
		b := make([]byte, payload)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		start := time.Now()
		for last, sent := start, 0; ; {
			select {
			case <-f.stop:
				return
			case <-tick.C:
			}
			now := time.Now()
			if now.Sub(last) > stallTime {
				f.mu.Lock()
				f.stalls = append(f.stalls, stall{last, now})
				f.mu.Unlock()
			}
			last = now
			for due := int(now.Sub(start).Seconds() * float64(bitsPerSecond) / 8); sent < due; sent += payload + headers {
				_, _ = f.out.Write(b)
				f.sent.Add(1)
			}
		}
	})
}

// burst sends datagrams as fast as it can.
func (f *flow) burst(payload, count int) {
	b := make([]byte, payload)
	for range count {
		_, _ = f.out.Write(b)
	}
}

// got is what has arrived from a time on, in bytes on the wire, until another.
func (f *flow) got(from, to time.Time) (bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.arrivals {
		if !a.at.Before(from) && a.at.Before(to) {
			bytes += a.bytes
		}
	}
	return bytes
}

// stalled is how long the sender stood still between two times.
func (f *flow) stalled(from, to time.Time) (d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.stalls {
		if s.to.After(from) && s.from.Before(to) {
			d += s.to.Sub(s.from)
		}
	}
	return d
}

// all are the arrivals so far.
func (f *flow) all() []arrival {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]arrival{}, f.arrivals...)
}

func (f *flow) end() {
	select {
	case <-f.stop:
		return
	default:
	}
	close(f.stop)
	_ = f.in.SetReadDeadline(time.Now())
	f.wg.Wait()
	f.out.Close()
	f.in.Close()
}
