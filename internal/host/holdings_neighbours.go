package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	neighbourHeader = unix.SizeofNdMsg
	nexthopHeader   = 8 // struct nhmsg
)

// readNeighbours reads what an administrator has entered: permanent neighbours and
// proxy entries.
func (h *Holdings) readNeighbours() error {
	for _, flags := range []byte{0, unix.NTF_PROXY} {
		all, err := h.neighbours(flags)
		if err != nil {
			return err
		}
		for _, n := range all {
			if flags != 0 || neighbourState(n)&unix.NUD_PERMANENT != 0 {
				h.Neighbours = append(h.Neighbours, n)
			}
		}
	}
	return nil
}

// neighbours lists those of the link, or with NTF_PROXY its proxy entries.
func (h *Holdings) neighbours(flags byte) ([][]byte, error) {
	head := header(neighbourHeader, unix.AF_UNSPEC)
	head[10] = flags // ndm_flags
	all, err := list(unix.RTM_GETNEIGH, unix.RTM_NEWNEIGH, head)
	if err != nil {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	return slices.DeleteFunc(all, func(n []byte) bool {
		return len(n) < neighbourHeader || n[0] != unix.AF_INET && n[0] != unix.AF_INET6 ||
			int(binary.NativeEndian.Uint32(n[4:])) != h.Index || n[10]&unix.NTF_PROXY != flags
	}), nil
}

func neighbourState(n []byte) uint16 { return binary.NativeEndian.Uint16(n[8:]) }

// introduce tells a link the neighbours that the kernel has found by the holdings'
// link, as ones to be verified. Else it would ask for them while frames still come to
// the other link, and wait a second for an answer that it does not hear. What can't
// be told is asked for after all.
func (h Holdings) introduce(to Link) {
	all, err := h.neighbours(0)
	if err != nil {
		return
	}
	for _, n := range all {
		if neighbourState(n)&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE) == 0 {
			continue
		}
		n = neighbourOn(n, to.Index)
		binary.NativeEndian.PutUint16(n[8:], unix.NUD_STALE)
		_ = send(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, n)
	}
}

func neighbourOn(n []byte, to int) []byte {
	h, attrs, err := split(n, neighbourHeader)
	if err != nil {
		return n // the kernel will say so
	}
	binary.NativeEndian.PutUint32(h[4:], uint32(to))
	var kept []attr
	for _, a := range attrs {
		if a.id() != unix.NDA_CACHEINFO && a.id() != unix.NDA_PROBES {
			kept = append(kept, a)
		}
	}
	return join(h, kept)
}

func neighbourText(n []byte) string {
	_, attrs, _ := split(n, neighbourHeader)
	dst, _ := find(attrs, unix.NDA_DST)
	return prefixText(n[0], dst, 8*len(dst.value))
}

// readNexthops reads the nexthop objects (ip-nexthop(8)) on the link. Routes by them
// follow where they go.
func (h *Holdings) readNexthops() error {
	all, err := list(unix.RTM_GETNEXTHOP, unix.RTM_NEWNEXTHOP, header(nexthopHeader, unix.AF_UNSPEC))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list nexthops: %w", err)
	}
	for _, n := range all {
		_, attrs, err := split(n, nexthopHeader)
		if err != nil {
			return err
		}
		if oif, ok := find(attrs, unix.NHA_OIF); ok && oif.u32() == h.Index {
			h.Nexthops = append(h.Nexthops, n)
		}
	}
	return nil
}

func nexthopOn(n []byte, to int) []byte {
	h, attrs, err := split(n, nexthopHeader)
	if err != nil {
		return n // the kernel will say so
	}
	h[1] = 0 // nh_scope, which the kernel alone sets
	binary.NativeEndian.PutUint32(h[4:], binary.NativeEndian.Uint32(h[4:])&unix.RTNH_F_ONLINK)
	var kept []attr
	for _, a := range attrs {
		switch a.id() {
		case unix.NHA_OIF:
			a = u32Attr(unix.NHA_OIF, uint32(to))
		case unix.NHA_ID, unix.NHA_GATEWAY, unix.NHA_ENCAP, unix.NHA_ENCAP_TYPE:
		default:
			continue
		}
		kept = append(kept, a)
	}
	return join(h, kept)
}

func nexthopText(n []byte) string {
	_, attrs, _ := split(n, nexthopHeader)
	id, _ := find(attrs, unix.NHA_ID)
	return fmt.Sprint(id.u32())
}
