package xen

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func FuzzReadReply(f *testing.F) {
	to := header{kind: kindRead, request: 7, tx: 3}
	message := func(k kind, request, tx uint32, payload string) []byte {
		return append(header{k, request, tx, uint32(len(payload))}.append(nil), payload...)
	}
	f.Add(message(kindRead, 7, 3, "value"))
	f.Add(message(kindError, 7, 3, "ENOENT\x00"))
	f.Add(message(kindError, 7, 3, "ENOENT"))
	f.Add(append(message(kindWatchEvent, 0, 0, "/a\x00b\x00"), message(kindRead, 7, 3, "")...))
	f.Add(message(kindRead, 8, 3, "value"))
	f.Add(message(kindRead, 7, 3, strings.Repeat("x", 4097)))
	f.Add(message(kindRead, 7, 3, strings.Repeat("x", 4096)))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"))
	f.Add([]byte{})
	buf := make([]byte, headerLen+maxPayload)
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		payload, err := readReply(r, to, buf)
		want, ok := slowReply(stream, to)
		if (err == nil) != ok || string(payload) != want {
			t.Errorf("%q, %v; want %q, %v", payload, err, want, ok)
		}
		if err != nil {
			checkLine(t, err.Error(), 300)
		}
	})
}

// slowReply is the obvious twin of readReply, for streams that are whole.
func slowReply(stream []byte, to header) (string, bool) {
	for len(stream) >= headerLen {
		h := parseHeader(stream)
		if h.length > maxPayload || int(h.length) > len(stream)-headerLen {
			return "", false
		}
		payload := stream[headerLen : headerLen+int(h.length)]
		if h.kind != kindWatchEvent {
			if to.length = h.length; h != to {
				return "", false
			}
			return string(payload), true
		}
		stream = stream[headerLen+int(h.length):]
	}
	return "", false
}

// checkLine holds a message to one line that can't be mistaken for more.
func checkLine(t *testing.T, s string, most int) {
	t.Helper()
	if len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		t.Errorf("%d bytes: %q is no line", len(s), s)
	}
}

func FuzzVif(f *testing.F) {
	backend := ID{1, 0}.BackendPath() + "/"
	for _, key := range []string{"mac", "type", "bridge", "ip", "vlan", "rate", "mtu", "vifname", "gatewaydev", "script", "frontend"} {
		for _, value := range []string{"", "vif_ioemu", "0,50000", "250000,20000", "10p/20", "1500", "10.0.0.5 2001:db8::5/128", "vif9.0", "../../x", "a;reboot", "\n", "\xff", "ff:ff:ff:ff:ff:ff"} {
			f.Add(backend+key, value)
		}
	}
	f.Add("/local/domain/1/vm", "/vm/../x")
	f.Add("/vm/1/uuid", "5CA1AB1E-0000-4000-8000-000000000001")
	f.Add("/vm/1/name", "wëb 1")
	f.Fuzz(func(t *testing.T, key, value string) {
		keys := map[string]string{
			backend + "mac": "00:16:3e:00:00:01", backend + "bridge": "xenbr0", backend + "type": "vif_ioemu",
			"/local/domain/1/vm": "/vm/1", "/vm/1/uuid": "5ca1ab1e-0000-4000-8000-000000000001", "/vm/1/name": "web1",
		}
		keys[key] = value
		v, err := readVif(ID{1, 0}, func(path string) (string, error) {
			if checkPath(path) != nil {
				t.Errorf("reads %q", path)
			}
			value, ok := keys[path]
			if !ok {
				return "", fs.ErrNotExist
			}
			return value, nil
		})
		if err != nil {
			checkLine(t, err.Error(), 1000)
			checkLine(t, Message(err), 1200)
			return
		}
		if v.MAC.IsZero() || v.MAC.IsMulticast() || len(v.Interface()) > 15 || len(v.Tap()) > 15 || len(v.Bridge) > 15 ||
			strings.ContainsAny(v.Interface()+v.Bridge+v.GatewayDev, "/%:; \n$`'\"\\") || len(v.UUID) != 36 || v.Domain == "" {
			t.Errorf("%+v", v)
		}
		for _, text := range []string{v.Domain, v.Script, v.GatewayDev, v.Bridge, v.VifName} {
			checkLine(t, text, maxPath)
		}
	})
}

func FuzzCall(f *testing.F) {
	f.Add("online", "type_if=vif", "backend/vif/2/1", "vif2.1", "vif2.1-emu")
	f.Add("remove", "type_if=tap", "backend/vif/2/1", "vif2.1", "vif2.1-emu")
	f.Add("type_if=tap", "add", "", "", "vif32751.65535-emu")
	f.Add("online", "", "/local/domain/0/backend/vif/2/1", "", "")
	f.Add("online", "vif=vif3.0", "../../backend/vif/3/0", "", "")
	f.Fuzz(func(t *testing.T, a, b, path, vif, tap string) {
		env := map[string]string{"XENBUS_PATH": path, "vif": vif, "INTERFACE": tap}
		c, err := ParseCall([]string{a, b}, func(k string) string { return env[k] })
		if err != nil {
			checkLine(t, err.Error(), 1000)
			return
		}
		if c.Action == None {
			if c != (Call{}) {
				t.Errorf("%+v does nothing, but for whom?", c)
			}
			return
		}
		id, isTap, ok := ParseInterface(c.Interface)
		if !ok || id != c.ID || isTap != c.ForTap() {
			t.Errorf("%+v", c)
		}
	})
}
