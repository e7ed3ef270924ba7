/* SPDX-License-Identifier: Apache-2.0 */
/* How much a port carries each way: a token bucket of octets as on the wire. */
#ifndef MN_BANDWIDTH_H
#define MN_BANDWIDTH_H

#include "counters.h"
#include "maps.h"

/*
 * Takes so many octets of a way's bucket; 0 if it has not as many. One number is the bucket, as in
 * bucket.h. A packet larger than the bucket passes when the bucket is full: else a small one would
 * stop large segments for ever.
 */
static __noinline int bandwidth_take(struct bandwidth *way, __u32 octets)
{
	__u64 now = bpf_ktime_get_ns(), seen, from;
	__u64 cost = octets * way->octet_time >> BANDWIDTH_SHIFT;
	int i;

	for (i = 0; i < 4; i++) {
		seen = *(volatile __u64 *)&way->arrival_at;
		from = seen > now ? seen : now;
		if (from > now && from - now + cost > way->burst_ns)
			return 0;
		if (__sync_val_compare_and_swap(&way->arrival_at, seen, from + cost) == seen)
			return 1;
	}
	return 1;
}

/* Whether a packet is more than its port carries this way. */
static __always_inline int bandwidth_refused(__u32 port, enum way way, struct load load)
{
	struct port_bandwidth *both = bpf_map_lookup_elem(&mn_bandwidths, &port);

	if (!both || !both->way[way].octet_time)
		return 0;
	return !bandwidth_take(&both->way[way], load.octets);
}

#endif
