// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//
// Flows: packets for a gateway that the switch has routed, or translated, before.
//
// A flow is one direction of what passes a gateway by two ports. Its entry says
// what the packets become and where they leave; who made it has made all checks
// that follow from ports, addresses and routes. The program looks at what may be
// different from packet to packet, and at what may have changed since:
//
//	era       of the flow is not the present one: a port, a route, a neighbour
//	          or the like has changed
//	life      of the flow is not that of its session: the session has ended
//	in, place the guest is behind another port now
//
// All else is for user space, as is every packet that may begin, end or upset a
// connection: SYN, FIN, RST, options, fragments, TTL used up, too long.

#define MAX_FLOWS 131072
#define MAX_SESSIONS 65536

// flow_key is a packet before it is changed. Addresses and ports are in network
// order.
struct flow_key {
	__u32 src, dst;
	__u16 sport, dport;
	__u16 scope; // the network whose guest sends it; 0: it comes by an uplink
	__u8 proto;
	__u8 pad;
};

struct flow {
	__u32 era;
	__u32 session, life; // its place in gx_sessions
	__u32 ifindex;       // of out
	__u32 max_len;       // longest frame on the way out
	__u32 src, dst;
	__u16 sport, dport;
	__u16 in, out;  // numbers of ports
	__u16 network;  // whose gateway it is
	__u16 vlan;     // in which the receiver is a station of the network; 0: it is outside
	__u8 macs[12];  // destination and source
	__u32 fid;      // of vlan
	__u8 end;       // of the session that sends: 0 or 1
	__u8 pad[3];
};

// session is what the flows of one have in common, and what user space wants to
// know of packets that it does not see. User space maps it.
struct session {
	__u32 life;
	__u32 stamp; // of the last packet, see now()
	// Of each end's TCP, as in nat/track.go: acknowledgement 63…32, known 31,
	// window 15…0.
	__u64 acked[2];
	__u64 pad;
};

// passage counts what the flows of a network brought from its uplink, and took
// there.
struct passage {
	__u64 rx_packets, rx_bytes;
	__u64 tx_packets, tx_bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_FLOWS);
	__type(key, struct flow_key);
	__type(value, struct flow);
} gx_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_SESSIONS);
	__type(key, __u32);
	__type(value, struct session);
} gx_sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} gx_era SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_NETWORKS + 1);
	__type(key, __u32);
	__type(value, struct passage);
} gx_passages SEC(".maps");

// packet_head is the beginning of a packet without options: what a flow changes
// comes first.
struct packet_head {
	__u16 eth[7];
	union {
		__u16 ip[10];
		struct {
			__u8 version_len, tos;
			__be16 len, id, fragment;
			__u8 ttl, proto;
			__u16 check;
			__u32 src, dst;
		} __attribute__((packed));
	};
	__u16 sport, dport;
	// Of TCP:
	__u8 seq[4];
	__u8 ack[4];
	__u8 offset, flags;
	__be16 window;
	__u8 rest[4];
} __attribute__((packed));

#define L4 (ETH_HLEN + 20)
#define CHANGED (L4 + 4) // what of a packet_head is written back
#define UDP_HEAD (L4 + 8)

#define TCP_FIN_SYN_RST 0x07
#define ACK_KNOWN (1u << 31)
#define ACK_STEP (1 << 15)

// UNDECIDED is no TC_ACT: the packet is for user space.
#define UNDECIDED (-2)

ALWAYS __u32 fold(__u32 sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return (sum >> 16) + (sum & 0xffff);
}

// ip_sum is the ones' complement sum of the IP header.
ALWAYS __u32 ip_sum(const struct packet_head *h)
{
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += h->ip[i];
	return fold(sum);
}

// difference is what a sum under which two words change becomes more by.
ALWAYS __u32 difference(__u32 was1, __u32 is1, __u32 was2, __u32 is2)
{
	__u64 d = (__u64)(__u32)~was1 + is1 + (__u32)~was2 + is2;

	d = (d >> 32) + (__u32)d;
	return (d >> 32) + (__u32)d;
}

// acknowledge keeps what an end has acknowledged, so that user space can tell a
// genuine FIN or RST.
ALWAYS void acknowledge(struct session *s, __u32 end, const struct packet_head *h)
{
	__u64 *at = &s->acked[end & 1], was = *at;
	__u32 ack = bpf_ntohl(*(__be32 *)h->ack), moved = ack - (__u32)(was >> 32);

	if (!(h->flags & 0x10) || (was & ACK_KNOWN && (moved < ACK_STEP || moved >= 1u << 31)))
		return;
	*at = (__u64)ack << 32 | ACK_KNOWN | bpf_ntohs(h->window);
}

