/* SPDX-License-Identifier: Apache-2.0 */
/* How many frames to several receivers a port may send: each costs as many sendings. */
#ifndef MN_BROADCAST_H
#define MN_BROADCAST_H

#include "bucket.h"
#include "maps.h"

/* Whether a broadcast or multicast frame is one too many of its port. */
__noinline int broadcast_refused(__u32 port)
{
	struct rate_limit *limit = bpf_map_lookup_elem(&mn_broadcasts, &port);

	if (!limit || !limit->rate)
		return 0;
	return !bucket_take(&limit->arrival_at, limit->rate, limit->burst_ns, bpf_ktime_get_ns());
}

#endif
