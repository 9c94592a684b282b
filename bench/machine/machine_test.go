package machine

import (
	"os"
	"runtime"
	"testing"
	"time"
)

func TestBusyIsWhatIsNeitherIdleNorStolen(t *testing.T) {
	start := time.Now()
	from, err := parseClock(start, "cpu  100 0 50 1000 10 0 5 7 0 0\n")
	if err != nil {
		t.Fatal(err)
	}
	n := runtime.NumCPU()
	// A second later: 0.3 s idle, 0.1 s waiting for a disk, 0.05 s stolen.
	to, err := parseClock(start.Add(time.Second), "cpu  150 0 100 1030 20 0 5 12 0 0\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Busy(from, to), time.Duration(n)*time.Second-450*time.Millisecond; got != want {
		t.Errorf("busy %v, want %v", got, want)
	}
	if got := Stolen(from, to); got != 50*time.Millisecond {
		t.Errorf("stolen %v, want 50ms", got)
	}
}

func TestClockRefusesWhatIsNoProcStat(t *testing.T) {
	for _, line := range []string{"", "cpu 1 2 3\n", "intr 1 2 3 4 5 6 7 8 9\n", "cpu a b c d e f g h i\n"} {
		if _, err := parseClock(time.Now(), line); err == nil {
			t.Errorf("%q was taken for a clock", line)
		}
	}
}

func TestFactsAreThere(t *testing.T) {
	f := Read(os.Args[0])
	if f.Kernel == "" || f.Cores < 1 || f.MemoryMiB == 0 || f.Go == "" {
		t.Errorf("facts are missing: %+v", f)
	}
	if n, err := AvailableKiB(); err != nil || n == 0 {
		t.Errorf("available memory %d KiB (%v)", n, err)
	}
	if n, err := PSSKiB(os.Getpid()); err != nil || n == 0 {
		t.Errorf("own memory %d KiB (%v)", n, err)
	}
}
