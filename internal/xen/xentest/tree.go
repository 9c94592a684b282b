package xentest

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// tree is all keys by their whole paths, those above them among them. Slow and
// obvious.
type tree map[string]string

func newTree() tree { return tree{"/": ""} }

func (t tree) set(key, value string) {
	for above := path.Dir(key); above != "/" && above != "."; above = path.Dir(above) {
		if _, ok := t[above]; !ok {
			t[above] = ""
		}
	}
	t[key] = value
}

func (t tree) remove(key string) {
	maps.DeleteFunc(t, func(k, _ string) bool { return k == key || strings.HasPrefix(k, key+"/") })
}

// below lists the names right below a key.
func (t tree) below(key string) []string {
	var names []string
	for k := range t {
		if k != "/" && path.Dir(k) == key {
			names = append(names, path.Base(k))
		}
	}
	slices.Sort(names)
	return names
}

// AddVif writes what xl 4.17 writes about a paravirtualised NIC before it calls
// the hotplug script, and about its domain. Keys of the backend may be given
// other values, or be added; "-" leaves one out. It returns the backend's path.
func (s *Server) AddVif(domid, devid int, domain string, keys map[string]string) string {
	backend := fmt.Sprintf("/local/domain/0/backend/vif/%d/%d", domid, devid)
	frontend := fmt.Sprintf("/local/domain/%d/device/vif/%d", domid, devid)
	vm := "/vm/" + UUID(domid)
	all := map[string]string{
		"frontend": frontend, "frontend-id": fmt.Sprint(domid), "online": "1", "state": "1",
		"script": "/etc/xen/scripts/vif-gxswitch", "mac": fmt.Sprintf("00:16:3e:00:%02x:%02x", domid&255, devid&255),
		"bridge": "xenbr0", "handle": fmt.Sprint(devid), "type": "vif", "hotplug-status": "",
	}
	maps.Copy(all, keys)

	for key, value := range all {
		if value != "-" {
			s.Set(backend+"/"+key, value)
		}
	}
	for key, value := range map[string]string{"backend": backend, "backend-id": "0", "state": "1", "handle": fmt.Sprint(devid), "mac": all["mac"]} {
		s.Set(frontend+"/"+key, value)
	}
	s.Set(fmt.Sprintf("/local/domain/%d/vm", domid), vm)
	s.Set(fmt.Sprintf("/local/domain/%d/name", domid), domain)
	s.Set(vm+"/uuid", UUID(domid))
	s.Set(vm+"/name", domain)
	return backend
}

// UUID is that of a domain of AddVif.
func UUID(domid int) string { return fmt.Sprintf("5ca1ab1e-0000-4000-8000-%012x", domid) }
