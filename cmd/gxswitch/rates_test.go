package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"regexp"
	"testing"

	"gxswitch/internal/control"
	"gxswitch/internal/control/controltest"
)

// ratesOf runs stats -i against a daemon until want lines have come, then
// interrupts it, as ^C does.
func ratesOf(t *testing.T, want int, args ...string) []string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "control.sock")
	server, err := control.Listen(control.ServerOptions{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, controltest.New()) }()
	t.Cleanup(func() { stop(); <-served; server.Close() })

	r, w := io.Pipe()
	defer r.Close()
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"--socket", socket, "stats", "-i", "0.1"}, args...), w, &stderr)
		w.Close()
	}()
	var lines []string
	in := bufio.NewScanner(r)
	for len(lines) < want && in.Scan() {
		lines = append(lines, in.Text())
	}
	interrupt()
	io.Copy(io.Discard, r)
	if status := <-ended; status != 0 || stderr.Len() > 0 {
		t.Errorf("exit status %d, %q", status, &stderr)
	}
	return lines
}

func TestRatesUntilInterrupted(t *testing.T) {
	// 1000 frames in 100 ms are ten thousand a second, less on a slow machine.
	row := regexp.MustCompile(`^vif1\.0  xenbr0   [0-9.]+k? +[0-9.]+[kM] +0 +0 +0 +0$`)
	const header = "PORT    NETWORK  RX_PPS  RX_BIT/S  RX_DROP/S  TX_PPS  TX_BIT/S  TX_DROP/S"
	lines := ratesOf(t, 5, "vif1.0")
	if len(lines) != 5 || lines[0] != header || !row.MatchString(lines[1]) || lines[2] != "" || lines[3] != header || !row.MatchString(lines[4]) {
		t.Errorf("got %q", lines)
	}
	for _, line := range ratesOf(t, 2, "vif1.0", "--no-header") {
		if !regexp.MustCompile(`^vif1\.0  xenbr0  [0-9.]+k?  `).MatchString(line) {
			t.Errorf("got %q", line)
		}
	}
}

func TestRatesAsJSONAreOneValueALine(t *testing.T) {
	lines := ratesOf(t, 3, "-j")
	if len(lines) != 3 {
		t.Errorf("got %q", lines)
	}
	for _, line := range lines {
		var v struct {
			IntervalS float64 `json:"interval_s"`
			Ports     []rate  `json:"ports"`
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil || len(v.Ports) != 3 {
			t.Fatalf("%q: %v", line, err)
		}
		// The rate times the interval is what the fake daemon counts each time.
		if got := v.Ports[2].RxPPS * v.IntervalS; got < 999.9 || got > 1000.1 {
			t.Errorf("%q: %v frames in the interval", line, got)
		}
		if got := v.Ports[2].RxBPS / v.Ports[2].RxPPS; got < 799.9 || got > 800.1 {
			t.Errorf("%q: %v bits a frame", line, got)
		}
	}
}

func TestRatesOfASharedUplinkAreOneForEachNetwork(t *testing.T) {
	reading := func(lab, lan uint64) control.Stats {
		return control.Stats{Ports: []control.PortStats{
			{Port: "eth1", Network: "lab", RxPackets: lab}, {Port: "eth1", Network: "lan", RxPackets: lan}}}
	}
	got := difference(reading(100, 5000), reading(300, 5004), 2)
	if len(got) != 2 || got[0].Network != "lab" || got[0].RxPPS != 100 || got[1].Network != "lan" || got[1].RxPPS != 2 {
		t.Errorf("got %+v", got)
	}
}
