// Package config turns gxswitch.toml and conf.d/*.toml into a Config, and holds
// a network or a port that came by the command line to the same rules.
//
// The way of a file:
//
//	bytes → document (TOML, with a position for every key) → read (the keys, one by one)
//	   → check (each network and port on its own) → cross-check (with each other)
//	   → inherit (ports take from [defaults.port] what they leave out)
//
// A key is one line in keys.go, which says its name, its field, how its value
// is written and what must hold of it; reading, checking, suggestions and
// Config.TOML all follow that line.
//
// The package knows nothing of the host: whether an interface exists, or a
// group, is the daemon's to find out.
//
// Nothing here is shared or mutable, so every function may be called from any
// goroutine.
//
// A file's problems are returned all at once, as Errors, in the order of the
// files and of their lines. A file that cannot be read is an ordinary error.
package config
