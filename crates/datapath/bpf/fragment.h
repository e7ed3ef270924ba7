/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments. A later one has no ports, so a flow that reads ports could not be found for it: it
 * takes those of its datagram's first fragment, where that came before it by the same port.
 */
#ifndef MN_FRAGMENT_H
#define MN_FRAGMENT_H

#include "maps.h"
#include "packet.h"

/* As long as receivers wait for the rest of a datagram (RFC 8200 §4.5). */
#define FRAGMENT_MAX_NS 60000000000ULL

static __noinline int fragment_follow(struct packet *pkt)
{
	struct fragment_key key = { .port = pkt->port, .id = pkt->fragment_id };
	struct fragment *first, seen = { .seen_at = bpf_ktime_get_coarse_ns() };

	__builtin_memcpy(key.src, pkt->key.nw_src, 16);
	__builtin_memcpy(key.dst, pkt->key.nw_dst, 16);
	if (pkt->version == 4)
		key.proto = pkt->key.nw_proto;
	if (pkt->fragment == CLASS_FRAGMENT_FIRST) {
		seen.tp_src = pkt->key.tp_src;
		seen.tp_dst = pkt->key.tp_dst;
		seen.proto = pkt->key.nw_proto;
		seen.tcp = pkt->key.class & CLASS_TCP;
		bpf_map_update_elem(&mn_fragments, &key, &seen, BPF_ANY);
		return 0;
	}
	first = bpf_map_lookup_elem(&mn_fragments, &key);
	if (!first || seen.seen_at - first->seen_at > FRAGMENT_MAX_NS)
		return 0;
	pkt->key.tp_src = first->tp_src;
	pkt->key.tp_dst = first->tp_dst;
	pkt->key.nw_proto = first->proto;
	pkt->key.class &= ~CLASS_FRAGMENT;
	pkt->key.class |= CLASS_FRAGMENT_FIRST | first->tcp;
	return 0;
}

#endif
