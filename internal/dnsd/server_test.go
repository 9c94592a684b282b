package dnsd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// TestMain is also the program that runs inside a namespace, where the server's
// goroutines must be to reach the upstream.
func TestMain(m *testing.M) {
	if os.Getenv("DNSD_TEST_HELPER") != "" {
		if err := helper(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// job is what the helper is told: serve the network, and be the upstreams.
type job struct {
	Config    Config
	Upstreams []string // addresses with port
	Circle    string   // a stub that asks the server under test
}

func helper(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var j job
	if err := json.Unmarshal(line, &j); err != nil {
		return err
	}
	fake := &upstream{asked: map[string]int{}}
	for _, a := range j.Upstreams {
		if err := fake.serve(a, fake.answer(a)); err != nil {
			return err
		}
	}
	if j.Circle != "" {
		back := netip.AddrPortFrom(j.Config.Addrs[0], port).String()
		err := fake.serve(j.Circle, func(w dns.ResponseWriter, q *dns.Msg) {
			fake.count("circle")
			c := dns.Client{Timeout: 5 * time.Second}
			m, _, err := c.Exchange(q, back)
			if err != nil {
				m = new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
			}
			m.Id = q.Id
			w.WriteMsg(m)
		})
		if err != nil {
			return err
		}
	}
	s, err := Start(j.Config, stations(), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	io.Copy(io.Discard, lines) // until the test closes it
	return s.Close()
}

// upstream is a world outside.
type upstream struct {
	mu    sync.Mutex
	asked map[string]int
}

func (u *upstream) serve(addr string, h dns.HandlerFunc) error {
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go (&dns.Server{PacketConn: p, Handler: h}).ActivateAndServe()
	go (&dns.Server{Listener: l, Handler: h}).ActivateAndServe()
	return nil
}

func (u *upstream) count(name string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked[name]++
	return u.asked[name]
}

func (u *upstream) answer(self string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		name := strings.ToLower(q.Question[0].Name)
		m := new(dns.Msg).SetReply(q)
		add := func(s string) {
			rr, err := dns.NewRR(s)
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		switch name {
		case "example.test.":
			add(fmt.Sprintf("%s 60 IN A 198.51.100.%d", name, u.count(name)))
		case "asked.test.":
			u.mu.Lock()
			add(fmt.Sprintf("%s 0 IN TXT %d", name, u.asked["circle"]))
			u.mu.Unlock()
		case "who.test.":
			host, _, _ := net.SplitHostPort(self)
			add(name + " 0 IN A " + host)
		case "big.test.":
			for i := range 100 {
				add(fmt.Sprintf("%s 60 IN TXT %d-%s", name, i, strings.Repeat("x", 50)))
			}
		case "evil.test.", "corp.test.":
			add(name + " 60 IN A 10.0.0.10")
			add(name + " 60 IN A 198.51.100.1")
		case "lost.test.":
			if u.count(name) == 1 {
				return
			}
			add(name + " 60 IN A 198.51.100.9")
		case "silent.test.":
			return
		case "fail.test.":
			m.Rcode = dns.RcodeServerFailure
		default:
			m.Rcode = dns.RcodeNameError
		}
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
			m.Truncate(size)
		}
		w.WriteMsg(m)
	}
}

// lab is a network and another one, each with a guest, on a host:
//
//	g1 [eth0 10.0.0.10]--nat0-- [10.0.0.1, served]
//	                             host -- lo [192.0.2.53, 192.0.2.54: the upstreams]
//	g2 [eth0 10.9.0.2]----lan--- [10.9.0.1]
type lab struct {
	t            *testing.T
	host, g1, g2 *testnet.NS
	resolvConf   string
}

func newLab(t *testing.T) *lab {
	nettest.Program(t, "dig")
	n := nettest.Test(t, "dnsd")
	l := &lab{t: t, host: nettest.Namespace(t, n, "host"), resolvConf: filepath.Join(t.TempDir(), "resolv.conf")}
	l.g1 = nettest.Guest(t, n, l.host, testnet.GuestSpec{Name: "g1", Port: "nat0", Addr: netip.MustParsePrefix("10.0.0.10/24")})
	l.g2 = nettest.Guest(t, n, l.host, testnet.GuestSpec{Name: "g2", Port: "lan", Addr: netip.MustParsePrefix("10.9.0.2/24")})
	l.ip(l.host, "addr", "add", "10.0.0.1/24", "dev", "nat0")
	l.ip(l.host, "addr", "add", "10.9.0.1/24", "dev", "lan")
	l.ip(l.host, "addr", "add", "192.0.2.53/32", "dev", "lo")
	l.ip(l.host, "addr", "add", "192.0.2.54/32", "dev", "lo")
	l.ip(l.g2, "route", "add", "default", "via", "10.9.0.1")
	l.system("192.0.2.53")
	return l
}

func (l *lab) ip(ns *testnet.NS, args ...string) {
	l.t.Helper()
	if out, err := ns.Command(l.t.Context(), "ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (l *lab) system(servers ...string) {
	l.t.Helper()
	text := ""
	for _, s := range servers {
		text += "nameserver " + s + "\n"
	}
	if err := os.WriteFile(l.resolvConf+".new", []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Rename(l.resolvConf+".new", l.resolvConf); err != nil {
		l.t.Fatal(err)
	}
}

// start runs the server in the host's namespace.
func (l *lab) start(circle string) {
	l.t.Helper()
	c := config()
	c.Upstream, c.ResolvConf, c.RebindOK = []string{System}, l.resolvConf, []string{"corp.test"}
	line, err := json.Marshal(job{c, []string{"192.0.2.53:53", "192.0.2.54:53"}, circle})
	if err != nil {
		l.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := l.host.Command(context.Background(), self)
	cmd.Env = append(os.Environ(), "DNSD_TEST_HELPER=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	log := &strings.Builder{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			l.t.Errorf("helper: %v", err)
		}
		if l.t.Failed() {
			l.t.Logf("helper's log:\n%s", log)
		}
	})
	in.Write(append(line, '\n'))
	if s, err := bufio.NewReader(out).ReadString('\n'); s != "ready\n" {
		l.t.Fatalf("helper said %q, %v", s, err)
	}
}

// dig asks the server and returns all that dig says.
func (l *lab) dig(from *testnet.NS, args ...string) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	out, _ := from.Command(ctx, "dig", append([]string{"@10.0.0.1", "+tries=1", "+time=9"}, args...)...).CombinedOutput()
	return string(out)
}

var status = regexp.MustCompile(`status: ([A-Z]+)`)

// short is the status and the answers' data.
func (l *lab) short(from *testnet.NS, args ...string) string {
	l.t.Helper()
	out := l.dig(from, append(args, "+noall", "+comments", "+answer")...)
	parts := []string{"no answer"}
	if m := status.FindStringSubmatch(out); m != nil {
		parts[0] = m[1]
	}
	for _, line := range strings.Split(out, "\n") {
		if f := strings.Fields(line); len(f) >= 5 && f[2] == "IN" {
			parts = append(parts, strings.Join(f[4:], " "))
		}
	}
	return strings.Join(parts, " ")
}

func TestDigFindsStationsAndTheWorld(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start("")
	for _, c := range []struct{ args, want string }{
		{"web1.xen", "NOERROR 10.0.0.10"},
		{"+tcp web1.xen", "NOERROR 10.0.0.10"},
		{"WEB1.XEN", "NOERROR 10.0.0.10"},
		{"web1", "NOERROR 10.0.0.10"},
		{"gateway.xen AAAA", "NOERROR fd00::1"},
		{"-x 10.0.0.10", "NOERROR web1.xen."},
		{"-x fd00::1", "NOERROR gateway.xen."},
		{"-x 10.0.0.99", "NXDOMAIN"},
		{"nobody.xen", "NXDOMAIN"},
		{"nobody.test", "NXDOMAIN"},
		{"+noedns who.test", "NOERROR 192.0.2.53"},
		{"+tcp who.test", "NOERROR 192.0.2.53"},
		{"fail.test", "SERVFAIL"},
		{"evil.test", "NOERROR 198.51.100.1"},
		{"corp.test", "NOERROR 10.0.0.10 198.51.100.1"},
		{"version.bind CH TXT", "REFUSED"},
		{"+norecurse who.test", "REFUSED"},
	} {
		if got := l.short(l.g1, strings.Fields(c.args)...); got != c.want {
			t.Errorf("dig %s: %q, want %q", c.args, got, c.want)
		}
	}
	if got := l.short(l.host, "web1.xen"); got != "NOERROR 10.0.0.10" {
		t.Errorf("the host: %q", got)
	}
	if got := l.short(l.host, "+tcp", "web1.xen"); got != "NOERROR 10.0.0.10" {
		t.Errorf("the host, over TCP: %q", got)
	}
}

func TestAnswersAreRemembered(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start("")
	first := l.short(l.g1, "example.test")
	for _, args := range []string{"example.test", "Example.Test", "+tcp example.test"} {
		if got := l.short(l.g1, strings.Fields(args)...); got != first || first != "NOERROR 198.51.100.1" {
			t.Errorf("%s: %q, at first %q", args, got, first)
		}
	}
}

func TestLongAnswersComeOverTCP(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start("")
	out := l.dig(l.g1, "big.test", "TXT")
	if !strings.Contains(out, "Truncated, retrying in TCP mode") || strings.Count(out, "\tTXT\t") != 100 {
		t.Error(out)
	}
	out = l.dig(l.g1, "+ignore", "big.test", "TXT")
	size, _ := strconv.Atoi(regexp.MustCompile(`MSG SIZE  rcvd: (\d+)`).FindStringSubmatch(out)[1])
	if !strings.Contains(out, " tc ") || size > datagram {
		t.Error(out)
	}
	out = l.dig(l.g1, "+ignore", "+noedns", "big.test", "TXT")
	size, _ = strconv.Atoi(regexp.MustCompile(`MSG SIZE  rcvd: (\d+)`).FindStringSubmatch(out)[1])
	if !strings.Contains(out, " tc ") || size > dns.MinMsgSize {
		t.Error(out)
	}
}

func TestStrangersGetNoAnswer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	// What a stranger would need, so that nothing else is in his way.
	l.ip(l.g1, "addr", "add", "172.31.0.2/24", "dev", "eth0")
	l.ip(l.host, "route", "add", "172.31.0.0/24", "dev", "nat0")
	l.start("")
	for name, c := range map[string]struct {
		from *testnet.NS
		args []string
	}{
		"another network":       {l.g2, nil},
		"another network, TCP":  {l.g2, []string{"+tcp"}},
		"a foreign source":      {l.g1, []string{"-b", "172.31.0.2"}},
		"a foreign source, TCP": {l.g1, []string{"-b", "172.31.0.2", "+tcp"}},
	} {
		if got := l.short(c.from, append(c.args, "+time=1", "web1.xen")...); got != "no answer" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, from := range map[string]*testnet.NS{"its own": l.g1, "the host": l.host} {
		if got := l.short(from, "web1.xen"); got != "NOERROR 10.0.0.10" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, args := range []string{"-b 192.0.2.53", "-b 10.9.0.1", "-b 127.0.0.1", "-b 10.9.0.1 +tcp"} {
		if got := l.short(l.host, append(strings.Fields(args), "+time=2", "web1.xen")...); got != "NOERROR 10.0.0.10" {
			t.Errorf("the host, %s: %q", args, got)
		}
	}
	// The way is open: the ping comes through.
	for from, args := range map[*testnet.NS][]string{l.g2: {"10.0.0.1"}, l.g1: {"-I", "172.31.0.2", "10.0.0.1"}} {
		if out, err := from.Command(t.Context(), "ping", append([]string{"-c", "1", "-W", "2"}, args...)...).CombinedOutput(); err != nil {
			t.Errorf("ping %v: %v\n%s", args, err, out)
		}
	}
}

func TestTheHostsServersAreFollowed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start("")
	if got := l.short(l.g1, "who.test"); got != "NOERROR 192.0.2.53" {
		t.Errorf("at first: %q", got)
	}
	l.system("192.0.2.54")
	nettest.Wait(t, "the other server", func() (bool, error) { return l.short(l.g1, "who.test") == "NOERROR 192.0.2.54", nil })
	// One that is dead costs a guest a moment, not the answer.
	l.system("192.0.2.99", "192.0.2.53")
	nettest.Wait(t, "the server after a dead one", func() (bool, error) { return l.short(l.g1, "who.test") == "NOERROR 192.0.2.53", nil })
}

func TestALostQuestionIsAskedAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start("")
	if got := l.short(l.g1, "lost.test"); got != "NOERROR 198.51.100.9" {
		t.Errorf("got %q", got)
	}
	// A server that says nothing is told of before the client gives up.
	l.system("192.0.2.53", "192.0.2.54", "192.0.2.55")
	for range 2 {
		if got := l.short(l.g1, "+time=5", "silent.test"); got != "SERVFAIL" {
			t.Errorf("got %q", got)
		}
	}
}

func TestACircleEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.system("127.0.0.53")
	l.start("127.0.0.53:53")
	began := time.Now()
	if got := l.short(l.g1, "anything.test"); got != "SERVFAIL" {
		t.Errorf("got %q", got)
	}
	if took := time.Since(began); took > forwardTimeout {
		t.Errorf("took %s", took)
	}
	l.system("192.0.2.53")
	nettest.Wait(t, "a server that answers", func() (bool, error) {
		return strings.HasPrefix(l.short(l.g1, "who.test"), "NOERROR"), nil
	})
	var n int
	fmt.Sscanf(l.short(l.g1, "asked.test", "TXT"), "NOERROR \"%d\"", &n)
	if n < 1 || n > 10 {
		t.Errorf("the stub was asked %d times", n)
	}
}
