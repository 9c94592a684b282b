// Package imports has no code. Its test keeps the laws of the house that a
// compiler does not: who may know whom, who may speak to the kernel, and that
// rules need neither clock nor goroutine.
//
// The linter keeps the same laws (.golangci.yml) and marks the line that breaks
// one. This is the table to read, and to change first when a package comes.
package imports

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "gxswitch/"

// room is one package and what it may import besides the standard library. A
// path that ends in /... is a package and those below it.
type room struct {
	path   string // within the module
	uses   string // packages of the module
	libs   string // libraries, by the beginning of their paths
	kernel string // why it may speak to the kernel; "" if it may not
	rules  bool   // law 1: it is rules alone, see pure
}

// Law 1: a rule room opens no socket, starts no goroutine and reads no clock.
// Law 2: siblings do not know each other, but that a gateway is made of NAT;
// dataplane joins those that frames pass through, and internal/daemon joins the
// switch with links, configuration and API. Law 3: few rooms speak to the kernel,
// and each says why.
var house = []room{
	{path: "internal/frame", rules: true},
	{path: "fdb", uses: "internal/frame", rules: true},
	{path: "internal/vlan", rules: true},
	{path: "internal/filter", uses: "internal/frame", rules: true},
	{path: "internal/lease", uses: "internal/frame", rules: true},
	{path: "shaping", rules: true},
	{path: "nat", uses: "internal/frame", rules: true},
	{path: "internal/gateway", uses: "internal/frame nat", rules: true},

	{path: "ports", uses: "internal/frame",
		kernel: "a port is a packet socket"},
	{path: "ports/porttest", uses: "internal/frame ports",
		kernel: "the suite polls a port's descriptor as a worker does"},
	{path: "dataplane", uses: "fdb internal/fastpath internal/filter internal/frame internal/gateway internal/vlan nat ports shaping",
		kernel: "a worker waits, in worker.go and rest.go: epoll, ppoll and eventfd, on descriptors that ports gave it"},

	{path: "internal/fastpath", uses: "fdb internal/frame internal/vlan ports",
		kernel: "it is the engine in the kernel"},

	{path: "internal/config", uses: "internal/filter internal/frame internal/lease internal/vlan nat shaping", libs: "github.com/pelletier/go-toml/v2"},
	{path: "internal/host", uses: "internal/frame",
		kernel: "links, addresses, tc and sysctls are its job"},
	{path: "internal/control", uses: "internal/filter internal/frame internal/vlan shaping",
		kernel: "the peer's credentials, the socket's lock and its mode"},
	{path: "internal/control/controltest", uses: "internal/control internal/filter internal/frame internal/vlan shaping"},
	{path: "internal/daemon",
		uses:   "dataplane fdb internal/config internal/control internal/dhcpd internal/dnsd internal/fastpath internal/filter internal/frame internal/gateway internal/host internal/lease internal/version internal/vlan internal/xen nat ports shaping",
		kernel: "signals, and one raw socket that is opened and closed to learn whether it may"},
	{path: "internal/dhcpd", uses: "internal/frame internal/lease",
		libs:   "github.com/insomniacslk/dhcp/dhcpv4 github.com/insomniacslk/dhcp/iana golang.org/x/net/bpf",
		kernel: "in socket.go: packet sockets on the host's leg, for whole frames, and a UDP socket bound to it"},
	{path: "internal/dnsd", libs: "github.com/miekg/dns golang.org/x/net/bpf",
		kernel: "in socket.go: sockets are bound to an interface and to an address that may come later"},
	// xenstored is reached over a unix socket: the standard library's net is all
	// that speaks to the machine there.
	{path: "internal/xen", uses: "internal/frame internal/vlan shaping"},
	{path: "internal/xen/xentest"},
	{path: "internal/doctor", uses: "internal/config internal/control internal/host ports"},
	{path: "internal/hotplug", uses: "internal/control internal/xen"},
	{path: "internal/realxen"}, // inside of a real dom0, its tests alone
	{path: "internal/version"},

	{path: "internal/testnet", uses: "internal/frame internal/host",
		kernel: "namespaces and veth pairs are its job"},
	{path: "internal/testnet/nettest", uses: "internal/testnet"},
	{path: "internal/behaviour"},
	{path: "internal/demo", uses: "internal/config internal/control internal/testnet",
		libs: "golang.org/x/net/icmp golang.org/x/net/ipv4"},

	{path: "cmd/gxswitch",
		uses: "internal/config internal/control internal/daemon internal/demo internal/doctor internal/filter internal/frame internal/hotplug internal/version internal/vlan nat shaping",
		libs: "github.com/spf13/cobra github.com/spf13/pflag"},
	{path: "bench/...", uses: "bench/... internal/control internal/frame internal/host internal/testnet shaping",
		libs:   "github.com/HdrHistogram/hdrhistogram-go gonum.org/v1/plot",
		kernel: "it sends and counts frames past the switch, and measures the kernel's own bridge beside it"},
}

