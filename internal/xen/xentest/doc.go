// Package xentest is a xenstored for tests: the wire protocol on a unix socket
// and a tree in memory, with the manners of the real one and, when asked to,
// with worse.
//
//	store := xentest.New(t)
//	store.AddVif(1, 0, "web1", map[string]string{"bridge": "lan0"})
//	… with XENSTORED_PATH=store.Path() in the environment …
//	if got := store.Value("/local/domain/0/backend/vif/1/0/hotplug-status"); got != "connected"
//
// It speaks to Xen's own clients (xenstore-read, xenstore-write, xenstore-ls,
// xenstore-rm), and shares no code with package xen, so that the two can't
// be wrong together. It has no domains, permissions, quotas or watches; a
// request that needs them is answered with ENOSYS, as xenstored answers what it
// does not know.
//
// Everything may be called from any goroutine. A client that breaks the
// protocol loses its connection, as with xenstored.
package xentest
