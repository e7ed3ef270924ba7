/* SPDX-License-Identifier: Apache-2.0 */
/* What of a packet its connection is found by. */
#ifndef MN_TUPLE_H
#define MN_TUPLE_H

#include "flow_key.h"
#include "packet.h"

#define ICMP_QUOTE 8		/* octets of an ICMP error before the packet it quotes */

struct tuple {
	__u8	src[16];
	__u8	dst[16];
	__be16	src_port;	/* of echoes the identifier, twice; of other protocols 0 */
	__be16	dst_port;
	__u16	vlan;
	__u8	proto;
	__u8	zero;
} __attribute__((aligned(8)));

/* Whose connection a packet belongs to. */
enum tuple_kind {
	TUPLE_NONE,		/* nobody's */
	TUPLE_OWN,
	TUPLE_QUOTED,		/* that of the packet it quotes, and goes against */
};

/* Whether a packet may belong to a connection: not what is for many, nor what resolves addresses. */
static __always_inline int is_followed(const struct packet *pkt)
{
	const struct flow_key *key = &pkt->key;

	return pkt->version && !(key->eth_dst[0] & 1) && !(key->class & CLASS_ND) &&
	       (key->class & CLASS_FRAGMENT) != CLASS_FRAGMENT_LATER;
}

static __always_inline int has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP;
}

static __always_inline int is_own_icmp(const struct packet *pkt)
{
	return pkt->key.nw_proto == (pkt->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Whether it is an ICMP error that belongs to what it quotes. */
static __always_inline int quotes(const struct packet *pkt)
{
	__u8 type = bpf_ntohs(pkt->key.tp_src) >> 8;

	if (!is_own_icmp(pkt))
		return 0;
	if (pkt->version == 6)
		return type >= 1 && type <= 4;
	return type == 3 || type == 11 || type == 12;
}

/* The tuple of a packet as it came. */
static __always_inline void tuple_own(const struct packet *pkt, struct tuple *tuple)
{
	const struct flow_key *key = &pkt->key;

	__builtin_memcpy(tuple->src, key->nw_src, 16);
	__builtin_memcpy(tuple->dst, key->nw_dst, 16);
	tuple->vlan = bpf_ntohs(key->vlan) & 0x1fff;
	tuple->proto = key->nw_proto;
	if (has_ports(key->nw_proto)) {
		tuple->src_port = key->tp_src;
		tuple->dst_port = key->tp_dst;
	} else if (is_own_icmp(pkt)) {
		tuple->src_port = tuple->dst_port = key->tp_dst;
	}
}

/* The transport part of the packet at `l4` that an ICMP error quotes, turned round. */
static __always_inline int tuple_quoted_ports(struct __sk_buff *skb, const struct packet *pkt,
					      __u32 l4, struct tuple *tuple)
{
	__u8 icmp = pkt->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	__be16 words[4];

	if (has_ports(tuple->proto)) {
		if (l4 + 4 > pkt->end || bpf_skb_load_bytes(skb, l4, words, 4))
			return TUPLE_NONE;
		tuple->src_port = words[1];
		tuple->dst_port = words[0];
	} else if (tuple->proto == icmp) {
		if (l4 + 8 > pkt->end || bpf_skb_load_bytes(skb, l4, words, 8))
			return TUPLE_NONE;
		if (is_icmp_echo(pkt->version, *(__u8 *)words))
			tuple->src_port = tuple->dst_port = words[2];
	}
	return TUPLE_QUOTED;
}

/*
 * The tuple of the packet that an ICMP error quotes, turned round: the error goes against it.
 * IPv6 extension headers in a quotation are not walked.
 */
static __noinline int tuple_quoted(struct __sk_buff *skb, const struct packet *pkt,
				   struct tuple *tuple)
{
	__u32 inner = pkt->l4 + ICMP_QUOTE;
	__u8 head[20];

	if (!pkt->l4)
		return TUPLE_NONE;
	if (pkt->version == 4) {
		if (inner + 20 > pkt->end || bpf_skb_load_bytes(skb, inner, head, 20))
			return TUPLE_NONE;
		/* A later fragment has no ports. */
		if (head[0] >> 4 != 4 || (head[0] & 0xf) < 5 || (head[6] & 0x1f) | head[7])
			return TUPLE_NONE;
		map_v4(tuple->src, head + 16);
		map_v4(tuple->dst, head + 12);
		tuple->proto = head[9];
		return tuple_quoted_ports(skb, pkt, inner + (head[0] & 0xf) * 4, tuple);
	}
	if (inner + 40 > pkt->end || bpf_skb_load_bytes(skb, inner, head, 8) || head[0] >> 4 != 6)
		return TUPLE_NONE;
	if (bpf_skb_load_bytes(skb, inner + 8, tuple->dst, 16) ||
	    bpf_skb_load_bytes(skb, inner + 24, tuple->src, 16))
		return TUPLE_NONE;
	tuple->proto = head[6];
	return tuple_quoted_ports(skb, pkt, inner + 40, tuple);
}

/* The number of the outer tag as the packet is now. */
static __always_inline __u16 vlan_now(struct __sk_buff *skb)
{
	__be16 tag[2];

	if (skb->vlan_present)
		return (skb->vlan_tci & 0xfff) | VLAN_PRESENT;
	if (bpf_skb_load_bytes(skb, 12, tag, 4) || !is_tag(tag[0]))
		return 0;
	return (bpf_ntohs(tag[1]) & 0xfff) | VLAN_PRESENT;
}

/* The tuple of a packet after its headers were changed. Returns 0 or an error. */
static __noinline int tuple_now(struct __sk_buff *skb, const struct packet *pkt,
				struct tuple *tuple)
{
	__be32 v4[2];
	__be16 ports[2];

	tuple->vlan = vlan_now(skb);
	tuple->proto = pkt->key.nw_proto;
	if (pkt->version == 4) {
		if (bpf_skb_load_bytes(skb, pkt->l3 + 12, v4, 8))
			return -1;
		map_v4(tuple->src, &v4[0]);
		map_v4(tuple->dst, &v4[1]);
	} else if (bpf_skb_load_bytes(skb, pkt->l3 + 8, tuple->src, 16) ||
		   bpf_skb_load_bytes(skb, pkt->l3 + 24, tuple->dst, 16)) {
		return -1;
	}
	if (!pkt->l4)
		return 0;
	if (has_ports(tuple->proto)) {
		if (bpf_skb_load_bytes(skb, pkt->l4, ports, 4))
			return -1;
		tuple->src_port = ports[0];
		tuple->dst_port = ports[1];
	} else if (is_own_icmp(pkt) &&
		   is_icmp_echo(pkt->version, bpf_ntohs(pkt->key.tp_src) >> 8)) {
		if (bpf_skb_load_bytes(skb, pkt->l4 + 4, ports, 2))
			return -1;
		tuple->src_port = tuple->dst_port = ports[0];
	}
	return 0;
}

#endif
