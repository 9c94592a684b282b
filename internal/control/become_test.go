package control_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// becomeRaw changes the credentials of the calling thread alone.
func becomeRaw(uid, gid int, groups *uint32, n int) error {
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, uintptr(n), uintptr(unsafe.Pointer(groups)), 0},
		{unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
		{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
	} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return errno
		}
	}
	return nil
}
