package control_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/control"
	"gxswitch/internal/control/controltest"
	"gxswitch/internal/frame"
)

func ptr[T any](v T) *T { return &v }

func TestAnswersAreWhatTheSwitchSaid(t *testing.T) {
	d, sw, ctx := seeded(t), controltest.New(), context.Background()
	check := func(what string, got any, err error, want any) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	status, err := d.client.Status(ctx)
	check("status", status, err, sw.Status())
	networks, err := d.client.Networks(ctx)
	check("networks", networks, err, sw.Networks())
	network, err := d.client.Network(ctx, "xenbr0")
	check("network", network, err, sw.Networks()[1])

	want := sw.Ports()
	for i := range want {
		want[i].IP, want[i].LearnedIP = []string{}, []string{} // never null
	}
	ports, err := d.client.Ports(ctx)
	check("ports", ports, err, want)
	port, err := d.client.Port(ctx, "vif1.0")
	check("port", port, err, want[2])

	wantFDB, _ := sw.FDB("xenbr0", "eth0")
	entries, err := d.client.FDB(ctx, "xenbr0", "eth0")
	check("fdb", entries, err, wantFDB)
	wantStats, _ := sw.Stats([]string{"vif1.0", "lab"})
	wantStats.Ports[0].Drops = map[string]uint64{}
	stats, err := d.client.Stats(ctx, []string{"vif1.0", "lab"})
	check("stats", stats, err, wantStats)
	wantVLANs, _ := sw.VLANs("xenbr0")
	wantVLANs[0].Tagged, wantVLANs[1].Untagged = []string{}, []string{}
	vlans, err := d.client.VLANs(ctx, "xenbr0")
	check("vlans", vlans, err, wantVLANs)
	wantLeases, _ := sw.Leases("lab")
	leases, err := d.client.Leases(ctx, "lab")
	check("leases", leases, err, wantLeases)
	wantNames, _ := sw.DNSNames("lab")
	wantNames[0].IP = []string{}
	names, err := d.client.DNSNames(ctx, "lab")
	check("dns names", names, err, wantNames)
	query := control.DNSQuery{Network: "lab", Name: "web1.xen", Type: "MX"}
	wantAnswer, _ := sw.QueryDNS(query)
	wantAnswer.Answers = []control.DNSRecord{}
	answer, err := d.client.QueryDNS(ctx, query)
	check("dns query", answer, err, wantAnswer)
	text, err := d.client.Config(ctx)
	check("config", text, err, sw.Config())
	wantReloaded, _ := sw.Reload()
	reloaded, err := d.client.Reload(ctx)
	check("reload", reloaded, err, wantReloaded)
}

