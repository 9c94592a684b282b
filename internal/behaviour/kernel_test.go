package behaviour

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A denial makes the kernel look like another: bpf(2) of that command fails with
// that error, for the daemon and what it starts.
type denial struct {
	command uint32 // linux/bpf.h
	errno   unix.Errno
}

var (
	noTCX    = denial{unix.BPF_LINK_CREATE, unix.EINVAL} // Linux before 6.6
	noMemory = denial{unix.BPF_MAP_CREATE, unix.ENOMEM}
	memlock  = denial{unix.BPF_MAP_CREATE, unix.EPERM} // RLIMIT_MEMLOCK, before 5.11
	noBPF    = denial{unix.BPF_PROG_LOAD, unix.ENOSYS}
)

// denials is an environment variable of the test binary: it is to deny itself
// that, and to become the program that its arguments are.
const denials = "BEHAVIOUR_DENY"

// without makes the lab's daemons run on a kernel that denies that, and says nothing
// of its own types (CONFIG_DEBUG_INFO_BTF).
func (l *lab) without(all ...denial) {
	var text []string
	for _, d := range all {
		text = append(text, fmt.Sprintf("%d:%d", d.command, d.errno))
	}
	l.denied = strings.Join(text, ",")
}

// become does what denials says, and does not return.
func become(text string, args []string) {
	runtime.LockOSThread() // the filter is the thread's that calls execve
	for one := range strings.SplitSeq(text, ",") {
		var d denial
		if _, err := fmt.Sscanf(one, "%d:%d", &d.command, &d.errno); err == nil {
			err = d.install()
			if err != nil {
				fmt.Fprintln(os.Stderr, "seccomp:", err)
				os.Exit(1)
			}
		}
	}
	os.Unsetenv(denials)
	fmt.Fprintln(os.Stderr, syscall.Exec(args[0], args, os.Environ()))
	os.Exit(1)
}

// install is seccomp(2): struct seccomp_data begins with nr, arch, 8 bytes of
// instruction pointer, args.
func (d denial) install() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_BPF, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: d.command, Jf: 1},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO | uint32(d.errno)},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return errno
	}
	return nil
}

// On a kernel without tcx and BTF the program is a filter on clsact: it forwards, outlives
// the daemon, is adopted, and goes with the qdisc that came with it.
func TestEngineWithoutTCX(t *testing.T) {
	l := newLab(t, "ebpf")
	g1, _ := l.guest(1), l.guest(2)
	l.without(noTCX)
	before := mustRun(t, l.host, "tc", "qdisc", "show")
	l.start(isolated)
	l.engines("ebpf", "p1", "p2")
	if f := mustRun(t, l.host, "tc", "filter", "show", "dev", "p1", "ingress"); !strings.Contains(f, "gxswitch-fast") {
		t.Errorf("no filter:\n%s", f)
	}
	talk(t, g1, guestIP(2))
	l.inKernel(g1, 1, 2)

	p := startPings(t, g1, guestIP(2), "0.001")
	l.daemon.end(t, syscall.SIGKILL)
	talk(t, g1, guestIP(2))
	l.start(isolated)
	l.inKernel(g1, 1, 2)
	p.lost(t, 0)
	l.daemon.end(t, syscall.SIGTERM)
	if after := mustRun(t, l.host, "tc", "qdisc", "show"); after != before {
		t.Errorf("qdiscs before:\n%safter:\n%s", before, after)
	}
}

// Where the engine can't be had, its refusal says what is missing and what to do,
// and nothing is left behind.
func TestEngineThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		denied denial
		says   string
	}{
		{"no memory for maps", noMemory, "no memory for its maps"},
		{"RLIMIT_MEMLOCK", memlock, "RLIMIT_MEMLOCK"},
		{"no eBPF", noBPF, "the kernel lacks what it needs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "ebpf")
			l.guest(1)
			l.without(tt.denied)
			l.write("gxswitch.toml", isolated)
			d := l.launch()
			<-d.done
			if out := d.log.String(); !strings.Contains(out, tt.says) || !strings.Contains(out, "hint: --engine afpacket") {
				t.Errorf("the daemon said:\n%s", out)
			}
			if links := mustRun(t, l.host, "ip", "-o", "link"); strings.Contains(links, "gxp") {
				t.Errorf("interfaces are left:\n%s", links)
			}
			if pins := mustRun(t, l.host, "find", l.path("run/bpf"), "-name", "gx_*"); pins != "" {
				t.Errorf("pins are left:\n%s", pins)
			}
		})
	}
}
