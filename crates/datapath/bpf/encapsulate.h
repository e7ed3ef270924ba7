/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnelled packets made here, past the host's own IP stack. On the wire they are what the kernel's
 * device makes: UDP without a checksum, never fragmented, the source port from the flow's hash, the
 * congestion bits of the packet inside (RFC 6040 §4.1).
 */
#ifndef MN_ENCAPSULATE_H
#define MN_ENCAPSULATE_H

#include "rewrite.h"
#include "underlay.h"

#define OUTER_TTL 64
#define ECN 3
#define ECN_ECT0 2
#define ECN_CE 3

/* What the outer header takes from the packet. */
struct outer_fields {
	struct eth_words inner;
	__u8	ecn;
	__be16	src_port;
	__be16	dst_port;
	__u32	vni;
};

/* The same for both directions' packets of a flow, and the same as the kernel's device chooses. */
static __always_inline __be16 source_port(struct __sk_buff *skb)
{
	__u32 hash = bpf_get_hash_recalc(skb);

	hash ^= hash << 16;
	return bpf_htons(SOURCE_PORT_MIN +
			 ((__u64)hash * (SOURCE_PORT_MAX - SOURCE_PORT_MIN) >> 32));
}

/* Reads what goes into the outer header. Returns 0 or an error. */
static __always_inline int outer_fields(struct __sk_buff *skb, const struct packet *pkt,
					struct outer_fields *fields)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct eth_words *eth = data;
	const __u8 *ip = data + sizeof(*eth);

	if (data + sizeof(*eth) + 2 > end)
		return -1;
	fields->inner = *eth;
	fields->ecn = (pkt->version == 4 ? ip[1] : ip[1] >> 4) & ECN;
	if (fields->ecn == ECN_CE)
		fields->ecn = ECN_ECT0;
	return 0;
}

static __always_inline void write_udp(struct udphdr *udp, struct vxlan_words *vxlan, __u16 len,
				      const struct outer_fields *fields)
{
	udp->source = fields->src_port;
	udp->dest = fields->dst_port;
	udp->len = bpf_htons(len);
	udp->check = 0;
	vxlan->flags = bpf_htonl(VXLAN_FLAGS);
	vxlan->vni = bpf_htonl(fields->vni << 8);
}

static __always_inline void write_eth(struct eth_words *eth, __be16 type)
{
	/* The neighbour's address and ours are the kernel's to fill in. */
	__builtin_memset(eth, 0, sizeof(*eth));
	eth->type = type;
}

static __noinline int write_outer4(struct __sk_buff *skb, const struct peer *peer,
				   const struct outer_fields *fields)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u16 len = skb->len - sizeof(struct eth_words);
	struct outer4 *outer = data + sizeof(struct eth_words);
	__be16 words[10];
	__u32 sum = 0;
	int i;

	if ((void *)outer + OUTER_LEN(struct outer4) > end)
		return -1;
	write_eth(data, bpf_htons(ETH_P_IP));
	words[0] = bpf_htons(0x4500 | fields->ecn);
	words[1] = bpf_htons(len);
	words[2] = 0;
	words[3] = bpf_htons(0x4000);	/* do not fragment */
	words[4] = bpf_htons(OUTER_TTL << 8 | IPPROTO_UDP);
	words[5] = 0;
	words[6] = *(const __be16 *)(peer->local + 12);
	words[7] = *(const __be16 *)(peer->local + 14);
	words[8] = *(const __be16 *)(peer->remote + 12);
	words[9] = *(const __be16 *)(peer->remote + 14);
#pragma unroll
	for (i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	words[5] = ~sum;
	__builtin_memcpy(&outer->ip, words, sizeof(words));
	write_udp(&outer->udp, &outer->vxlan, len - sizeof(outer->ip), fields);
	outer->inner = fields->inner;
	return 0;
}

static __noinline int write_outer6(struct __sk_buff *skb, const struct peer *peer,
				   const struct outer_fields *fields)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct outer6 *outer = data + sizeof(struct eth_words);
	__u16 len = skb->len - sizeof(struct eth_words) - sizeof(outer->ip);

	if ((void *)outer + OUTER_LEN(struct outer6) > end)
		return -1;
	write_eth(data, bpf_htons(ETH_P_IPV6));
	*(__be32 *)&outer->ip = bpf_htonl(0x60000000 | fields->ecn << 20);
	outer->ip.payload_len = bpf_htons(len);
	outer->ip.nexthdr = IPPROTO_UDP;
	outer->ip.hop_limit = OUTER_TTL;
	__builtin_memcpy(&outer->ip.saddr, peer->local, 16);
	__builtin_memcpy(&outer->ip.daddr, peer->remote, 16);
	write_udp(&outer->udp, &outer->vxlan, len, fields);
	outer->inner = fields->inner;
	return 0;
}

/* Whether the packet is of a kind that can be tunnelled here: IP behind a plain Ethernet header,
 * not so long that an outer length does not fit, with no sum over all of it that would be wrong
 * after.
 */
static __always_inline int is_encapsulable(struct __sk_buff *skb, const struct packet *pkt)
{
	return pkt->ingress && pkt->version && pkt->l3 == sizeof(struct eth_words) &&
	       !skb->vlan_present && skb->len < 0xffff - sizeof(struct outer6) &&
	       bpf_csum_update(skb, 0) < 0;
}

/**
 * Puts the packet into a tunnel and sends it to its next hop.
 * @index: of the peer
 *
 * Returns what the hook shall return, or 0 where the packet is as before and the kernel's device
 * has to do it.
 */
static __noinline int encapsulate(struct __sk_buff *skb, const struct packet *pkt,
				  const struct peer *peer, __u32 index, __u32 vni)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
		      BPF_F_ADJ_ROOM_ENCAP_L2(sizeof(struct eth_words)) |
		      BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
	struct outer_fields fields = { .vni = vni };
	struct bpf_redir_neigh next_hop;
	const struct route *route;
	const struct underlay *under = underlay();
	int v6 = peer->flags & PEER_V6;
	int err;

	route = under ? route_to(under, index) : NULL;
	if (!route || outer_fields(skb, pkt, &fields))
		return 0;
	next_hop.nh_family = route->family;
	__builtin_memcpy(next_hop.ipv6_nh, route->next_hop, 16);
	fields.src_port = source_port(skb);
	fields.dst_port = under->port;
	flags |= v6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	if (bpf_skb_adjust_room(skb, v6 ? OUTER_LEN(struct outer6) : OUTER_LEN(struct outer4),
				BPF_ADJ_ROOM_MAC, flags))
		return 0;
	err = v6 ? write_outer6(skb, peer, &fields) : write_outer4(skb, peer, &fields);
	if (err)
		return TC_ACT_SHOT;
	return bpf_redirect_neigh(route->ifindex, &next_hop, sizeof(next_hop), 0);
}

#endif
