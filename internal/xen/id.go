package xen

import (
	"fmt"
	"strconv"
	"strings"
)

// ID tells a vif from all others of the host: the domain it is for, and which
// of the domain's vifs it is. A reboot or migration gives the domain a new
// DomID; a DomID may come again after all others have been used.
type ID struct {
	DomID int
	DevID int
}

// Bounds of an ID. Domain 0 has no vifs of its own, and from 0x7ff0 on the
// numbers have other meanings (DOMID_FIRST_RESERVED, xen/include/public/xen.h).
const (
	maxDomID = 0x7ff0 - 1
	maxDevID = 65535
)

// backends is where dom0 keeps what it serves.
const backends = "/local/domain/0/backend/vif"

// String is the name of the vif's interface before it is renamed, vif2.1.
func (id ID) String() string { return fmt.Sprintf("vif%d.%d", id.DomID, id.DevID) }

// BackendPath is where xl describes the vif, and reads the outcome.
func (id ID) BackendPath() string { return fmt.Sprintf("%s/%d/%d", backends, id.DomID, id.DevID) }

// FrontendPath is where the guest reads of its vif
// (libxl__device_frontend_path).
func (id ID) FrontendPath() string {
	return fmt.Sprintf("/local/domain/%d/device/vif/%d", id.DomID, id.DevID)
}

// emulated is what the name of an emulated NIC's tap has behind that of the vif
// (TAP_DEVICE_SUFFIX, libxl_internal.h).
const emulated = "-emu"

// ParseInterface reads the name that xl gives to the interface of a vif, vifD.N,
// or to the tap of its emulated NIC, vifD.N-emu. ok is false for other names.
func ParseInterface(name string) (id ID, tap, ok bool) {
	numbers, ok := strings.CutPrefix(name, "vif")
	if !ok {
		return ID{}, false, false
	}
	numbers, tap = strings.CutSuffix(numbers, emulated)
	domid, devid, _ := strings.Cut(numbers, ".")
	if id, ok = parseID(domid, devid); !ok {
		return ID{}, false, false
	}
	return id, tap, true
}

// parseBackend reads XENBUS_PATH, which xl gives relative to /local/domain/0.
func parseBackend(path string) (ID, bool) {
	numbers, ok := strings.CutPrefix(path, backends+"/")
	if !ok {
		numbers, ok = strings.CutPrefix(path, "backend/vif/")
	}
	domid, devid, _ := strings.Cut(numbers, "/")
	id, good := parseID(domid, devid)
	return id, ok && good
}

func parseID(domid, devid string) (ID, bool) {
	d, okD := parseNumber(domid, 1, maxDomID)
	n, okN := parseNumber(devid, 0, maxDevID)
	if !okD || !okN {
		return ID{}, false
	}
	return ID{DomID: d, DevID: n}, true
}

// parseNumber reads a number as printf writes it: decimal digits, no sign, no
// leading zeros.
func parseNumber(s string, low, high int) (int, bool) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high || strconv.Itoa(n) != s {
		return 0, false
	}
	return n, true
}
