package dataplane

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"gxswitch/internal/frame"
)

// More ports are busy than a worker looks at without being told: each gets its
// turn.
func TestMoreBusyPortsThanHotOnes(t *testing.T) {
	const ports, rounds = 3*maxHot + 7, 5
	l := newLab(t)
	l.network(NetworkConfig{Name: "crowd"})
	for i := range ports {
		l.attach(PortConfig{Name: fmt.Sprint(i), Network: "crowd", MTU: 1500, Up: true})
	}
	for i := range ports {
		l.ports[fmt.Sprint(i)].Discard()
	}
	for round := range rounds {
		for i := range ports {
			l.inject(fmt.Sprint(i), nil, unhex(t, fmt.Sprintf("%s 020000%02x%04x %s", all, round, i, payload)), 1)
		}
		if round%2 == 0 {
			l.settle()
		}
	}
	l.settle()
	for i := range ports {
		if st := l.stats(fmt.Sprint(i)); st.Flooded != rounds || st.TxPackets != rounds*(ports-1) {
			t.Fatalf("port %d: %d flooded, %d sent", i, st.Flooded, st.TxPackets)
		}
	}
	l.checkSums()
}

// One port that always has frames does not keep another, of the same worker,
// waiting.
func TestBusyPortLeavesRoom(t *testing.T) {
	l := newLab(t, "a", "b", "c", "d") // a and c share a worker, b and d
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		data := unhex(t, stA+stA+payload) // same_port
		for {
			select {
			case <-stop:
				return
			default:
			}
			for range 200 { // three batches
				l.ports["a"].Inject(nil, data)
			}
			runtime.Gosched()
		}
	})
	defer wg.Wait()
	defer close(stop)
	for i := range uint32(50) {
		l.ports["c"].Inject(nil, numberedFrame(t, all, stC, i))
		for end := time.Now().Add(5 * time.Second); len(l.ports["b"].Sent()) == 0; {
			if time.Now().After(end) {
				t.Fatalf("frame %d of the quiet port waits", i)
			}
		}
	}
}

// A guest that invents addresses fills a bounded table with its own, and does
// not get to see what others say to each other.
func TestFloodOfAddresses(t *testing.T) {
	const invented, limit = 200_000, 1024
	l := newLab(t)
	if err := l.sw.SetNetwork(NetworkConfig{Name: "n", FDBLimit: limit}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"attacker", "a", "b"} {
		l.attach(PortConfig{Name: name, Network: "n", MTU: 1500, Up: true})
	}
	own := "020000000001"
	if err := l.sw.AddFDB("attacker", 1, mac(t, own)); err != nil {
		t.Fatal(err)
	}
	l.send("a", all+stA+payload)
	l.expect("", all+stA+payload, "attacker", "b")
	l.send("b", all+stB+payload)
	l.expect("", all+stB+payload, "attacker", "a")
	data := unhex(t, own+own+payload)
	for i := range uint32(invented) {
		// To itself, so that nobody's port has to take the frames.
		binary.BigEndian.PutUint32(data[8:], i*2654435761)
		l.inject("attacker", nil, data, 1)
		if i%1000 == 999 {
			l.settle()
		}
		if i%20_000 == 19_999 {
			l.send("a", stB+stA+payload)
			l.expect(fmt.Sprintf("after %d addresses", i+1), stB+stA+payload, "b")
			l.send("b", stA+stB+payload)
			l.expect(fmt.Sprintf("after %d addresses", i+1), stA+stB+payload, "a")
		}
	}
	for _, st := range l.sw.NetworkStats() {
		if st.FDBEntries > limit {
			t.Errorf("%d entries, the limit is %d", st.FDBEntries, limit)
		}
	}
	if st := l.stats("attacker"); st.RxDrops[frame.SamePort] != invented {
		t.Errorf("the attacker's frames: %+v", st)
	}
	l.checkSums()
}
