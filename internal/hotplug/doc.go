// Package hotplug does one call of Xen's hotplug script: it asks xenstore what
// the domain's configuration says of a virtual NIC, has the daemon do it, and
// tells xenstore how it went.
//
//	action       xenstore          daemon    xenstore           exit
//	online       what xl wrote  →  attach →  connected, mtu     0
//	add          what xl wrote  →  attach                       0
//	online, add  a failure of any of these   hotplug-error      1
//	offline, remove             →  detach, if it is there       0, whatever happens
//
// It touches no interface. The daemon renames it and sets its MTU, because it
// writes down first what an interface was like, does it in the order of the
// kernel's events, and may do it where the script's user may not.
//
// It threads nothing: a call is one function that ends within five seconds,
// whatever xenstore and the daemon do. A failure is for xl to show: it comes
// back as an error and is in xenstore, unless that is what failed.
package hotplug
