// Package version says which gxswitch this is.
package version

import "runtime/debug"

// release is set by the linker (-X gxswitch/internal/version.release=…).
var release = "0.1.0-dev"

// String is the release, with the commit where the build knows it.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return release + "+" + s.Value[:12]
		}
	}
	return release
}