// kernelLibs are how one speaks to the kernel without the standard library.
var kernelLibs = []string{
	"golang.org/x/sys",
	"github.com/vishvananda",
	"github.com/cilium/ebpf",
	"github.com/mdlayher",
}

// pure is what a rule room may have of the standard library: values, no files,
// sockets or processes.
var pure = []string{
	"bytes", "cmp", "encoding", "errors", "fmt", "hash", "iter", "maps", "math", "net/netip",
	"slices", "sort", "strconv", "strings", "sync", "time", "unicode",
}

// clock is what of package time tells or waits for the time.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// pkg is what go list says of a package, without its tests.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, module) }

func TestImportsKeepTheLaws(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests alone, which may import what they like
		}
		at := slices.IndexFunc(house, func(r room) bool { return among(p.path(), r.path) })
		if at < 0 {
			t.Errorf("%s: the house has no such room: give it a row in this test, and a line in docs/architecture.md", p.path())
			continue
		}
		for _, i := range p.Imports {
			if why := house[at].forbids(i); why != "" {
				t.Errorf("%s imports %s: %s", p.path(), i, why)
			}
		}
	}
}

// forbids says why the room may not have the import, "" if it may.
func (r room) forbids(imp string) string {
	if own, ok := strings.CutPrefix(imp, module); ok {
		if among(own, r.uses) {
			return ""
		}
		return "the two do not know each other (law 2)"
	}
	if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
		if r.rules && !within(imp, pure) {
			return "a rule room needs nothing of the machine (law 1)"
		}
		return ""
	}
	if within(imp, kernelLibs) {
		if r.kernel == "" {
			return "the kernel is for others to speak to (law 3)"
		}
		return ""
	}
	if !within(imp, strings.Fields(r.libs)) {
		return "not one of its libraries"
	}
	return ""
}

// among reports whether the package is in a list of such.
func among(path, list string) bool {
	return slices.ContainsFunc(strings.Fields(list), func(l string) bool {
		tree, ok := strings.CutSuffix(l, "/...")
		return path == l || ok && within(path, []string{tree})
	})
}

// within reports whether the import is one of the paths or lies below one.
func within(imp string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		return imp == p || strings.HasPrefix(imp, p+"/")
	})
}

func TestRulesNeedNoClockAndNoGoroutine(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.ContainsFunc(house, func(r room) bool { return r.rules && r.path == p.path() }) {
			continue
		}
		for _, name := range p.GoFiles {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: a rule room starts no goroutine (law 1)", fset.Position(n.Pos()))
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
						t.Errorf("%s: a rule room reads no clock, time is an argument (law 1)", fset.Position(n.Pos()))
					}
				}
				return true
			})
		}
	}
}

// packages lists the module's.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		// What a test reads is what go test remembers its result by: without
		// this it would be a cached one after somebody's change.
		if _, err := os.ReadDir(p.Dir); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
