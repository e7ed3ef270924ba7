/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnelled packets taken off the underlay's interface, before the host's own IP stack.
 *
 * Only what is certainly good is taken here: a plain packet from a member, to an address of ours,
 * with the key of a port. Everything else goes on as if this program were not there; what is for
 * our tunnels then reaches the kernel's device, whose program drops and counts it.
 */
#ifndef MN_DECAPSULATE_H
#define MN_DECAPSULATE_H

#include <linux/if_packet.h>

#include "tunnel.h"
#include "underlay.h"

#define PASS_ON TC_ACT_UNSPEC
/* Linux 6.3; before, a change of version is left to the kernel's device. */
#define DECAP_TO_V4 (1ULL << 7)
#define DECAP_TO_V6 (1ULL << 8)

/* An outer header that may be taken off. */
struct outer {
	__u8	src[16];
	__u8	dst[16];
	__u32	len;		/* with VXLAN's header and the inner Ethernet header */
	__u32	vni;
	__be16	proto;		/* of IP */
	__be16	src_port;
	struct eth_words inner;
};

/* The sum of an IPv4 header without options; 0xffff where its checksum is right. */
static __always_inline __u32 header_sum(const struct iphdr *ip)
{
	const __u16 *words = (const __u16 *)ip;
	__u32 sum = 0;
	int i;

#pragma unroll
	for (i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Whether the datagram is a tunnelled packet with nothing unusual about it. */
static __always_inline int read_vxlan(const struct udphdr *udp, const struct vxlan_words *vxlan,
				      const struct eth_words *inner, __u32 udp_len, __be16 port,
				      struct outer *outer)
{
	if (udp->dest != port || udp->check || udp->len != bpf_htons(udp_len) ||
	    vxlan->flags != bpf_htonl(VXLAN_FLAGS) || vxlan->vni & bpf_htonl(0xff))
		return 0;
	if (inner->dst[0] & bpf_htons(0x0100) ||
	    (inner->type != bpf_htons(ETH_P_IP) && inner->type != bpf_htons(ETH_P_IPV6)))
		return 0;
	outer->vni = bpf_ntohl(vxlan->vni) >> 8;
	outer->src_port = udp->source;
	outer->inner = *inner;
	return 1;
}

static __always_inline int read_outer4(struct __sk_buff *skb, void *l3, void *end, __be16 port,
				       struct outer *outer)
{
	struct outer4 *at = l3;
	__u32 len = skb->len - sizeof(struct eth_words);

	/* Options, fragments, congestion marks, padding behind: the kernel's device knows them. */
	if (l3 + OUTER_LEN(struct outer4) > end || *(__u8 *)l3 != 0x45 ||
	    at->ip.protocol != IPPROTO_UDP || at->ip.frag_off & bpf_htons(IP_OFFSET_OR_MORE) ||
	    (at->ip.tos & ECN) == ECN_CE || at->ip.tot_len != bpf_htons(len) ||
	    header_sum(&at->ip) != 0xffff)
		return 0;
	map_v4(outer->src, &at->ip.saddr);
	map_v4(outer->dst, &at->ip.daddr);
	outer->len = OUTER_LEN(struct outer4);
	return read_vxlan(&at->udp, &at->vxlan, &at->inner, len - sizeof(at->ip), port, outer);
}

static __always_inline int read_outer6(struct __sk_buff *skb, void *l3, void *end, __be16 port,
				       struct outer *outer)
{
	struct outer6 *at = l3;
	__u32 len = skb->len - sizeof(struct eth_words) - sizeof(at->ip);

	if (l3 + OUTER_LEN(struct outer6) > end || at->ip.version != 6 ||
	    at->ip.nexthdr != IPPROTO_UDP || at->ip.payload_len != bpf_htons(len) ||
	    (at->ip.flow_lbl[0] >> 4 & ECN) == ECN_CE)
		return 0;
	__builtin_memcpy(outer->src, &at->ip.saddr, 16);
	__builtin_memcpy(outer->dst, &at->ip.daddr, 16);
	outer->len = OUTER_LEN(struct outer6);
	return read_vxlan(&at->udp, &at->vxlan, &at->inner, len, port, outer);
}

/* Reads the headers of a tunnelled packet. Returns whether it may be taken here. */
static __always_inline int read_outer(struct __sk_buff *skb, const struct underlay *under,
				      struct outer *outer)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	void *l3 = data + sizeof(struct eth_words);

	outer->proto = skb->protocol;
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return 0;
	if (outer->proto == bpf_htons(ETH_P_IP))
		return read_outer4(skb, l3, end, under->port, outer);
	if (outer->proto == bpf_htons(ETH_P_IPV6))
		return read_outer6(skb, l3, end, under->port, outer);
	return 0;
}

/*
 * Whether the packet is one that the kernel's device has to take off its outer header: only it can
 * take away what the header is to segmentation, too. Its device has a queue, so packets of the flow
 * that come shortly after go the same way: they must not overtake.
 */
static __always_inline int is_coalesced(struct __sk_buff *skb, const struct outer *outer)
{
	__u32 place = (bpf_ntohs(outer->src_port) ^ *(const __u32 *)(outer->src + 12)) &
		      (COALESCED - 1);
	__u64 *at = bpf_map_lookup_elem(&mn_coalesced, &place), now = bpf_ktime_get_coarse_ns();

	if (!at)
		return 1;
	if (!skb->gso_size)
		return *at && now - *at < COALESCED_NS;
	if (*at != now)
		*at = now;
	return 1;
}

/* What the key means, if it is of a port and may be used by the sender; otherwise NULL. */
static __always_inline struct delivery *delivery_to_port(const struct outer *outer)
{
	struct delivery *delivery;
	__u32 key = outer->vni & ~VNI_MARK;

	if (!bpf_map_lookup_elem(&mn_members, outer->src))
		return NULL;
	delivery = bpf_map_lookup_elem(&mn_keys, &key);
	return delivery && delivery->kind == DELIVERY_PORT ? delivery : NULL;
}

/* Takes the outer header off. Returns 0, or an error where nothing was changed. */
static __always_inline int take_off(struct __sk_buff *skb, const struct outer *outer)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;

	if (outer->proto != outer->inner.type)
		flags |= outer->inner.type == bpf_htons(ETH_P_IP) ? DECAP_TO_V4 : DECAP_TO_V6;
	if (bpf_skb_adjust_room(skb, -(__s32)outer->len, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	/* What was verified last is no more there (RFC 6935: the outer checksum is zero). */
	bpf_csum_level(skb, BPF_CSUM_LEVEL_DEC);
	return 0;
}

static __always_inline int decapsulate(struct __sk_buff *skb)
{
	struct packet pkt = { .ingress = 1, .port = PORT_TUNNEL };
	struct outer outer __attribute__((aligned(8))) = {};
	const struct underlay *under = underlay();
	struct delivery *delivery;
	void *data;

	if (!under || !under->port || !read_outer(skb, under, &outer) ||
	    !is_local(under, outer.dst))
		return PASS_ON;
	delivery = delivery_to_port(&outer);
	if (!delivery || is_coalesced(skb, &outer) || take_off(skb, &outer))
		return PASS_ON;
	data = (void *)(long)skb->data;
	if (data + sizeof(outer.inner) > (void *)(long)skb->data_end)
		return drop(&pkt, DROP_TRUNCATED, 1);
	__builtin_memcpy(data, &outer.inner, sizeof(outer.inner));
	pkt.track = !!(outer.vni & VNI_MARK);
	return tunnel_hand_over(skb, &pkt, delivery);
}

#endif
