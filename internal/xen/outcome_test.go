package xen

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"gxswitch/internal/xen/xentest"
)

const (
	backend1  = "/local/domain/0/backend/vif/1/0"
	frontend1 = "/local/domain/1/device/vif/0"
)

func TestConnectedTellsTheGuestItsMTUAndThenNetback(t *testing.T) {
	s, c := connect(t)
	s.AddVif(1, 0, "web1", nil)
	for range 2 { // online is idempotent
		if err := Connected(t.Context(), c, ID{1, 0}, 1400); err != nil {
			t.Fatal(err)
		}
	}
	once := []xentest.Write{{Path: frontend1 + "/mtu", Value: "1400"}, {Path: backend1 + "/hotplug-status", Value: "connected"}}
	if got, want := s.Writes(), append(once, once...); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestConnectedWithoutAnMTUWritesNone(t *testing.T) {
	s, c := connect(t)
	s.AddVif(1, 0, "web1", nil)
	if err := Connected(t.Context(), c, ID{1, 0}, 0); err != nil {
		t.Fatal(err)
	}
	if s.Exists(frontend1+"/mtu") || s.Value(backend1+"/hotplug-status") != "connected" {
		t.Errorf("%v", s.Writes())
	}
}

func TestFailedWritesEachKeyOnce(t *testing.T) {
	s, c := connect(t)
	s.AddVif(1, 0, "web1", nil)
	e := wrong("write it otherwise", "not so").of("ip", "a\nb")
	if err := Failed(t.Context(), c, ID{1, 0}, Message(fmt.Errorf("read vif1.0: %w", e))); err != nil {
		t.Fatal(err)
	}
	want := []xentest.Write{
		{Path: backend1 + "/hotplug-error", Value: `read vif1.0: ip: "a\nb": not so; write it otherwise`},
		{Path: backend1 + "/hotplug-status", Value: "error"},
	}
	if got := s.Writes(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestMessagesBecomeOneLineOfBoundedLength(t *testing.T) {
	s, c := connect(t)
	s.AddVif(1, 0, "web1", nil)
	for _, c2 := range []struct{ message, want string }{
		{"two\nlines\r\n\tand\x1b[2J \x00 more", "two lines and?[2J ? more"},
		{"not UTF-8: \xff", "not UTF-8: ?"},
		{strings.Repeat("ä", 5000), strings.Repeat("ä", 512) + "…"},
		{"", ""},
	} {
		if err := Failed(t.Context(), c, ID{1, 0}, c2.message); err != nil {
			t.Fatal(err)
		}
		if got := s.Value(backend1 + "/hotplug-error"); got != c2.want {
			t.Errorf("%.40q: %.80q, want %.80q", c2.message, got, c2.want)
		}
	}
}

func TestVifThatWentGetsNoKeys(t *testing.T) {
	s, c := connect(t)
	for _, tell := range []func() error{
		func() error { return Connected(t.Context(), c, ID{1, 0}, 1500) },
		func() error { return Failed(t.Context(), c, ID{1, 0}, "no") },
	} {
		if err := tell(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "vif1.0") {
			t.Errorf("%v", err)
		}
	}
	// A guest that removed its own directory does not get it back.
	s.AddVif(1, 0, "web1", nil)
	s.Remove(frontend1)
	if err := Connected(t.Context(), c, ID{1, 0}, 1500); err != nil || s.Exists(frontend1) {
		t.Errorf("%v", err)
	}
	if s.Exists(frontend1) || s.Value(backend1+"/hotplug-status") != "connected" {
		t.Errorf("%v", s.Writes())
	}
}

func TestOutcomeIsToldWhollyOrNotAtAll(t *testing.T) {
	for _, f := range []xentest.Fault{xentest.Cut, xentest.HungUp, xentest.OtherID, xentest.NoMemory} {
		const requests = 7
		for n := range requests {
			s, c := connect(t)
			s.AddVif(1, 0, "web1", nil)
			s.Misbehave(f, n)
			err := Connected(t.Context(), c, ID{1, 0}, 1500)
			if told := s.Value(backend1+"/hotplug-status") == "connected" && s.Exists(frontend1+"/mtu"); err == nil || told != (n == requests-1) {
				t.Errorf("fault %d after %d answers: %v, and told is %v", f, n, err, told)
			}
			s.Close()
		}
	}
}

// netback reads rate when the guest connects, which is after it was told so. What
// comes later, such as a second online, must find it all the same.
func TestARateIsOutOfNetbacksSightBeforeItLooks(t *testing.T) {
	s, c := connect(t)
	s.AddVif(1, 0, "web1", map[string]string{"rate": "250000,20000"})
	for range 2 {
		v, err := ReadVif(t.Context(), c, ID{1, 0})
		if err != nil || v.Rate.String() != "100Mb/s@20ms" {
			t.Fatalf("%v, %v", v.Rate, err)
		}
		if err := Connected(t.Context(), c, ID{1, 0}, 0); err != nil {
			t.Fatal(err)
		}
		if s.Exists(backend1+"/rate") || s.Value(backend1+"/hotplug-status") != "connected" {
			t.Errorf("%v", s.Writes())
		}
	}
	all := s.Writes()
	if first := all[0]; first != (xentest.Write{Path: backend1 + "/gxswitch-rate", Value: "250000,20000"}) {
		t.Errorf("%v", all)
	}
}

func TestAFailedSecondCallDisconnectsNobody(t *testing.T) {
	s, c := connect(t)
	s.AddVif(1, 0, "web1", map[string]string{"hotplug-status": "connected"})
	if err := Failed(t.Context(), c, ID{1, 0}, "no"); err != nil {
		t.Fatal(err)
	}
	if got := s.Value(backend1 + "/hotplug-status"); got != "connected" {
		t.Errorf("%q", got)
	}
	if got := s.Value(backend1 + "/hotplug-error"); got != "no" {
		t.Errorf("%q", got)
	}
}
