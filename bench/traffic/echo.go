package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"gxswitch/bench/rig"
)

// requestLen makes a request the shortest frame: 64 bytes with FCS.
const requestLen = MinLen - udpHeadersLen

const udpHeadersLen = 42

const (
	requestPort  = 7001
	responsePort = 7002
)

// answerTime is when a request that has no response is lost.
const answerTime = time.Second

// NewHistogram is for times in nanoseconds, 100 ns to 10 s, three digits.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(100, 10e9, 3) }

// Latency is what responses took.
type Latency struct {
	Times *hdrhistogram.Histogram // nanoseconds
	Sent  int
	Lost  int // no response within a second
}

// CountLost makes every request that was lost one whose response took a second,
// so that a path that loses the slow ones does not look fast.
func (l *Latency) CountLost() {
	_ = l.Times.RecordValues(answerTime.Nanoseconds(), int64(l.Lost))
}

// pair is a client's socket, connected to the server's, and the server's, which
// answer connects to whoever asks: behind NAT that is not the client's address.
type pair struct{ client, server int }

func newPair(l rig.Lane) (p pair, err error) {
	if p.client, err = socket(l.From, unix.SOCK_DGRAM, requestPort); err != nil {
		return p, err
	}
	if p.server, err = socket(l.To, unix.SOCK_DGRAM, responsePort); err != nil {
		unix.Close(p.client)
		return p, err
	}
	err = errors.Join(
		unix.Connect(p.client, sockaddr(l.To.Addr, responsePort)), timeouts(p.client, answerTime),
		timeouts(p.server, answerTime))
	if err != nil {
		p.close()
		return p, fmt.Errorf("connect request sockets: %w", err)
	}
	return p, nil
}

func (p pair) close() {
	unix.Close(p.client)
	unix.Close(p.server)
}

// answer sends every request back until the server's socket is shut down.
func (p pair) answer(halt *atomic.Bool) error {
	var buf [2048]byte
	for connected := false; !connected; {
		_, from, err := unix.Recvfrom(p.server, buf[:], unix.MSG_PEEK)
		switch {
		case halt.Load():
			return nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("receive first request: %w", err)
		default:
			if err := unix.Connect(p.server, from); err != nil {
				return fmt.Errorf("connect to who requests: %w", err)
			}
			connected = true
		}
	}
	for !halt.Load() {
		n, errno := read(p.server, buf[:])
		if errno == unix.EAGAIN || errno == unix.EINTR || errno == 0 && n == 0 {
			continue
		}
		if errno != 0 {
			return fmt.Errorf("receive request: %w", errno)
		}
		if _, errno := write(p.server, buf[:n]); errno != 0 && errno != unix.ENOBUFS && errno != unix.EAGAIN {
			return fmt.Errorf("send response: %w", errno)
		}
	}
	return nil
}

// stop ends answer and takes its error.
func (p pair) stop(halt *atomic.Bool, done <-chan error) error {
	halt.Store(true)
	_ = unix.Shutdown(p.server, unix.SHUT_RDWR) // wakes it
	return <-done
}

// RoundTrips sends the next request when the response to the last is there
// (closed loop), for a while. The client is on the first core and the server on
// the second, as two guests would be.
func RoundTrips(ctx context.Context, l rig.Lane, d time.Duration, cores [2]int) (Latency, error) {
	p, err := newPair(l)
	if err != nil {
		return Latency{}, err
	}
	defer p.close()
	var halt atomic.Bool
	server := onThread(cores[1], func() error { return p.answer(&halt) })
	lat := Latency{Times: NewHistogram()}
	client := onThread(cores[0], func() error {
		req, resp := make([]byte, requestLen), make([]byte, 2048)
		for start := time.Now(); time.Since(start) < d && ctx.Err() == nil; {
			lat.Sent++
			binary.BigEndian.PutUint32(req[4:], uint32(lat.Sent))
			sent := time.Now()
			if _, errno := write(p.client, req); errno != 0 {
				return fmt.Errorf("send request: %w", errno)
			}
			switch ok, err := response(p.client, resp, uint32(lat.Sent)); {
			case err != nil:
				return err
			case !ok:
				lat.Lost++
			default:
				_ = lat.Times.RecordValue(time.Since(sent).Nanoseconds())
			}
		}
		return nil
	})
	err = <-client
	return lat, errors.Join(err, p.stop(&halt, server), ctx.Err())
}

// response waits for the one to the numbered request; false if it is lost.
func response(fd int, buf []byte, number uint32) (bool, error) {
	for {
		n, errno := read(fd, buf)
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return false, nil
		case errno != 0:
			return false, fmt.Errorf("receive response: %w", errno)
		case n == requestLen && binary.BigEndian.Uint32(buf[4:]) == number:
			return true, nil
		}
	}
}

// Probe sends requests at times fixed beforehand (open loop), on average rate a
// second at random intervals, and takes each response's time from when its
// request was *meant* to go: a stall delays the requests behind it, and each of
// them says so (no coordinated omission).
func Probe(ctx context.Context, l rig.Lane, d time.Duration, rate float64) (Latency, error) {
	p, err := newPair(l)
	if err != nil {
		return Latency{}, err
	}
	defer p.close()
	var halt atomic.Bool
	server := onThread(AnyCore, func() error { return p.answer(&halt) })

	r := rand.New(rand.NewPCG(1, 1)) // the same times for every arm
	var plan []time.Duration
	for at := 0.0; at < d.Seconds(); at += r.ExpFloat64() / rate {
		plan = append(plan, time.Duration(at*1e9))
	}
	lat := Latency{Times: NewHistogram(), Sent: len(plan)}
	var sent atomic.Bool
	start := time.Now()
	receiver := onThread(AnyCore, func() error {
		buf := make([]byte, 2048)
		seen := make([]bool, len(plan))
		for got := 0; got < len(plan); {
			n, errno := read(p.client, buf)
			now := time.Since(start)
			switch {
			case errno == unix.EINTR:
			case errno == unix.EAGAIN:
				if sent.Load() {
					return nil
				}
			case errno != 0:
				return fmt.Errorf("receive response: %w", errno)
			case n == requestLen:
				i := int(binary.BigEndian.Uint32(buf[4:]))
				if i < len(plan) && !seen[i] {
					seen[i] = true
					got++
					_ = lat.Times.RecordValue((now - plan[i]).Nanoseconds())
				}
			}
		}
		return nil
	})
	sender := onThread(AnyCore, func() error {
		defer sent.Store(true)
		req := make([]byte, requestLen)
		for i, at := range plan {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			for wait := at - time.Since(start); wait > 0; wait = at - time.Since(start) {
				ts := unix.NsecToTimespec(wait.Nanoseconds())
				_ = unix.Nanosleep(&ts, nil)
			}
			binary.BigEndian.PutUint32(req[4:], uint32(i))
			if _, errno := write(p.client, req); errno != 0 && errno != unix.ENOBUFS && errno != unix.EAGAIN {
				return fmt.Errorf("send request: %w", errno)
			}
		}
		return nil
	})
	err = errors.Join(<-sender, <-receiver, p.stop(&halt, server))
	lat.Lost = lat.Sent - int(lat.Times.TotalCount())
	return lat, err
}
