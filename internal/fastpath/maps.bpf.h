// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//
// What user space tells the program, and what the program tells user space: the
// maps, which outlive both, and what is in them.

// Of all ports, all addresses, all VLANs that are counted.
#define MAX_PORTS 4096
#define MAX_BUCKETS 65536 // of stations, four each
#define MAX_VLANS 4096
#define MAX_ADDRS 65536
#define MAX_NETWORKS 1024

// A port may have as many frames on their way to user space as an eighth of what
// its way has room for besides. So one that floods fills a ninth of the ring, eight
// fill half, and there is room for one that does not (dynamic thresholds, Choudhury
// and Hahne, 1998). PUNT_SLOTS are the ring's.
#define PUNT_SLOTS 4096
#define PUNT_SHARE 8
#define MAX_WAYS 256

// Flags of a port.
enum {
	FROM = 1 << 0,     // frames that come from it may be decided here
	TO = 1 << 1,       // frames decided here may leave by it
	PEER = 1 << 2,     // it is a veth whose other end is in another namespace
	REST = 1 << 3,     // an uplink: the host has what is not for the switch alone
	ISOLATED = 1 << 4, // reaches no other isolated port
	HELD = 1 << 5,     // its source address is mac and no other
	ADDRESSED = 1 << 6, // so is its IP address one of addrs
	GUARDED = 1 << 7,  // only packets that show what they are are decided here
	SNOOPED = 1 << 8,  // what a DHCP server sends to it is for user space
	HOSTONLY = 1 << 9, // a host leg that carries packets of the host's own addresses alone
};

// port is what the switch says of a port. All 0 where there is none.
struct port {
	__u32 ifindex;
	__u32 network;
	__u32 flags;
	__u32 punt;    // ifindex of the veth that leads to the switch
	__u32 max_len; // longest frame the interface takes, without tag
	__u16 pvid;
	__u16 twin;    // the port that is the same virtual NIC; itself if there is none
	__u32 where;   // of stations behind it, see struct slot
	__u16 fid;     // of pvid; 0: none
	__u16 pad;
	__u64 mac;     // of the guest; on an uplink the host's, 0 if that is elsewhere
	__u64 way;     // to user space: place of its own punts in gx_punts
	__u64 gateway; // MAC of the gateway that frames from here are for, see flows.bpf.h; 0: none
};

// vlans are the VLANs of a port, a bit each.
struct vlans {
	__u64 carried[64];
	__u64 untagged[64];
};

// slot has a station, or is free: all 0. Its word is the station's MAC, the first
// byte lowest, and in the upper 16 bits the number of its filtering database (FID,
// 802.1Q-2018, 8.8.8), which is one VLAN of one network.
//
// The first slots that a word may be in are those of two buckets, see find.
// User space alone inserts and removes. check is word ^ where, so that a slot that
// is read while it changes is taken for no station's (Hyatt and Mann, A lock-less
// transposition table, ICGA Journal 25(2), 2002).
struct slot {
	__u64 check;
	__u32 stamp; // when a frame of the station was last seen, see now()
	__u32 where; // number of the port, and above these 12 bits the lower of its ifindex
};

struct bucket { // a cache line
	struct slot slots[4];
};

// A word with this in the place of a FID names a VLAN of a network; where is its
// FID.
#define FID_OF_VLAN 0xffffull

// state is what the program needs of all frames.
struct state {
	__u64 secret[2]; // odd, see find
	__u64 clock;     // see now()
};

// counters are in frames and bytes of the wire, of what was decided here.
struct counters {
	__u64 rx_packets, rx_bytes;
	__u64 tx_packets, tx_bytes;
	__u64 forwarded, consumed;
	__u64 vlan_denied, spoof_mac, same_port, isolated;
	__u64 ring_full, unsupported_gso;
};

struct vlan_counters {
	__u64 packets, bytes;
};

// address is one that a guest may use (port), or the host has (HOST_ADDRS).
// IPv4 is mapped, as in ::ffff:192.0.2.1.
struct address {
	__u32 port;
	__u32 ip[4];
};

#define HOST_ADDRS 0xffffffff

// punts are frames that went to user space, and those that arrived there or are
// known to be lost: of a port, and behind MAX_PORTS of each way. User space maps
// it.
struct punts {
	__u64 punted;
	__u64 settled;
	__u64 pad[6]; // a cache line each
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PORTS);
	__type(key, __u32); // ifindex
	__type(value, __u32);
} gx_index SEC(".maps");

// The same by the lower bits of ifindex, where no other port has that slot: a
// lookup in an array costs no call. gx_ports tells whose number it is.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_PORTS);
	__type(key, __u32);
	__type(value, __u32);
} gx_near SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_PORTS);
	__type(key, __u32);
	__type(value, struct port);
} gx_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_PORTS);
	__type(key, __u32);
	__type(value, struct vlans);
} gx_vlans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_BUCKETS);
	__type(key, __u32);
	__type(value, struct bucket);
} gx_fdb SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} gx_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_ADDRS);
	__type(key, struct address);
	__type(value, __u32);
} gx_addrs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_PORTS);
	__type(key, __u32);
	__type(value, struct counters);
} gx_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_VLANS);
	__type(key, __u32);
	__type(value, struct vlan_counters);
} gx_vcounters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_PORTS + MAX_WAYS);
	__type(key, __u32);
	__type(value, struct punts);
} gx_punts SEC(".maps");

// The numbers of networks by name, for the next daemon. The program does not
// read it.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_NETWORKS);
	__type(key, char[16]);
	__type(value, __u32);
} gx_networks SEC(".maps");
