/* SPDX-License-Identifier: Apache-2.0 */
/* The network between hosts: our addresses in it, the ways to the others. */
#ifndef MN_UNDERLAY_H
#define MN_UNDERLAY_H

#include "maps.h"
#include "packet.h"

#define VXLAN_FLAGS 0x08000000	/* a key is there, and nothing else (RFC 7348 §5) */

/* Between the outer Ethernet header and the inner packet. */
struct vxlan_words {
	__be32	flags;
	__be32	vni;		/* and an octet that is zero */
};

struct outer4 {
	struct iphdr		ip;
	struct udphdr		udp;
	struct vxlan_words	vxlan;
	struct eth_words	inner;
};

struct outer6 {
	struct ipv6hdr		ip;
	struct udphdr		udp;
	struct vxlan_words	vxlan;
	struct eth_words	inner;
};

/* The octets in the frame: the structs end in padding. */
#define OUTER_LEN(outer) (offsetof(outer, inner) + sizeof(struct eth_words))

static __always_inline struct underlay *underlay(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mn_underlay, &zero);
}

static __always_inline int is_same(const __u8 *a, const __u8 *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]));
}

/**
 * The way to a peer, as an agent that follows the kernel's routes has said.
 *
 * Returns NULL where the kernel's device has to find it: it always does while no agent lives.
 */
static __always_inline struct route *route_to(const struct underlay *under, __u32 peer)
{
	struct route *route;
	/* The coarse clock may be behind. */
	__s64 age = bpf_ktime_get_coarse_ns() - under->followed_at;

	if (age > (__s64)FOLLOWED_MAX_NS)
		return NULL;
	route = bpf_map_lookup_elem(&mn_routes, &peer);
	return route && route->ifindex ? route : NULL;
}

#endif
