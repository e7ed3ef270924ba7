/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other hosts send: delivered by its key alone, without flows and without asking anybody, so
 * that it works while no agent is alive.
 */
#ifndef MN_TUNNEL_H
#define MN_TUNNEL_H

#include "flow_key.h"
#include "output.h"
#include "underlay.h"

static __always_inline int is_local(const struct underlay *under, const __u8 *addr)
{
	int i;

	if (is_unset(addr))
		return 0;
#pragma unroll
	for (i = 0; i < LOCALS_MAX; i++) {
		if (is_same(under->local[i], addr))
			return 1;
	}
	return 0;
}

/*
 * Whether an outer destination may be a tunnel address of ours: it is one, or not all are known,
 * before the agent has said any or where there is no room for more.
 */
static __always_inline int may_be_local(const __u8 *addr)
{
	const struct underlay *under = underlay();

	if (!under || is_unset(under->local[0]) || !is_unset(under->local[LOCALS_MAX - 1]))
		return 1;
	return is_local(under, addr);
}

/* Reads the outer header. Returns 0 or an error. */
static __always_inline int tunnel_ends(struct __sk_buff *skb, __u8 *src, __u8 *dst, __u32 *vni)
{
	struct bpf_tunnel_key key = {};
	__be32 addr;

	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0)) {
		addr = bpf_htonl(key.remote_ipv4);
		map_v4(src, &addr);
		addr = bpf_htonl(key.local_ipv4);
		map_v4(dst, &addr);
	} else if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6)) {
		__builtin_memcpy(src, key.remote_ipv6, 16);
		__builtin_memcpy(dst, key.local_ipv6, 16);
	} else {
		return -1;
	}
	*vni = key.tunnel_id;
	return 0;
}

/* Delivers a packet whose outer header is off and was found to be in order. */
static __always_inline int tunnel_hand_over(struct __sk_buff *skb, struct packet *pkt,
					    const struct delivery *delivery)
{
	int cause = flow_key_read(skb, pkt);
	struct load load = load_of(skb, pkt);

	count_rx(PORT_TUNNEL, load);
	if (cause)
		return drop(pkt, cause, load.packets);
	return output_port(skb, pkt, delivery->index, SEND_LAST);
}

static __always_inline int tunnel_deliver(struct __sk_buff *skb)
{
	struct packet pkt = { .ingress = 1, .port = PORT_TUNNEL };
	__u8 src[16] __attribute__((aligned(8))) = {};
	__u8 dst[16] __attribute__((aligned(8))) = {};
	struct delivery *delivery;
	struct load load;
	__u32 vni, key;
	int cause;

	if (tunnel_ends(skb, src, dst, &vni))
		return TC_ACT_SHOT;
	cause = flow_key_read(skb, &pkt);
	load = load_of(skb, &pkt);
	count_rx(PORT_TUNNEL, load);
	if (cause)
		return drop(&pkt, cause, load.packets);
	if (!bpf_map_lookup_elem(&mn_members, src))
		return drop(&pkt, DROP_TUNNEL_NOT_MEMBER, load.packets);
	if (!may_be_local(dst))
		return drop(&pkt, DROP_TUNNEL_OTHER_ADDRESS, load.packets);
	key = vni & ~VNI_MARK;
	pkt.track = !!(vni & VNI_MARK);
	delivery = bpf_map_lookup_elem(&mn_keys, &key);
	if (!delivery)
		return drop(&pkt, DROP_TUNNEL_UNKNOWN_KEY, load.packets);
	switch (delivery->kind) {
	case DELIVERY_PORT:
		return output_port(skb, &pkt, delivery->index, SEND_LAST);
	case DELIVERY_SEGMENT:
		output_segments(skb, &pkt, delivery->index);
		return TC_ACT_SHOT;
	}
	return drop(&pkt, DROP_TUNNEL_RETIRED_KEY, load.packets);
}

#endif
