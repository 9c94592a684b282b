package porttest

import (
	"bytes"
	"testing"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

func testPartialChecksum(t *testing.T, r *rig) {
	vnet, data := unhex(t, "01 00 2a00 0000 2200 0600"), append(unhex(t, udp4), "payload"...)
	r.Send(vnet, data)
	f := r.one()
	if !bytes.Equal(f.Data(), data) || !sameVNet(f.Raw, vnet) {
		t.Errorf("arrived with header %x as %s\nwant %x %s", f.Raw[:frame.VNetLen], brief(f.Data()), vnet, brief(data))
	}
	r.release()

	r.write(out(t, vnet, data), tagged(out(t, vnet, data), 7))
	r.next("untagged", vnet, data)
	r.next("tagged", unhex(t, "01 00 2e00 0000 2600 0600"), insert(data, "8100 0007"))

	r.Send(unhex(t, "01 00 2e00 0000 2600 0600"), insert(data, "8100 0007"))
	f = r.one()
	if !bytes.Equal(f.Data(), data) || !f.Tagged || !sameVNet(f.Raw, vnet) {
		t.Errorf("tagged, arrived with header %x as %s\nwant %x %s", f.Raw[:frame.VNetLen], brief(f.Data()), vnet, brief(data))
	}
	r.release()
}

func testGSO(t *testing.T, r *rig) {
	for _, c := range []struct{ name, vnet, vnetTagged, header string }{
		{"TCPv4", "01 01 3600 a805 2200 1000", "01 01 3a00 a805 2600 1000", tcp4},
		{"TCPv6", "01 04 4a00 9405 3600 1000", "01 04 4e00 9405 3a00 1000", tcp6},
		{"UDPv4", "01 05 2a00 b805 2200 0600", "01 05 2e00 b805 2600 0600", udp4},
	} {
		vnet, vnetTagged := unhex(t, c.vnet), unhex(t, c.vnetTagged)
		data := unhex(t, c.header)
		for i := len(data); i < 65000; i++ {
			data = append(data, byte(i*i>>5))
		}
		// Long ones among short ones, several in a batch.
		r.Send(nil, numbered(1, 60))
		r.Send(vnet, data)
		r.Send(vnet, data[:30000])
		r.Send(nil, numbered(2, 60))
		r.Send(vnetTagged, insert(data, "8100 a064"))
		frames := make([]frame.Frame, 5)
		for n := 0; n < len(frames); {
			n += len(r.read(frames[n:]))
		}
		want := [][]byte{numbered(1, 60), data, data[:30000], numbered(2, 60), data}
		for i := range frames {
			f := &frames[i]
			var wantVNet []byte
			if i%2 == 1 && i != 3 || i == 2 || i == 4 {
				wantVNet = vnet
			}
			if reason := f.Parse(); reason != frame.Pass || !bytes.Equal(f.Data(), want[i]) || !sameVNet(f.Raw, wantVNet) || f.Tagged != (i == 4) {
				t.Fatalf("%s, frame %d: %v, header %x %s tagged %v\nwant %x %s", c.name, i, reason, f.Raw[:frame.VNetLen], brief(f.Data()), f.Tagged,
					wantVNet, brief(want[i]))
			}
		}
		r.write(ports.Send{Frame: &frames[0]}, ports.Send{Frame: &frames[1]}, tagged(ports.Send{Frame: &frames[2]}, 9),
			ports.Send{Frame: &frames[4], TCI: frames[4].TCI, Tagged: true})
		r.release()
		r.next(c.name+" short", nil, numbered(1, 60))
		r.next(c.name+" 64 KiB", vnet, data)
		r.next(c.name+" tagged anew", vnetTagged, insert(data[:30000], "8100 0009"))
		r.next(c.name+" tagged", vnetTagged, insert(data, "8100 a064"))
	}
}

// Headers of packets whose lengths suit no particular payload: neither the
// switch nor a veth looks.
const (
	tcp4 = macs + "0800 4500 fdda 0001 4000 4006 0000 0a000001 0a000002 8000 0009 00000001 00000000 5010 ffff 1234 0000"
	tcp6 = macs + "86dd 60000000 fdb2 0640 fd000000000000000000000000000001 fd000000000000000000000000000002" +
		"8000 0009 00000001 00000000 5010 ffff 1234 0000"
	udp4 = macs + "0800 4500 fdda 0001 4000 4011 0000 0a000001 0a000002 8000 0009 fdc6 1234"
)
