// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//
// What guards let pass: packets that show all of what they are.

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
