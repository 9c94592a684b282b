package fastpath

import (
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// mapShared maps the first n values of an array that the program shares with user
// space (BPF_F_MMAPABLE). T is what a value is there. unmapShared ends it.
func mapShared[T any](m *ebpf.Map, n int) ([]T, error) {
	mem, err := unix.Mmap(m.FD(), 0, n*int(unsafe.Sizeof(*new(T))), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), n), nil
}

// unmapShared forgets what is mapped, if it is.
func unmapShared[T any](all []T) error {
	if all == nil {
		return nil
	}
	return unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(all))), len(all)*int(unsafe.Sizeof(*new(T)))))
}
