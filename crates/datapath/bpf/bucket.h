/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket as one number: GCRA (ITU-T I.371). */
#ifndef MN_BUCKET_H
#define MN_BUCKET_H

#include <linux/types.h>

/*
 * Takes one token; 0 if there is none.
 * @arrival_at: the theoretical arrival time
 * @rate:       tokens a second, not 0
 * @burst_ns:   the bucket, as the time it takes to fill
 */
static __always_inline int bucket_take(__u64 *arrival_at, __u32 rate, __u64 burst_ns, __u64 now)
{
	__u64 seen, next;
	int i;

	for (i = 0; i < 4; i++) {
		seen = *(volatile __u64 *)arrival_at;
		next = seen > now ? seen : now;
		next += 1000000000ULL / rate;
		if (next - now > burst_ns)
			return 0;
		if (__sync_val_compare_and_swap(arrival_at, seen, next) == seen)
			return 1;
	}
	return 1;
}

#endif
