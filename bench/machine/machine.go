// Package machine says what the bench ran on and what the run cost: facts for
// the report, processor time of the whole machine, memory.
package machine

import (
	"bufio"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Facts are what a reader needs to judge figures.
type Facts struct {
	Date        time.Time `json:"date"`
	Kernel      string    `json:"kernel"`
	Arch        string    `json:"arch"`
	CPU         string    `json:"cpu"`
	Cores       int       `json:"cores"`
	MemoryMiB   uint64    `json:"memory_mib"`
	Governor    string    `json:"governor"`    // "" where the machine has none to choose, as most virtual ones
	Virtual     bool      `json:"virtual"`     // the processor says that a hypervisor is there
	Mitigations []string  `json:"mitigations"` // of processor bugs, which make system calls dear
	Go          string    `json:"go"`
	Revision    string    `json:"revision"` // that the gxswitch binary was built from, "+" with changes; "" if unknown
}

// Read gathers the facts. What can't be read is left out.
func Read(gxswitch string) Facts {
	f := Facts{
		Date: time.Now().UTC().Truncate(time.Second), Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(),
		Revision: revision(gxswitch),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name", "Model":
			f.CPU = strings.TrimSpace(value)
		case "flags":
			f.Virtual = strings.Contains(value+" ", " hypervisor ")
		}
	}
	if kib, err := memInfo("MemTotal"); err == nil {
		f.MemoryMiB = kib >> 10
	}
	if b, err := os.ReadFile("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"); err == nil {
		f.Governor = strings.TrimSpace(string(b))
	}
	f.Mitigations = mitigations()
	return f
}

func mitigations() []string {
	const dir = "/sys/devices/system/cpu/vulnerabilities"
	list := []string{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		b, err := os.ReadFile(dir + "/" + e.Name())
		if what, ok := strings.CutPrefix(string(b), "Mitigation: "); err == nil && ok {
			list = append(list, e.Name()+": "+strings.TrimSpace(what))
		}
	}
	return list
}

// revision is what the Go toolchain wrote into the binary, or, where it was told
// not to, what git says of the working directory.
func revision(binary string) string {
	if rev := built(binary); rev != "" {
		return rev
	}
	out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return ""
	}
	rev := strings.TrimSpace(string(out))
	if out, err := exec.Command("git", "status", "--porcelain").Output(); err != nil || len(out) > 0 {
		rev += "+"
	}
	return rev
}

func built(binary string) string {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return ""
	}
	rev, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	if rev == "" {
		return ""
	}
	return rev + changed
}

// Clock is the processors' time since the machine started.
type Clock struct {
	at    time.Time
	idle  time.Duration
	steal time.Duration
}

// Now reads the clock.
func Now() (Clock, error) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return Clock{}, err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		return Clock{}, fmt.Errorf("/proc/stat: %w", err)
	}
	return parseClock(time.Now(), line)
}

// parseClock reads the line "cpu user nice system idle iowait irq softirq steal
// guest guest_nice" of proc_stat(5).
func parseClock(now time.Time, line string) (Clock, error) {
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return Clock{}, fmt.Errorf("/proc/stat: %q", line)
	}
	c := Clock{at: now}
	for i, to := range map[int]*time.Duration{4: &c.idle, 5: &c.idle, 8: &c.steal} {
		ticks, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return Clock{}, fmt.Errorf("/proc/stat: %w", err)
		}
		*to += time.Duration(ticks) * (time.Second / userHZ)
	}
	return c, nil
}

// userHZ is the unit of /proc/stat on every architecture that Go runs on.
const userHZ = 100

// Busy is the time that all processors together worked between two readings:
// what was neither idle nor stolen by the hypervisor. The kernel takes idle time
// by the clock, but busy time by sampling at its ticks, which sees a thread that
// runs between two of them not at all or for too long; so this is more exact
// than the sum of the busy columns.
func Busy(from, to Clock) time.Duration {
	all := to.at.Sub(from.at) * time.Duration(runtime.NumCPU())
	return max(0, all-(to.idle-from.idle)-(to.steal-from.steal))
}

// Stolen is the time that the hypervisor gave to others while this machine
// wanted it.
func Stolen(from, to Clock) time.Duration { return to.steal - from.steal }

// AvailableKiB is MemAvailable: what programs could still have.
func AvailableKiB() (uint64, error) { return memInfo("MemAvailable") }

func memInfo(key string) (uint64, error) {
	return kib("/proc/meminfo", key)
}

// PSSKiB is a process's proportional share of memory, rings that it has mapped
// included.
func PSSKiB(pid int) (uint64, error) {
	return kib(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss")
}

// kib finds the line "Key:  123 kB".
func kib(file, key string) (uint64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			return strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return 0, errors.New(file + ": no " + key)
}