func TestChangesReachTheSwitchAndTheLog(t *testing.T) {
	d, ctx := seeded(t), context.Background()
	mac := frame.MAC{0, 0x16, 0x3e, 1, 2, 3}

	n, err := d.client.AddNetwork(ctx, control.NetworkSpec{Name: "vault", Mode: "isolated", MTU: ptr(9000)})
	if err != nil || n.MTU != 9000 {
		t.Errorf("add network: %+v, %v", n, err)
	}
	n, err = d.client.SetNetwork(ctx, control.NetworkSpec{Name: "vault", Ageing: ptr(control.Duration(60e9))})
	if err != nil || n.AgeingS != 60 || n.MTU != 9000 {
		t.Errorf("set network: %+v, %v", n, err)
	}
	p, err := d.client.AddPort(ctx, control.PortSpec{Name: "tap é", Network: "vault", Label: ptr("a\x1b[2J")})
	if err != nil || p.Label != "a\x1b[2J" || p.IP == nil {
		t.Errorf("add port: %+v, %v", p, err)
	}
	p, err = d.client.SetPort(ctx, control.PortSpec{Name: "tap é", MAC: &mac, Label: ptr("")})
	if err != nil || p.MAC != mac || p.Label != "" {
		t.Errorf("set port: %+v, %v", p, err)
	}
	for what, err := range map[string]error{
		"add fdb": d.client.AddFDB(ctx, control.FDBSpec{MAC: mac, Port: "vif1.0"}),
		"del fdb": d.client.DelFDB(ctx, control.FDBSpec{MAC: frame.MAC{2, 0, 0, 0, 0, 1}, Network: "xenbr0"}),
		"lease":   d.client.DelLease(ctx, control.LeaseSpec{Network: "lab", MAC: frame.MAC{2, 0, 0, 0, 0, 1}}),
		"port":    d.client.DelPort(ctx, "tap é"),
		"network": d.client.DelNetwork(ctx, "vault"),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	f, err := d.client.FlushFDB(ctx, "xenbr0", "vif1.0")
	if err != nil || f.Entries != 1 {
		t.Errorf("flush: %+v, %v", f, err)
	}
	for _, call := range []string{"add network", "set network", "delete network", "add port", "set port", "delete port",
		"add fdb entry", "delete fdb entry", "flush fdb", "delete lease"} {
		if !strings.Contains(d.log.String(), fmt.Sprintf("call=%q", call)) {
			t.Errorf("the log does not tell of %q", call)
		}
	}
	if who := fmt.Sprintf("uid=%d pid=%d", os.Geteuid(), os.Getpid()); !strings.Contains(d.log.String(), who) {
		t.Errorf("the log does not tell of %s:\n%s", who, d.log)
	}
}

func TestErrorsKeepCodeMessageAndHint(t *testing.T) {
	d, ctx := seeded(t), context.Background()
	_, err := d.client.Port(ctx, "vif9.0")
	want := &control.Error{Code: control.CodeNotFound, Message: "port vif9.0: no such port", Hint: "gxswitch port list shows those there are"}
	var got *control.Error
	if !errors.As(err, &got) || *got != *want {
		t.Errorf("got %#v, want %#v", err, want)
	}
	_, err = d.client.AddPort(ctx, control.PortSpec{Name: "vif1.0", Network: "lab"})
	if !errors.Is(err, &control.Error{Code: control.CodeConflict}) {
		t.Errorf("conflict: %v", err)
	}
	for _, odd := range []string{".", "..", "a/b", "../status", "a?b", "a%2fb", "é", "a b"} {
		if _, err := d.client.Port(ctx, odd); err == nil || err.Error() != fmt.Sprintf("port %s: no such port", odd) {
			t.Errorf("port %q: %v", odd, err)
		}
		if err := d.client.DelNetwork(ctx, odd); err == nil || err.Error() != fmt.Sprintf("network %s: no such network", odd) {
			t.Errorf("network %q: %v", odd, err)
		}
	}
}

func TestAnswersToWrongRequests(t *testing.T) {
	d := seeded(t)
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string // in the message
	}{
		{"GET", "/", "", 404, "no such path"},
		{"GET", "/v1", "", 404, "no such path"},
		{"GET", "/v1/", "", 404, "no such path"},
		{"GET", "/v1/ports/", "", 404, "no such path"},
		{"GET", "//v1/ports", "", 404, "no such path"},
		{"GET", "/v1/../v1/ports", "", 404, "no such path"},
		{"GET", "/v1/ports/a/b", "", 404, "no such path"},
		{"GET", "/debug/pprof/", "", 404, "no such path"},
		{"GET", "/v2/status", "", 404, "no such path"},
		{"POST", "/v1/status", "", 405, "method POST"},
		{"DELETE", "/v1/ports", "", 405, "method DELETE"},
		{"GET", "/v1/reload", "", 405, "method GET"},
		{"OPTIONS", "/v1/ports", "", 405, "method OPTIONS"},
		{"BREW", "/v1/fdb", "", 405, "method BREW"},
		{"POST", "/v1/ports", ``, 400, "want a JSON object"},
		{"POST", "/v1/ports", `null`, 400, "want a JSON object"},
		{"POST", "/v1/ports", `[]`, 400, "want a JSON object"},
		{"POST", "/v1/ports", `{"port":`, 400, "not JSON"},
		{"POST", "/v1/ports", "{\x00}", 400, "not JSON"},
		{"POST", "/v1/ports", `{}`, 400, "port: missing"},
		{"POST", "/v1/ports", `{"port":"a"} {}`, 400, "nothing after it"},
		{"POST", "/v1/ports", `{"port":"a"}x`, 400, "nothing after it"},
		{"POST", "/v1/ports", `{"port":"a","vlans":"5"}`, 400, `unknown key "vlans"`},
		{"POST", "/v1/ports", `{"port":"a","vlan":5}`, 400, "vlan: want a string, got number"},
		{"POST", "/v1/ports", `{"port":"a","vlan":"10p/20p"}`, 400, `vlan "10p/20p": character 7: `},
		{"POST", "/v1/ports", `{"port":"a","vlan":"5000"}`, 400, `"hint":"`},
		{"POST", "/v1/ports", `{"port":"a","rate_from":"100mb/s"}`, 400, `"hint":"write 100Mb/s"`},
		{"POST", "/v1/ports", `{"port":"a","rate_to":100}`, 400, "rate_to: want a string, got number"},
		{"POST", "/v1/ports", `{"port":"a","storm":"2000"}`, 400, `"hint":"`},
		{"POST", "/v1/ports", `{"port":"a","antispoof":"ip"}`, 400, `antispoof "ip"`},
		{"POST", "/v1/ports", `{"port":"a","antispoof":1}`, 400, "antispoof: want a string, got number"},
		{"POST", "/v1/ports", `{"port":"a","isolated":"true"}`, 400, "isolated: want true or false, got string"},
		{"POST", "/v1/ports", `{"port":"a","ra_guard":"auto"}`, 400, `guard "auto": want "on", "off" or ""`},
		{"POST", "/v1/ports", `{"port":"a","ra_guard":true}`, 400, "ra_guard: want a string, got bool"},
		{"POST", "/v1/ports", `{"port":"a","ip":"10.0.0.5"}`, 400, "ip: want an array, got string"},
		{"POST", "/v1/ports", `{"port":"a","ip":[7]}`, 400, "ip: want a string, got number"},
		{"POST", "/v1/ports", `{"port":"a","ip":["10.0.0.256"]}`, 400, "10.0.0.256"},
		{"POST", "/v1/networks", `{"network":"n","uplink_vlan":"10"}`, 400, "uplink_vlan: want a whole number, got string"},
		{"POST", "/v1/networks", `{"network":"n","rate_up":"fast"}`, 400, "not a rate"},
		{"GET", "/v1/vlans?network=nothing", ``, 404, "network nothing: no such network"},
		{"GET", "/v1/vlans?port=vif1.0", ``, 400, "unknown parameter"},
		{"POST", "/v1/vlans", ``, 405, "method POST"},
		{"POST", "/v1/ports", `{"port":"a","mtu":"1500"}`, 400, "mtu: want a whole number, got string"},
		{"POST", "/v1/ports", `{"port":"a","mtu":1.5}`, 400, "mtu: want a whole number, got number 1.5"},
		{"POST", "/v1/ports", `{"port":7}`, 400, "port: want a string, got number"},
		{"POST", "/v1/ports", `{"port":"a","mac":7}`, 400, "mac: want a string, got number"},
		{"POST", "/v1/ports", `{"port":"a","mac":"00:16"}`, 400, `MAC address "00:16"`},
		{"POST", "/v1/networks", `{}`, 400, "network: missing"},
		{"POST", "/v1/networks", `{"network":"n","ageing":"5"}`, 400, `duration "5"`},
		{"PATCH", "/v1/ports/vif1.0", `{"port":"eth0"}`, 400, `the body says "eth0", the path "vif1.0"`},
		{"DELETE", "/v1/ports/vif1.0", `{"port":"eth0"}`, 400, `unknown key "port"`},
		{"POST", "/v1/fdb", `{"port":"vif1.0"}`, 400, "mac: missing"},
		{"POST", "/v1/fdb", `{"mac":"00:16:3e:00:00:01"}`, 400, "port: missing"},
		{"POST", "/v1/fdb", `{"mac":"ff:ff:ff:ff:ff:ff","port":"vif1.0"}`, 400, "multicast"},
		{"POST", "/v1/fdb", `{"mac":"00:16:3e:00:00:01","port":"vif1.0","vlan":4095}`, 400, "vlan: want 1 to 4094, got 4095"},
		{"DELETE", "/v1/fdb", `{"mac":"00:16:3e:00:00:01"}`, 400, "network: missing"},
		{"DELETE", "/v1/leases", `{"network":"lab"}`, 400, "mac: missing"},
		{"DELETE", "/v1/leases", `{"mac":"00:16:3e:00:00:05"}`, 400, "network: missing"},
		{"DELETE", "/v1/leases", `{"mac":"00:16:3e:00:00:09","network":"lab"}`, 404, "has no lease"},
		{"GET", "/v1/leases?network=no", ``, 404, "no such network"},
		{"GET", "/v1/dns/query", ``, 400, "name: missing"},
		{"GET", "/v1/dns/query?name=a&server=b", ``, 400, `unknown parameter "server"`},
		{"PATCH", "/v1/networks/lab", `{"dhcp":{"rang":"a"}}`, 400, `unknown key "rang"`},
		{"PATCH", "/v1/networks/lab", `{"dhcp":true}`, 400, "dhcp: want an object"},
		{"POST", "/v1/fdb/flush", `{"port":"vif1.0"}`, 400, `unknown key "port"`},
		{"POST", "/v1/fdb/flush?prot=vif1.0", ``, 400, `unknown parameter "prot"`},
		{"POST", "/v1/fdb/flush?port=", ``, 400, "port has no value"},
		{"GET", "/v1/fdb?port=a&port=b", ``, 400, "more than once"},
		{"GET", "/v1/fdb?port=a;b", ``, 400, "query:"},
		{"GET", "/v1/ports?network=lab", ``, 400, "unknown parameter"},
		{"POST", "/v1/reload?dry=1", ``, 400, "unknown parameter"},
	} {
		status, header, body := d.request(t, tc.method, tc.path, strings.NewReader(tc.body))
		if status != tc.status || !strings.HasPrefix(body, `{"error":{"code":"`) ||
			!strings.Contains(strings.ReplaceAll(body, `\"`, `"`), tc.want) || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %s: %d %s, want %d with %q", tc.method, tc.path, tc.body, status, body, tc.status, tc.want)
		}
		if (status == http.StatusMethodNotAllowed) != (header.Get("Allow") != "") {
			t.Errorf("%s %s: %d with Allow %q", tc.method, tc.path, status, header.Get("Allow"))
		}
	}
	if status, _, body := d.request(t, "HEAD", "/v1/status", nil); status != 200 || body != "" {
		t.Errorf("HEAD: %d %q", status, body)
	}
	if status, _, body := d.request(t, "POST", "/v1/fdb/flush?port=vif1.0", strings.NewReader("{}")); status != 200 || body != `{"entries":1}` {
		t.Errorf("flush of a port: %d %q", status, body)
	}
}

