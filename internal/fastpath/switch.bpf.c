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

#define ETH_P_QINQ1_OLD 0x9100
#define ALWAYS static __attribute__((always_inline)) inline

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#include "maps.bpf.h"
#include "stations.bpf.h"
#include "punt.bpf.h"
#include "guard.bpf.h"
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

SEC("tc")
int gx_ingress(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct seen f = {};
	struct packet k;
	struct counters *c;
	struct vlan_counters *vc;
	struct state *state;
	struct slot *src;
	struct port *p, *out;
	struct vlans *v;
	__u32 where = 0, counter, to, t;
	__u64 from, dest, fid;
	__u16 tci = 0;
	bool untagged;
	int verdict;

	p = find_port(skb->ifindex, &f.in);
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
	state = find_state();
	if (!state)
		goto undecided;
	fid = likely(f.vid == p->pvid) ? p->fid : find_fid(state, p->network, f.vid);
	src = fid ? find(state, from | fid << 48, &where) : NULL;
	if (!src || where != p->where)
		goto undecided;
	t = now(state);
	if (src->stamp != t)
		src->stamp = t;
	counter = fid;
	if (p->flags & REST && p->mac && dest == p->mac) {
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
	if (!f.tagged && f.type == ETH_P_IP && dest == p->gateway && dest) {
		verdict = follow(skb, &f, p->network, counter);
		if (verdict != UNDECIDED)
			return verdict;
		goto undecided;
	}
	if (!find(state, dest | fid << 48, &where))
		goto undecided;
	to = where & (MAX_PORTS - 1);
	out = bpf_map_lookup_elem(&gx_ports, &to);
	if (!out || out->where != where || out->network != p->network || !(out->flags & TO))
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
