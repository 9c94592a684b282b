package host

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Takeover is a network card's IP configuration on its way to a network's host
// leg, there, or on its way back. It is what a journal keeps: written down before
// each phase, it leads to a whole configuration whatever happens then.
//
//	phase        where addresses and routes are                    after a crash
//	taking       the card's, perhaps the leg's too                 Return
//	taken        the leg's; the card is sealed and has none        adopt the leg, or PlanReturn and Return
//	returning    the leg's, perhaps the card's too                 Return
//
// At no moment an address is neither's, so that connections live on.
type Takeover struct {
	Network string   `json:"network"`
	Phase   Phase    `json:"phase"`
	NIC     Link     `json:"nic"` // before
	Was     Sealed   `json:"was"`
	GenMode string   `json:"addr_gen_mode"` // IPv6's, of the card
	Has     Holdings `json:"has"`           // what is moved, as it was where it came from

	step func(string) // for tests: told after each step
}

// Phase is how far a takeover is.
type Phase string

// The phases.
const (
	Taking    Phase = "taking"
	Taken     Phase = "taken"
	Returning Phase = "returning"
)

// PlanTakeover reads what is to be moved and changes nothing. It refuses a card
// with interfaces on top, which the seal would cut off.
func PlanTakeover(network string, nic Link) (*Takeover, error) {
	t, err := planTakeover(network, nic)
	if err != nil {
		return nil, fmt.Errorf("take over %s: %w", nic.Name, err)
	}
	return t, nil
}

func planTakeover(network string, nic Link) (*Takeover, error) {
	if err := refuseUppers(nic); err != nil {
		return nil, err
	}
	t := &Takeover{Network: network, Phase: Taking, NIC: nic}
	var err error
	if t.Was, err = inspect(nic.Index); err != nil {
		return nil, err
	}
	if t.GenMode, err = readIPv6(nic.Index, genMode); err != nil {
		return nil, err
	}
	t.Has, err = readHoldings(nic)
	return t, err
}

// Take moves the configuration to the leg. Once both ends have it, so that nothing
// is lost whichever the frames arrive at, it calls turn: from then on the switch
// is to bring the host's frames to the leg. What fails is undone, turn by back.
//
// The leg keeps what it has besides. Its IPv4 and IPv6 settings become the card's.
func (t *Takeover) Take(leg Leg, turn, back func()) error {
	err := t.take(leg, turn)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("take over %s: %w", t.NIC.Name, err)
	undo := t.giveBack(leg.Host, back)
	if !leg.Host.AdminUp {
		undo = errors.Join(undo, SetUp(leg.Host.Index, false))
	}
	if undo != nil {
		err = errors.Join(err, fmt.Errorf("give back to %s: %w", t.NIC.Name, undo))
	}
	return err
}

func (t *Takeover) take(leg Leg, turn func()) error {
	if err := t.dress(leg); err != nil {
		return err
	}
	turn()
	t.told("turned")
	if err := Seal(t.NIC); err != nil {
		return err
	}
	t.told("sealed")
	if err := t.Has.removeFrom(t.NIC, t.told); err != nil {
		return err
	}
	t.told("removed")
	has, err := readHoldings(leg.Host)
	if err != nil {
		return err
	}
	t.Phase, t.Has = Taken, has
	return nil
}

// dress gives the leg the card's MAC, settings and all that it has.
func (t *Takeover) dress(leg Leg) error {
	if err := SetMAC(leg.Host, t.NIC.MAC); err != nil {
		return err
	}
	if err := copySettings(t.NIC, leg.Host); err != nil {
		return err
	}
	off := "0"
	if t.Was.IPv6WasDisabled {
		off = "1"
	}
	// The kernel is not to make the link-local address, and to try it for a second.
	err := errors.Join(setIPv6(leg.Host.Index, genMode, genModeNone), setIPv6(leg.Host.Index, "disable_ipv6", off),
		SetUp(leg.Host.Index, true))
	if err == nil {
		err = awaitOperational(leg.Host, leg.Inner)
	}
	if err != nil {
		return err
	}
	t.told("leg up")
	if err := t.Has.addTo(leg.Host, false, t.told); err != nil {
		return err
	}
	if t.GenMode == "" {
		return nil
	}
	return setIPv6(leg.Host.Index, genMode, t.GenMode)
}

// Renew gives a leg that was made anew what the one before had.
func (t *Takeover) Renew(leg Leg) error {
	if err := t.dress(leg); err != nil {
		return fmt.Errorf("give %s the addresses of %s: %w", leg.Host.Name, t.NIC.Name, err)
	}
	has, err := readHoldings(leg.Host)
	if err == nil {
		t.Has = has
	}
	return err
}

// PlanReturn notes what the leg has now, for Return. It is to be called once
// everything is taken, and the result written down.
func (t *Takeover) PlanReturn(leg Link) error {
	if t.Phase != Taken {
		return nil
	}
	if leg.Index != 0 {
		has, err := readHoldings(leg)
		if err != nil {
			return err
		}
		t.Has = has
	}
	if t.Was.IPv6WasDisabled {
		t.Has.dropIPv6()
	}
	t.Phase = Returning
	return nil
}

