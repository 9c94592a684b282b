//go:build ignore

// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//
// The switch's fast path: one program at the tc ingress of every port that has
// it. It forwards what the switch in user space has decided before, and hands
// everything else, unchanged, to that switch.
//
// What it decides is a part of what dataplane/pipeline.go does, in the same
// order and with the same counters. It must never let pass what the pipeline
// would refuse. So it decides only what it can see whole, and *punts* the rest:
// puts the port's number around the frame, in an 802.1ad tag, and sends it to
// the veth at whose other end the switch reads.
//
// It never inserts into the forwarding database, only refreshes stamps: the
// switch learns, from punted frames, and keeps it within its limits.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Of all ports, all addresses, all VLANs that are counted.
#define MAX_PORTS 4096
#define MAX_STATIONS 262144
#define MAX_VLANS 4096
#define MAX_ADDRS 65536
#define MAX_NETWORKS 1024

// Slots of what each processor remembers of its last frames.
#define MAX_PAIRS 4096

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
	__u64 mac;     // of the guest; on an uplink the host's, 0 if that is elsewhere
	__u64 way;     // to user space: place of its own punts in gx_punts
	__u64 gateway; // MAC of the gateway that frames from here are for, see flows.bpf.h; 0: none
};

// vlans are the VLANs of a port, a bit each.
struct vlans {
	__u64 carried[64];
	__u64 untagged[64];
};

struct station {
	__u32 network;
	__u16 vlan;
	__u8 mac[6];
};

struct place {
	__u32 ifindex; // of port, so that a number that is another's by now shows
	__u32 port;
	__u32 stamp;   // when a frame of the station was last seen, see now()
	__u32 counter; // of its VLAN
};

// pair is what gx_fdb said of the two addresses of a frame. It holds while edition
// is gx_edition's, and for 256 jiffies, so that stamps are refreshed.
struct pair {
	__u64 src, dst; // addresses; the VLAN in the upper 16 bits of src
	__u32 network;
	__u32 edition;
	__u32 since; // in 256 jiffies
	__u32 from;  // src: ifindex of the place
	__u32 counter;
	__u32 ifindex, port; // dst
	__u32 pad;
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

// User space alone inserts: memory follows what the switch has learned.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_STATIONS);
	__type(key, struct station);
	__type(value, struct place);
} gx_fdb SEC(".maps");

// How often user space has changed or taken away an entry of gx_fdb. It does that
// first, and counts it then.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} gx_edition SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_PAIRS);
	__type(key, __u32);
	__type(value, struct pair);
} gx_pairs SEC(".maps");

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

#define ETH_P_QINQ1_OLD 0x9100
#define ALWAYS static __attribute__((always_inline)) inline

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

// now counts periods of 2^30 ns, a little more than a second.
ALWAYS __u32 now(void) { return bpf_ktime_get_coarse_ns() >> 30; }

// seen is a frame on its way through the program.
struct seen {
	__u32 in;      // number of the port it came from
	__u32 frames;  // that it is on the wire
	__u32 bytes;   // of them, without outer tag
	__u32 longest; // of them
	__u16 vid;
	__u16 type;    // EtherType, host order
	bool tagged;
};

// measure works out what a super-frame is on the wire, as frame.Parse does;
// false for a kind that can't be expressed in user space.
ALWAYS bool measure(struct __sk_buff *skb, struct seen *f)
{
	__u32 len = skb->len, size = skb->gso_size, at = ETH_HLEN, hdr;
	__u16 type = f->type;
	__u8 next, v;

	f->frames = 1;
	f->bytes = f->longest = len;
	if (likely(!size))
		return true;
	if (type == ETH_P_8021Q || type == ETH_P_8021AD) {
		if (bpf_skb_load_bytes(skb, at + 2, &type, 2))
			return false;
		type = bpf_ntohs(type);
		at += 4;
	}
	if (type == ETH_P_IP) {
		if (bpf_skb_load_bytes(skb, at, &v, 1) || bpf_skb_load_bytes(skb, at + 9, &next, 1))
			return false;
		at += (v & 15) * 4;
	} else if (type == ETH_P_IPV6) {
		if (bpf_skb_load_bytes(skb, at + 6, &next, 1))
			return false;
		at += 40;
	} else {
		return false;
	}
	if (next == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(skb, at + 12, &v, 1))
			return false;
		hdr = at + (v >> 4) * 4;
	} else if (next == IPPROTO_UDP) {
		hdr = at + 8;
	} else {
		return false;
	}
	if (hdr >= len)
		return false;
	len -= hdr;
	f->frames = (len + size - 1) / size;
	f->bytes += (f->frames - 1) * hdr;
	f->longest = hdr + (len < size ? len : size);
	return true;
}