// follow sends a packet to a gateway's MAC on, if it is of a flow. The port that it
// came from has let it in, and measured it. counter is of its VLAN; beyond all of
// them where it has none.
static __attribute__((noinline)) int follow(struct __sk_buff *skb, const struct seen *f, __u32 scope, __u32 counter)
{
	struct packet_head h;
	struct flow_key k = {};
	struct vlan_counters *vc;
	struct passage *way;
	struct counters *c;
	struct state *state = find_state();
	struct session *s;
	struct flow *fl;
	struct port *out;
	__u32 zero = 0, where = 0, *era, number, t, len, addresses, ports, flags, check;

	if (!state)
		return UNDECIDED;
	if (bpf_skb_load_bytes(skb, 0, &h, sizeof(h)) && bpf_skb_load_bytes(skb, 0, &h, UDP_HEAD))
		return UNDECIDED;
	len = bpf_ntohs(h.len);
	if (h.version_len != 0x45 || h.fragment & bpf_htons(0x3fff) || h.ttl <= 1 || ETH_HLEN + len > skb->len)
		return UNDECIDED;
	if (h.proto == IPPROTO_TCP) {
		if (len < 40 || h.flags & TCP_FIN_SYN_RST)
			return UNDECIDED;
		check = L4 + 16;
		flags = 0;
	} else if (h.proto == IPPROTO_UDP) {
		if (len < 28)
			return UNDECIDED;
		check = L4 + 6;
		flags = BPF_F_MARK_MANGLED_0;
	} else {
		return UNDECIDED;
	}
	k.src = h.src;
	k.dst = h.dst;
	k.sport = h.sport;
	k.dport = h.dport;
	k.scope = scope;
	k.proto = h.proto;
	fl = bpf_map_lookup_elem(&gx_flows, &k);
	if (!fl)
		return UNDECIDED;
	era = bpf_map_lookup_elem(&gx_era, &zero);
	if (!era || fl->era != *era || fl->in != f->in || f->longest > fl->max_len || ip_sum(&h) != 0xffff)
		return UNDECIDED;
	number = fl->session;
	s = bpf_map_lookup_elem(&gx_sessions, &number);
	if (!s || s->life != fl->life)
		return UNDECIDED;

	// Where it leaves is where it did when the flow was made.
	number = fl->out;
	out = bpf_map_lookup_elem(&gx_ports, &number);
	if (!out || out->ifindex != fl->ifindex)
		return UNDECIDED;
	if (fl->vlan) {
		if (out->network != fl->network || !(out->flags & TO))
			return UNDECIDED;
		if (!find(state, word_of(fl->macs) | (__u64)fl->fid << 48, &where) || where != out->where)
			return UNDECIDED;
	}

	number = fl->network;
	way = bpf_map_lookup_elem(&gx_passages, &number);
	if (!way)
		return UNDECIDED;

	// The deepest byte first: where the packet can't be written to, nothing of it
	// has been. Ports change with addresses alone.
	if (h.src != fl->src || h.dst != fl->dst) {
		addresses = difference(h.src, fl->src, h.dst, fl->dst);
		if (bpf_l4_csum_replace(skb, check, 0, addresses, flags | BPF_F_PSEUDO_HDR))
			return UNDECIDED;
		ports = difference(h.sport, fl->sport, h.dport, fl->dport);
		bpf_l4_csum_replace(skb, check, 0, ports, flags);
	}
	__builtin_memcpy(h.eth, fl->macs, 12);
	h.ttl--;
	h.src = fl->src;
	h.dst = fl->dst;
	h.sport = fl->sport;
	h.dport = fl->dport;
	h.check = 0;
	h.check = ~ip_sum(&h);
	if (bpf_skb_store_bytes(skb, 0, &h, CHANGED, 0))
		return UNDECIDED;

	t = now(state);
	if (s->stamp != t)
		s->stamp = t;
	if (h.proto == IPPROTO_TCP)
		acknowledge(s, fl->end, &h);
	if (scope) {
		vc = bpf_map_lookup_elem(&gx_vcounters, &counter);
		if (vc) {
			vc->packets += f->frames;
			vc->bytes += f->bytes;
		}
		number = f->in;
		c = bpf_map_lookup_elem(&gx_counters, &number);
		if (c) {
			received(f, c);
			c->forwarded += f->frames;
		}
	} else {
		way->rx_packets += f->frames;
		way->rx_bytes += f->bytes;
	}
	if (fl->vlan) {
		number = fl->out;
		c = bpf_map_lookup_elem(&gx_counters, &number);
		if (c) {
			c->tx_packets += f->frames;
			c->tx_bytes += f->bytes;
		}
	} else {
		way->tx_packets += f->frames;
		way->tx_bytes += f->bytes;
	}
	if (out->flags & PEER)
		return bpf_redirect_peer(out->ifindex, 0);
	return bpf_redirect(out->ifindex, 0);
}

// from_outside is all that is decided of what comes by an uplink that gateways
// share with others: eth is a whole header.
ALWAYS int from_outside(struct __sk_buff *skb, const struct port *p, const struct ethhdr *eth, struct seen *f)
{
	if (word_of(eth->h_dest) != p->gateway || eth->h_source[0] & 1 || eth->h_proto != bpf_htons(ETH_P_IP) || skb->vlan_present)
		return UNDECIDED;
	f->type = ETH_P_IP;
	if (!measure(skb, f))
		return UNDECIDED;
	return follow(skb, f, 0, MAX_VLANS);
}
