package behaviour

import (
	"bufio"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// pings are sent while something happens.
type pings struct {
	cmd    *exec.Cmd
	read   sync.WaitGroup
	errors int // of ICMP, that came in place of answers; for who has waited for read

	mu                        sync.Mutex
	last, replies, duplicates int // last is the highest number that was answered
}

// startPings sends one each interval, in seconds, until lost.
func startPings(t *testing.T, from *testnet.NS, to, interval string) *pings {
	t.Helper()
	nettest.Program(t, "ping")
	p := &pings{cmd: from.Command(t.Context(), "ping", "-n", "-i", interval, to)}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.read.Go(func() {
		for l := bufio.NewScanner(out); l.Scan(); {
			if m := pingReply.FindStringSubmatch(l.Text()); m != nil {
				p.note(m)
			} else if strings.HasPrefix(l.Text(), "From ") {
				p.errors++
			}
		}
	})
	p.more(t, 1)
	return p
}

func (p *pings) note(reply []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reply[2] != "" {
		p.duplicates++
		return
	}
	p.replies++
	seq, _ := strconv.Atoi(reply[1])
	p.last = max(p.last, seq)
}

func (p *pings) answered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// more waits for answers that are yet to come.
func (p *pings) more(t *testing.T, n int) {
	t.Helper()
	seen := p.answered()
	nettest.Wait(t, "pings to be answered", func() (bool, error) { return p.answered() >= seen+n, nil })
}

// lost ends the pings, once they are answered after what has happened, and fails the
// test if more than that were not, or an ICMP error came.
func (p *pings) lost(t *testing.T, most int) {
	t.Helper()
	p.more(t, 10)
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	p.read.Wait()
	_ = p.cmd.Wait()
	text := fmt.Sprintf("%d of %d pings lost, %d duplicates, %d ICMP errors", p.last-p.replies, p.last, p.duplicates, p.errors)
	t.Log(text)
	if p.last-p.replies > most || p.errors > 0 {
		t.Error(text)
	}
}