// wire_bytes adds the tags.
ALWAYS __u64 wire_bytes(const struct seen *f, bool tagged)
{
	return f->bytes + (tagged ? 4 * f->frames : 0);
}

ALWAYS void received(const struct seen *f, struct counters *c)
{
	c->rx_packets += f->frames;
	c->rx_bytes += wire_bytes(f, f->tagged);
}

// rest is what becomes of a frame that is not forwarded: on an uplink the host
// has it, as ever; a guest's port ends here.
ALWAYS int rest(const struct port *p) { return p->flags & REST ? TC_ACT_UNSPEC : TC_ACT_SHOT; }

// drop counts a frame and ends it.
#define DROP(reason)                                    \
	do {                                            \
		c = bpf_map_lookup_elem(&gx_counters, &f.in); \
		if (c) {                                \
			received(&f, c);                \
			c->reason += f.frames;          \
		}                                       \
		return rest(p);                         \
	} while (0)

// punt gives the frame to the switch in user space.
ALWAYS int punt(struct __sk_buff *skb, const struct port *p, __u32 in)
{
	struct seen f = {.in = in, .tagged = skb->vlan_present && skb->vlan_proto == bpf_htons(ETH_P_8021Q)};
	struct counters *c;
	struct punts *u = bpf_map_lookup_elem(&gx_punts, &in), *all;
	__u32 way = p->way;
	__s64 mine;
	bool full;
	int lost;

	all = bpf_map_lookup_elem(&gx_punts, &way);
	if (!u || !all)
		return rest(p);
	f.frames = 1;
	f.bytes = skb->len;
	// A super-frame that the kernel cuts on the way arrives as several: what is
	// under way may be less than nothing.
	mine = u->punted - u->settled;
	full = mine > 0 && mine * PUNT_SHARE >= PUNT_SLOTS - (__s64)(all->punted - all->settled);
	if (unlikely(skb->gso_size || full)) {
		bpf_skb_load_bytes(skb, 12, &f.type, 2);
		f.type = bpf_ntohs(f.type);
		// A frame that a virtio-net header can't express wedges the ring.
		if (!measure(skb, &f))
			DROP(unsupported_gso);
		if (full)
			DROP(ring_full);
	}
	if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021AD), in))
		DROP(ring_full);
	__sync_fetch_and_add(&u->punted, 1);
	__sync_fetch_and_add(&all->punted, 1);
	if (!(p->flags & REST))
		return bpf_redirect(p->punt, 0);
	lost = bpf_clone_redirect(skb, p->punt, 0);
	if (lost) {
		__sync_fetch_and_add(&u->settled, 1);
		__sync_fetch_and_add(&all->settled, 1);
	}
	bpf_skb_vlan_pop(skb);
	return TC_ACT_UNSPEC;
}

// packet is what plain reads.
struct packet {
	struct address src, dst;
};

#define UDP_HEADER 8

ALWAYS bool is_dhcp(__be16 port)
{
	return port == bpf_htons(67) || port == bpf_htons(68) || port == bpf_htons(546) || port == bpf_htons(547);
}

// head is the frame, if its first bytes are together; null if it is shorter. Other
// pointers into it end.
ALWAYS void *head(struct __sk_buff *skb, __u32 bytes)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (likely(data + bytes <= end))
		return data;
	if (bpf_skb_pull_data(skb, bytes))
		return 0;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	return data + bytes <= end ? data : 0;
}

// plain reports whether the frame is an IP packet that shows all of what it is:
// no options, extension headers or fragments, no neighbour discovery, no DHCP.
// Guards let such a packet pass if its addresses may.
ALWAYS bool plain(struct __sk_buff *skb, __u16 type, struct packet *k)
{
	__u8 *h, proto;
	__be16 *udp;
	__s32 payload;

	if (type == ETH_P_IP) {
		h = head(skb, ETH_HLEN + 20 + UDP_HEADER);
		if (!h)
			return false;
		h += ETH_HLEN;
		if (h[0] != 0x45 || (h[6] & 0x3f) || h[7])
			return false;
		k->src.ip[0] = k->src.ip[1] = k->dst.ip[0] = k->dst.ip[1] = 0;
		k->src.ip[2] = k->dst.ip[2] = bpf_htonl(0xffff);
		k->src.ip[3] = *(__u32 *)&h[12];
		k->dst.ip[3] = *(__u32 *)&h[16];
		proto = h[9];
		payload = bpf_ntohs(*(__be16 *)&h[2]) - 20;
		udp = (__be16 *)&h[20];
	} else if (type == ETH_P_IPV6) {
		h = head(skb, ETH_HLEN + 40 + UDP_HEADER);
		if (!h)
			return false;
		h += ETH_HLEN;
		if (h[0] >> 4 != 6)
			return false;
		__builtin_memcpy(k->src.ip, &h[8], 16);
		__builtin_memcpy(k->dst.ip, &h[24], 16);
		proto = h[6];
		if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
			return false;
		payload = bpf_ntohs(*(__be16 *)&h[4]);
		if (!payload) // a jumbogram's
			payload = UDP_HEADER;
		udp = (__be16 *)&h[40];
	} else {
		return false;
	}
	if (proto != IPPROTO_UDP)
		return true;
	if (payload < UDP_HEADER) // what is behind is padding, and a guard refuses it
		return false;
	return !is_dhcp(udp[0]) && !is_dhcp(udp[1]);
}

