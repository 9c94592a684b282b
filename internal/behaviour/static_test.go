package behaviour

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gxswitch/internal/control"
)

// Static entries are with their ports whatever becomes of the daemon, until they are
// removed or the port is.
func TestStaticEntriesOutliveTheDaemon(t *testing.T) {
	bothEngines(t, testStaticEntriesOutliveTheDaemon)
}

func testStaticEntriesOutliveTheDaemon(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.guest(2)
	l.guest(3)
	l.guest(4)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	const mac = "02:00:00:00:00:"
	l.must("fdb", "add", mac+"02", "--port", "p2") // one that speaks
	l.must("fdb", "add", mac+"62", "--port", "p2") // one that does not
	l.must("fdb", "add", mac+"63", "--port", "p2", "--vlan", "20")
	l.must("fdb", "add", mac+"64", "--port", "p2") // to be removed
	l.must("fdb", "add", mac+"65", "--port", "p3") // whose port is to be
	l.must("fdb", "add", mac+"66", "--port", "p4") // whose interface is to be
	l.must("fdb", "del", mac+"64", "--network", "vault")
	l.must("port", "del", "p3")
	want := []string{"1 " + mac + "02 p2", "1 " + mac + "62 p2", "20 " + mac + "63 p2"}
	is := func(when string) {
		t.Helper()
		var got []string
		for _, e := range list[[]control.FDBEntry](l, "fdb", "list") {
			if e.Kind == "static" {
				got = append(got, fmt.Sprintf("%d %s %s", e.VLAN, e.MAC, e.Port))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: static are %v, want %v", when, got, want)
		}
	}
	for i, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGUSR1, syscall.SIGTERM} {
		l.daemon.end(t, sig)
		if i == 0 {
			mustRun(t, l.host, "ip", "link", "del", "p4")
		}
		l.start(isolated)
		is("after " + sig.String())
		talk(t, g1, guestIP(2))
	}
	l.daemon.end(t, syscall.SIGKILL)
	elsewhere := "[network.other]\nmode = \"isolated\"\n[[port]]\nname = \"p2\"\nnetwork = \"other\"\n"
	l.start(strings.Replace(isolated, "[[port]]\n", elsewhere+"[[port]]\n", 1))
	want = nil
	is("in another network")
}
