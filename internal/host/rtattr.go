package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An object of rtnetlink (address, route, neighbour, nexthop) is kept as the
// kernel dumps it, a header of its kind and attributes, and given back the same
// way. So nothing is lost of it that this program has no word for.

// attr is one attribute of an object.
type attr struct {
	kind  uint16 // as it is, with the flags in its upper bits
	value []byte
}

// id is the attribute's name, without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
func (a attr) id() uint16 { return a.kind & 0x3fff }

func (a attr) u32() int {
	if len(a.value) < 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(a.value))
}

func u32Attr(id uint16, v uint32) attr {
	return attr{id, binary.NativeEndian.AppendUint32(nil, v)}
}

// split takes an object apart. The header is a copy.
func split(object []byte, headerLen int) (header []byte, attrs []attr, err error) {
	if len(object) < headerLen {
		return nil, nil, fmt.Errorf("rtnetlink object of %d bytes", len(object))
	}
	list, err := nl.ParseRouteAttr(object[headerLen:])
	if err != nil {
		return nil, nil, fmt.Errorf("rtnetlink object: %w", err)
	}
	for _, a := range list {
		attrs = append(attrs, attr{a.Attr.Type, a.Value})
	}
	return append([]byte{}, object[:headerLen]...), attrs, nil
}

// join is split's way back.
func join(header []byte, attrs []attr) []byte {
	b := append([]byte{}, header...)
	for _, a := range attrs {
		b = append(b, nl.NewRtAttr(int(a.kind), a.value).Serialize()...)
	}
	return b
}

func find(attrs []attr, id uint16) (attr, bool) {
	for _, a := range attrs {
		if a.id() == id {
			return a, true
		}
	}
	return attr{}, false
}

// list dumps the objects of a kind.
func list(get, is int, header []byte) ([][]byte, error) {
	return dump(func() ([][]byte, error) {
		req := nl.NewNetlinkRequest(get, unix.NLM_F_DUMP)
		req.AddRawData(header)
		return req.Execute(unix.NETLINK_ROUTE, uint16(is))
	})
}

// send hands one object to the kernel.
func send(what, flags int, object []byte) error {
	req := nl.NewNetlinkRequest(what, flags|unix.NLM_F_ACK)
	req.AddRawData(object)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// prefixText is an address or prefix in an error message.
func prefixText(family byte, a attr, bits int) string {
	addr, ok := netip.AddrFromSlice(a.value)
	switch {
	case ok:
		return netip.PrefixFrom(addr, bits).String()
	case family == unix.AF_INET6:
		return "default (IPv6)"
	}
	return "default"
}
