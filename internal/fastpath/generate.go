package fastpath

// The headers of this machine's architecture are enough for all: the object is
// the same for every little-endian machine.
//go:generate sh -c "go tool bpf2go -target bpfel -type port -type vlans -type counters -type vlan_counters -type address -type punts -type flow_key -type flow -type session -type passage object switch.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/$(uname -m)-linux-gnu"
