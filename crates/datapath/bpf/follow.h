/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the agent how translated TCP connections come and go, while their packets pass.
 *
 * A flow whose first action is OP_FOLLOW tells of each segment with SYN, FIN or RST, and of the first
 * that has none of them: with that the connection is established. The agent looks into the ring
 * every few milliseconds: it is not woken, and no packet waits for it.
 */
#ifndef MN_FOLLOW_H
#define MN_FOLLOW_H

#include "maps.h"
#include "packet.h"

/* Returns whether there was room. */
static __noinline int follow_tell(__u64 cookie, __u32 class)
{
	struct followed followed = { .cookie = cookie, .class = class };
	__u32 worker = cookie >> 56;
	void *ring = bpf_map_lookup_elem(&mn_followed, &worker);
	__u64 *untold;

	if (ring && !bpf_ringbuf_output(ring, &followed, sizeof(followed), BPF_RB_NO_WAKEUP))
		return 1;
	untold = bpf_map_lookup_elem(&mn_untold, &worker);
	if (untold)
		__sync_fetch_and_add(untold, 1);
	return 0;
}

/* A packet is about to pass through a flow. */
static __always_inline void follow(struct flow *flow, const struct packet *pkt)
{
	struct action *first = &flow->actions.slot[0];
	__u8 class = pkt->key.class & CLASS_TCP;

	if (first->op != OP_FOLLOW || pkt->proto != IPPROTO_TCP ||
	    pkt->fragment == CLASS_FRAGMENT_LATER || (!class && first->b))
		return;
	if (follow_tell(flow->cookie, class) && !class)
		first->b = 1;
}

#endif
