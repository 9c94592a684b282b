// Package behaviour tests what users rely on, from outside: the real binary,
// namespaces in the place of the host, of guests and of the LAN, and real
// clients (ping, arping, tcpdump, iperf3, udhcpc). It holds nothing but tests;
// every engine has to pass all of them.
package behaviour