func TestNothingIsAnEmptyListNotNull(t *testing.T) {
	d := start(t, &controltest.Switch{})
	for path, want := range map[string]string{
		"/v1/networks": `[]`,
		"/v1/ports":    `[]`,
		"/v1/fdb":      `[]`,
		"/v1/vlans":    `[]`,
		"/v1/leases":   `[]`,
		"/v1/dns":      `[]`,
		"/v1/stats":    `{"ports":[],"networks":[]}`,
	} {
		if status, _, body := d.request(t, "GET", path, nil); status != 200 || body != want {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
}

// failing is a switch whose every second thought is a bug.
type failing struct{ controltest.Switch }

func (*failing) Status() control.Status { panic("status\x1b[2J") }
func (*failing) Reload() (control.Reloaded, error) {
	return control.Reloaded{}, errors.New("disk full")
}
func (*failing) DelPort(string) error {
	return fmt.Errorf("detach: %w", control.Errorf(control.CodeRefused, "busy"))
}

func TestPanicIsAnsweredAndTheDaemonLives(t *testing.T) {
	d := start(t, &failing{})
	status, _, body := d.request(t, "GET", "/v1/status", nil)
	if status != 500 || !strings.Contains(body, `"code":"internal"`) {
		t.Errorf("panic: %d %s", status, body)
	}
	if !strings.Contains(d.log.String(), `panic="status\x1b[2J"`) {
		t.Errorf("the log does not tell of the panic:\n%s", d.log)
	}
	if status, _, body := d.request(t, "POST", "/v1/reload", nil); status != 500 || !strings.Contains(body, "disk full") {
		t.Errorf("an error without a code: %d %s", status, body)
	}
	if status, _, body := d.request(t, "DELETE", "/v1/ports/a", nil); status != 422 || !strings.Contains(body, `"detach: busy"`) {
		t.Errorf("a wrapped Error: %d %s", status, body)
	}
	if _, err := d.client.Ports(context.Background()); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	d := seeded(t)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			client := control.NewClient(d.socket)
			defer client.Close()
			ctx, name := context.Background(), fmt.Sprintf("vif%d.0", 100+i)
			for range 10 {
				_, err1 := client.AddPort(ctx, control.PortSpec{Name: name, Network: "lab"})
				_, err2 := client.Port(ctx, name)
				_, err3 := client.Stats(ctx, []string{name})
				if err := errors.Join(err1, err2, err3, client.DelPort(ctx, name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
