package xen

import "strings"

// Action is what a hotplug script is asked to do.
type Action string

// The actions. Online and Offline are for a vif, Add and Remove for the tap of
// an emulated NIC.
const (
	None    Action = "" // nothing, with success
	Online  Action = "online"
	Offline Action = "offline"
	Add     Action = "add"
	Remove  Action = "remove"
)

// Call is one call of a hotplug script.
//
//	action   type_if    call
//	online   vif, none  the vif is there: connect it, and say so
//	offline  vif, none  the vif goes, or went
//	add      tap        the tap is there: connect it
//	remove   tap        the tap goes, or went
//	any      another    None
type Call struct {
	Action Action
	ID
	Interface  string // the vif's or the tap's, as it is called before it is renamed
	GatewayDev string // netdev, of xl's gatewaydev=
}

// Teardown reports whether the call must succeed whatever happens: libxl goes
// on anyway, and there is nobody who could mend it. It holds also for a call
// that ParseCall returns with an error.
func (c Call) Teardown() bool { return c.Action == Offline || c.Action == Remove }

// ForTap reports whether the call is for the tap of an emulated NIC.
func (c Call) ForTap() bool { return c.Action == Add || c.Action == Remove }

// ParseCall reads the arguments of a hotplug script, without its own name, and
// its environment, as vif-common.sh does: the first argument without an equals
// sign is the action, the others set variables. They set those that a call may
// have, and nothing else is done with them.
func ParseCall(args []string, getenv func(string) string) (Call, error) {
	get := variables(args, getenv)
	var c Call
	action := ""
	for _, arg := range args {
		if !strings.Contains(arg, "=") {
			action = arg
			break
		}
	}
	switch c.Action = Action(action); c.Action {
	case Online, Offline, Add, Remove:
	default:
		const hint = "xl calls this script by itself: name it in script= of the domain's vif"
		e := wrong(hint, "no such action: want online, offline, add or remove").of("action", action)
		e.Missing = action == ""
		return Call{}, e
	}

	kind := get("type_if")
	if kind == "" {
		kind = "vif"
	}
	if c.ForTap() != (kind == "tap") || !c.ForTap() && kind != "vif" {
		return Call{}, nil
	}
	if s := get("XENBUS_TYPE"); s != "" && s != "vif" {
		return c, wrong("name another script in the device's script=", "not a network device: want vif").of("XENBUS_TYPE", s)
	}
	if e := c.device(get); e != nil {
		return c, e
	}
	if e := parseGatewayDev(&c.GatewayDev)(get("netdev")).of("netdev", get("netdev")); e != nil {
		return c, e
	}
	return c, nil
}

// device reads which vif the call is for. A tap is known by its name alone: in
// vif-common.sh the path is for the vif.
func (c *Call) device(get func(string) string) *ValueError {
	const hint = "xl sets it: call the script with xl, or by hand as xl does"
	if c.ForTap() {
		name := get("INTERFACE")
		id, tap, ok := ParseInterface(name)
		if !ok || !tap {
			return absent(wrong(hint, "not an emulated NIC's tap: want vifDOMID.DEVID-emu"), "INTERFACE", name)
		}
		c.ID, c.Interface = id, name
		return nil
	}
	path, name := get("XENBUS_PATH"), get("vif")
	id, ok := parseBackend(path)
	if !ok {
		return absent(wrong(hint, "not a vif of this domain: want backend/vif/DOMID/DEVID"), "XENBUS_PATH", path)
	}
	if name != "" && name != id.String() {
		return wrong(hint, "XENBUS_PATH is that of %s", id).of("vif", name)
	}
	c.ID, c.Interface = id, id.String()
	return nil
}

// absent is e for a variable that may not be set at all.
func absent(e *ValueError, key, value string) *ValueError {
	e.Missing = value == ""
	return e.of(key, value)
}

// variables looks a variable up in the arguments, where the last counts, then
// in the environment.
func variables(args []string, getenv func(string) string) func(string) string {
	return func(name string) string {
		for i := len(args) - 1; i >= 0; i-- {
			if value, ok := strings.CutPrefix(args[i], name+"="); ok {
				return value
			}
		}
		return getenv(name)
	}
}
