/* SPDX-License-Identifier: Apache-2.0 */
/* How many frames to several receivers a port may send: each costs as many sendings. */
#ifndef MN_BROADCAST_H
#define MN_BROADCAST_H

#include "maps.h"

/* Whether a broadcast or multicast frame is one too many of its port. GCRA, as upcall_token(). */
__noinline int broadcast_refused(__u32 port)
{
	struct rate_limit *limit = bpf_map_lookup_elem(&mn_broadcasts, &port);
	__u64 now, next, arrival_at;
	int i;

	if (!limit || !limit->rate)
		return 0;
	now = bpf_ktime_get_ns();
	for (i = 0; i < 4; i++) {
		arrival_at = *(volatile __u64 *)&limit->arrival_at;
		next = arrival_at > now ? arrival_at : now;
		next += 1000000000ULL / limit->rate;
		if (next - now > limit->burst_ns)
			return 1;
		if (__sync_val_compare_and_swap(&limit->arrival_at, arrival_at, next) == arrival_at)
			return 0;
	}
	return 0;
}

#endif