ALWAYS bool may_use(struct address *a, __u32 who)
{
	a->port = who;
	return bpf_map_lookup_elem(&gx_addrs, a);
}

ALWAYS __u64 word_of(const __u8 *mac) { return (__u64)*(__u32 *)mac | (__u64)*(__u16 *)&mac[4] << 32; }

// set_mac writes aligned, as the stack must be.
ALWAYS void set_mac(struct station *s, __u64 word)
{
	*(__u16 *)s->mac = word;
	*(__u32 *)&s->mac[2] = word >> 16;
}

#include "flows.bpf.h"

ALWAYS bool bit(const __u64 *set, __u16 vid) { return set[(vid >> 6) & 63] >> (vid & 63) & 1; }

// find_port is the port of an interface.
ALWAYS struct port *find_port(__u32 ifindex, __u32 *number)
{
	__u32 slot = ifindex & (MAX_PORTS - 1), *n = bpf_map_lookup_elem(&gx_near, &slot);
	struct port *p;

	if (likely(n)) {
		*number = *n;
		p = bpf_map_lookup_elem(&gx_ports, number);
		if (likely(p && p->ifindex == ifindex))
			return p;
	}
	n = bpf_map_lookup_elem(&gx_index, &ifindex);
	if (!n)
		return NULL;
	*number = *n;
	p = bpf_map_lookup_elem(&gx_ports, number);
	return p && p->ifindex == ifindex ? p : NULL;
}

// pair_slot spreads what differs between pairs: the addresses' lower halves.
ALWAYS __u32 pair_slot(__u64 src, __u64 dst)
{
	return ((src ^ dst >> 7 ^ dst << 9) * 0x9e3779b97f4a7c15ull >> 40) & (MAX_PAIRS - 1);
}

