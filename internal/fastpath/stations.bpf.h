// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//
// The forwarding database, and the time.

// now counts periods of 2^30 ns, a little more than a second. The kernel is asked
// once in 64 jiffies: a call is dear, jiffies cost none.
ALWAYS __u32 now(struct state *s)
{
	__u32 tick = bpf_jiffies64() >> 6;
	__u64 clock = *(volatile __u64 *)&s->clock;

	if (unlikely(clock >> 32 != tick)) {
		clock = (__u64)tick << 32 | (__u32)(bpf_ktime_get_coarse_ns() >> 30);
		*(volatile __u64 *)&s->clock = clock;
	}
	return clock;
}

ALWAYS struct state *find_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&gx_state, &zero);
}

// word_of is an address as a number, its first byte lowest.
ALWAYS __u64 word_of(const __u8 *mac) { return (__u64)*(__u32 *)mac | (__u64)*(__u16 *)&mac[4] << 32; }

// in_bucket looks for a word there. where is what it was when the slot was this
// word's.
ALWAYS struct slot *in_bucket(__u32 number, __u64 word, __u32 *where)
{
	struct bucket *b = bpf_map_lookup_elem(&gx_fdb, &number);

	if (!b)
		return NULL;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		*where = *(volatile __u32 *)&b->slots[i].where;
		if ((*(volatile __u64 *)&b->slots[i].check ^ *where) == word)
			return &b->slots[i];
	}
	return NULL;
}

// find looks a station up. In which two buckets a word may be is hashed with
// secrets, or a guest could choose addresses that leave others no room.
ALWAYS struct slot *find(struct state *s, __u64 word, __u32 *where)
{
	__u64 h = word * s->secret[0];
	struct slot *at;

	h = (h ^ h >> 32) * s->secret[1];
	at = in_bucket(h >> 48, word, where);
	return likely(at) ? at : in_bucket(h >> 32 & (MAX_BUCKETS - 1), word, where);
}

// find_fid is the filtering database of a VLAN; 0 if there is none.
ALWAYS __u64 find_fid(struct state *s, __u32 network, __u16 vid)
{
	__u32 fid = 0;

	return find(s, FID_OF_VLAN << 48 | (__u64)network << 12 | vid, &fid) ? fid : 0;
}
