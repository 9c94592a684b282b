// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//
// What a frame is on the wire, and the way to user space of those that the program
// does not decide.

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