// Return moves everything back to the card and unseals it, from whatever state
// Take or an earlier Return had come to. It calls turn when the switch is to leave
// the host's frames to the card again. A leg that is gone is the zero Link.
//
// A card that is gone is ErrNoLink: what it had stays on the leg.
func (t *Takeover) Return(leg Link, turn func()) error {
	if err := t.giveBack(leg, turn); err != nil {
		return fmt.Errorf("give back to %s: %w", t.NIC.Name, err)
	}
	return nil
}

func (t *Takeover) giveBack(leg Link, turn func()) error {
	nic, err := LinkByIndex(t.NIC.Index)
	if err != nil {
		return err
	}
	ipv6 := !t.Was.IPv6WasDisabled
	if ipv6 {
		// The kernel is not to make a link-local address of its own, and to try it for
		// a second.
		err = errors.Join(setIPv6(nic.Index, genMode, genModeNone), setIPv6(nic.Index, "disable_ipv6", "0"))
		if err != nil {
			return err
		}
	}
	t.told("IPv6 on")
	if err := t.Has.addTo(nic, true, t.told); err != nil {
		return err
	}
	if err := Unseal(nic, t.Was); err != nil {
		return err
	}
	t.told("unsealed")
	turn()
	t.told("turned")
	if leg.Index != 0 {
		if err := t.Has.removeFrom(leg, t.told); err != nil && !errors.Is(err, ErrNoLink) {
			return err
		}
	}
	if !ipv6 {
		return nil
	}
	if t.GenMode != "" {
		if err := setIPv6(nic.Index, genMode, t.GenMode); err != nil {
			return err
		}
	}
	t.told("removed")
	return t.Has.removeOther(nic)
}

func (t *Takeover) told(step string) {
	if t.step != nil {
		t.step(step)
	}
}

// The kernel's sysctl, and its IN6_ADDR_GEN_MODE_NONE.
const (
	genMode     = "addr_gen_mode"
	genModeNone = "1"
)

// awaitOperational waits until frames pass the two ends of a new pair. A link that
// came up has a queue that drops everything until the kernel's worker has seen its
// carrier (linkwatch_do_dev, dev_activate), which for a pair is at once.
func awaitOperational(ends ...Link) error {
	const patience, pause = 2 * time.Second, time.Millisecond
	deadline := time.Now().Add(patience)
	for _, end := range ends {
		for {
			l, err := netlink.LinkByIndex(end.Index)
			if err != nil {
				return fmt.Errorf("%s: %w", end.Name, asNoLink(err))
			}
			if l.Attrs().OperState == netlink.OperUp {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s does not come up", end.Name)
			}
			time.Sleep(pause)
		}
	}
	return nil
}

// EnsureTakeoverLeg is EnsureLeg for a network that takes over its uplink: the
// leg's addresses, and what was set of its IPv6, are left alone. A new one is down
// until it is given the card's MAC: what it answered before would be remembered.
func EnsureTakeoverLeg(network string, mtu int) (Leg, error) {
	leg, err := ensureLeg(network, legSettings{mtu: mtu, takeover: true})
	if err != nil {
		return Leg{}, fmt.Errorf("host interface of network %s: %w", network, err)
	}
	return leg, nil
}

// refuseUppers looks for interfaces that get their frames by way of the card: the
// seal drops those before they are handed up (__netif_receive_skb_core).
func refuseUppers(nic Link) error {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		a := l.Attrs()
		switch l.Type() {
		case "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap":
			if a.ParentIndex == nic.Index && a.NetNsID < 0 {
				return fmt.Errorf("interface %s stands on %s and would be cut off; make it on the network's interface instead", a.Name, nic.Name)
			}
		}
	}
	return nil
}

// settings that a link keeps for itself.
func ownSetting(name string) bool {
	switch name {
	case "disable_ipv6", genMode, // see dress
		"mtu",           // of IPv6; follows the link's
		"mc_forwarding", // the multicast routing daemon's
		"stable_secret": // can't be read unless set, and then decides addr_gen_mode
		return true
	}
	return false
}

// copySettings gives a link the per-interface sysctls of another: rp_filter,
// forwarding, accept_ra and the like are about the network behind it.
func copySettings(from, to Link) error {
	for _, family := range []string{"/proc/sys/net/ipv4/conf/", ipv6Conf} {
		files, err := os.ReadDir(family + from.Name)
		if errors.Is(err, os.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return err
		}
		for _, f := range files {
			if ownSetting(f.Name()) {
				continue
			}
			was, err := os.ReadFile(family + from.Name + "/" + f.Name())
			if err != nil {
				continue // not for reading
			}
			now, err := os.ReadFile(family + to.Name + "/" + f.Name())
			if err != nil || string(now) == string(was) {
				continue
			}
			if err := os.WriteFile(family+to.Name+"/"+f.Name(), was, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("set %s of %s: %w", f.Name(), to.Name, err)
			}
		}
	}
	return nil
}

// HasAddrs reports whether a link has addresses. Those that the kernel makes for
// every link count too.
func HasAddrs(l Link) (bool, error) {
	h := Holdings{Name: l.Name, Index: l.Index}
	err := h.readAddrs()
	return len(h.Addrs) > 0, err
}
