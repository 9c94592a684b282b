package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const ipv6Conf = "/proc/sys/net/ipv6/conf/"

// haveIPv6 is false with ipv6.disable=1 and in kernels without IPv6. procfs
// shows the calling thread's namespace.
func haveIPv6() bool {
	_, err := os.Stat(ipv6Conf)
	return err == nil
}

// ipv6Disabled reports disable_ipv6 of a link. A link whose MTU is too small
// for IPv6 answers with what it would start with.
func ipv6Disabled(index int) (bool, error) {
	if !haveIPv6() {
		return true, nil
	}
	var value []byte
	err := byName(index, func(name string) (err error) {
		value, err = os.ReadFile(ipv6Conf + name + "/disable_ipv6")
		if errors.Is(err, fs.ErrNotExist) {
			value, err = os.ReadFile(ipv6Conf + "default/disable_ipv6")
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("read disable_ipv6: %w", err)
	}
	return strings.TrimSpace(string(value)) != "0", nil
}

// readIPv6 reads net.ipv6.conf.LINK.key; "" where there is none.
func readIPv6(index int, key string) (string, error) {
	if !haveIPv6() {
		return "", nil
	}
	var value []byte
	err := byName(index, func(name string) (err error) {
		value, err = os.ReadFile(ipv6Conf + name + "/" + key)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	return strings.TrimSpace(string(value)), nil
}

// setIPv6 writes net.ipv6.conf.LINK.key. Where the machine or the link has no
// IPv6 there is nothing to set.
func setIPv6(index int, key, value string) error {
	if !haveIPv6() {
		return nil
	}
	return setConf(ipv6Conf, index, key, value)
}

// setConf writes a link's key below net.ipv4.conf or net.ipv6.conf, if there is
// one. A value that is right already is not written, for the sake of containers
// whose /proc/sys is read-only.
func setConf(conf string, index int, key, value string) error {
	err := byName(index, func(name string) error {
		path := conf + name + "/" + key
		old, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && strings.TrimSpace(string(old)) == value {
			return nil
		}
		return os.WriteFile(path, []byte(value), 0)
	})
	if err != nil {
		return fmt.Errorf("set %s to %s: %w", key, value, err)
	}
	return nil
}

// byName calls f with a link's name, which procfs wants, and once more if the
// link was renamed meanwhile, as hotplug scripts and udev do.
func byName(index int, f func(name string) error) error {
	l, err := LinkByIndex(index)
	for err == nil {
		name := l.Name
		done := f(name)
		if l, err = LinkByIndex(index); err == nil && l.Name == name {
			if done != nil {
				return fmt.Errorf("%s: %w", name, done)
			}
			return nil
		}
	}
	return err
}