SEC("tc")
int gx_ingress(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct seen f = {};
	struct packet k;
	struct counters *c;
	struct vlan_counters *vc;
	struct place *src, *dst;
	struct pair *both;
	struct port *p, *out;
	struct vlans *v;
	struct station s;
	__u32 ifindex = skb->ifindex, zero = 0, edition, since, slot, counter, to, t;
	__u64 from, dest, key, *count;
	__u16 tci = 0;
	bool untagged, own;
	int verdict;

	p = find_port(ifindex, &f.in);
	if (!p)
		return TC_ACT_UNSPEC;

	// parse
	if (p->gateway && p->flags & REST && data + sizeof(*eth) <= end) {
		verdict = from_outside(skb, p, eth, &f);
		if (verdict != UNDECIDED)
			return verdict;
		goto undecided;
	}
	if (!(p->flags & FROM) || data + sizeof(*eth) > end || eth->h_dest[0] & 1 || eth->h_source[0] & 1)
		goto undecided;
	f.type = bpf_ntohs(eth->h_proto);
	if (f.type == ETH_P_8021Q || f.type == ETH_P_8021AD || f.type == ETH_P_QINQ1_OLD)
		goto undecided;
	from = word_of(eth->h_source);
	dest = word_of(eth->h_dest);
	if (!measure(skb, &f))
		goto undecided;

	// admit
	f.vid = p->pvid;
	if (skb->vlan_present) {
		if (skb->vlan_proto != bpf_htons(ETH_P_8021Q))
			goto undecided;
		f.tagged = true;
		tci = skb->vlan_tci;
		if (tci & 0xfff) {
			f.vid = tci & 0xfff;
			v = bpf_map_lookup_elem(&gx_vlans, &f.in);
			if (!v || !from)
				goto undecided;
			if (!bit(v->carried, f.vid))
				DROP(vlan_denied);
		}
	}
	if (p->flags & HELD && from != p->mac) {
		if (!from)
			goto undecided;
		DROP(spoof_mac);
	}
	if (p->flags & (GUARDED | ADDRESSED | HOSTONLY)) {
		if (!plain(skb, f.type, &k))
			goto undecided;
		if (p->flags & (ADDRESSED | HOSTONLY) && !may_use(&k.src, p->flags & HOSTONLY ? HOST_ADDRS : f.in))
			goto undecided;
	}

	// learn, decide
	own = p->flags & REST && p->mac && dest == p->mac;
	count = bpf_map_lookup_elem(&gx_edition, &zero);
	slot = pair_slot(from, dest);
	both = bpf_map_lookup_elem(&gx_pairs, &slot);
	if (!count || !both)
		goto undecided;
	edition = *(volatile __u64 *)count;
	key = from | (__u64)f.vid << 48;
	since = bpf_jiffies64() >> 8;
	if (likely(both->src == key && both->dst == dest && both->from == ifindex && both->network == p->network &&
		   both->edition == edition && both->since == since && !own)) {
		counter = both->counter;
		to = both->port;
		ifindex = both->ifindex;
	} else {
		s.network = p->network;
		s.vlan = f.vid;
		set_mac(&s, from);
		src = bpf_map_lookup_elem(&gx_fdb, &s);
		if (!src || src->ifindex != ifindex)
			goto undecided;
		t = now();
		if (src->stamp != t)
			src->stamp = t;
		counter = src->counter;
		if (own) {
			c = bpf_map_lookup_elem(&gx_counters, &f.in);
			if (c) {
				received(&f, c);
				c->consumed += f.frames;
			}
			vc = bpf_map_lookup_elem(&gx_vcounters, &counter);
			if (vc) {
				vc->packets += f.frames;
				vc->bytes += wire_bytes(&f, f.tagged);
			}
			return TC_ACT_UNSPEC;
		}
		set_mac(&s, dest);
		dst = bpf_map_lookup_elem(&gx_fdb, &s);
		if (!dst)
			goto undecided;
		to = dst->port;
		*both = (struct pair){
			.src = key, .dst = dest, .network = p->network, .edition = edition, .since = since,
			.from = ifindex, .counter = counter, .ifindex = dst->ifindex, .port = to,
		};
		ifindex = both->ifindex;
	}
	if (!f.tagged && f.type == ETH_P_IP && dest == p->gateway && dest) {
		verdict = follow(skb, &f, p->network, counter);
		if (verdict != UNDECIDED)
			return verdict;
		goto undecided;
	}
	out = bpf_map_lookup_elem(&gx_ports, &to);
	if (!out || out->ifindex != ifindex || out->network != p->network || !(out->flags & TO))
		goto undecided;

	// deliver
	vc = bpf_map_lookup_elem(&gx_vcounters, &counter);
	if (!vc)
		goto undecided;
	if (out == p || to == p->twin) {
		vc->packets += f.frames;
		vc->bytes += wire_bytes(&f, f.tagged);
		DROP(same_port);
	}
	untagged = true;
	if (f.vid != out->pvid) {
		v = bpf_map_lookup_elem(&gx_vlans, &to);
		if (!v)
			goto undecided;
		if (!bit(v->carried, f.vid)) {
			vc->packets += f.frames;
			vc->bytes += wire_bytes(&f, f.tagged);
			DROP(vlan_denied);
		}
		untagged = bit(v->untagged, f.vid);
	}
	if (p->flags & out->flags & ISOLATED) {
		vc->packets += f.frames;
		vc->bytes += wire_bytes(&f, f.tagged);
		DROP(isolated);
	}
	if (f.longest > out->max_len)
		goto undecided;
	if (out->flags & (SNOOPED | HOSTONLY)) {
		if (!plain(skb, f.type, &k))
			goto undecided;
		if (out->flags & HOSTONLY && !may_use(&k.dst, HOST_ADDRS))
			goto undecided;
	}

	vc->packets += f.frames;
	vc->bytes += wire_bytes(&f, f.tagged);
	c = bpf_map_lookup_elem(&gx_counters, &f.in);
	if (c) {
		received(&f, c);
		c->forwarded += f.frames;
	}
	c = bpf_map_lookup_elem(&gx_counters, &to);
	if (c) {
		c->tx_packets += f.frames;
		c->tx_bytes += wire_bytes(&f, !untagged);
	}

	if (f.tagged && (untagged || (tci & 0xfff) != f.vid))
		bpf_skb_vlan_pop(skb);
	if (!untagged && (!f.tagged || (tci & 0xfff) != f.vid))
		bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), (tci & 0xf000) | f.vid);
	if (out->flags & PEER)
		return bpf_redirect_peer(out->ifindex, 0);
	return bpf_redirect(out->ifindex, 0);

undecided:
	return punt(skb, p, f.in);
}

// gx_drop is the end of what went to user space: the host's stack must not see
// it.
SEC("tc")
int gx_drop(struct __sk_buff *skb) { return TC_ACT_SHOT; }

char _license[] SEC("license") = "Dual MIT/GPL";
