// Package behaviour tests what users rely on, from outside: the real binary,
// namespaces in the place of the host, of guests and of the LAN, and real
// clients (ping, arping, tcpdump, iperf3, udhcpc). It holds nothing but tests.
//
// Both engines have to pass them: bothEngines makes a test's subtests afpacket and
// ebpf. A test that names an engine is about what that one alone does, one with
// anyEngine about what no engine takes part in.
package behaviour
