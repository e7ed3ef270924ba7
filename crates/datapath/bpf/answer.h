/* SPDX-License-Identifier: Apache-2.0 */
/* Questions for neighbours turned into their answers. */
#ifndef MN_ANSWER_H
#define MN_ANSWER_H

#include "rewrite.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2
#define ND_FROM_ROUTER 0x80
#define ND_SOLICITED 0x40
#define ND_OVERRIDES 0x20
#define ND_SOURCE_MAC 1
#define ND_TARGET_MAC 2

/* What ARP has after its five fixed fields. */
struct arp_body {
	__be16	op;
	__u8	sender_mac[6];
	__u8	sender[4];
	__u8	target_mac[6];
	__u8	target[4];
};

#define ARP_BODY_AT 6

/* Of ICMPv6, without the target, which stays as it is. */
struct nd_words {
	__u8	type;
	__u8	code;
	__u16	zero;		/* instead of the checksum */
	__u8	flags[4];
	__u8	option;
	__u8	option_len;	/* in units of eight octets */
	__u8	mac[6];
};

#define ND_FLAGS_AT 4
#define ND_OPTION_AT ND_MIN
#define ND_LEN 32

static __always_inline int is_arp_request(const struct packet *pkt)
{
	return pkt->key.eth_type == bpf_htons(ETH_P_ARP) && pkt->key.nw_proto == ARP_REQUEST;
}

/* Whether it is a solicitation from an address, with the source's MAC and no other option. */
static __always_inline int is_plain_solicitation(struct __sk_buff *skb, const struct packet *pkt)
{
	const __u64 *src = (const __u64 *)pkt->key.nw_src;
	__u8 option[2];

	if (!(pkt->key.class & CLASS_ND) || !pkt->l4 || pkt->end - pkt->l4 != ND_LEN ||
	    pkt->key.tp_src != bpf_htons(ND_SOLICITATION << 8) || !(src[0] | src[1]))
		return 0;
	if (bpf_skb_load_bytes(skb, pkt->l4 + ND_OPTION_AT, option, sizeof(option)))
		return 0;
	return option[0] == ND_SOURCE_MAC && option[1] == 1;
}

/* Whether the packet is one that answer() can answer. */
__noinline int is_question(struct __sk_buff *skb, const struct packet *pkt)
{
	if (!pkt)
		return 0;
	return is_arp_request(pkt) || is_plain_solicitation(skb, pkt);
}

static __noinline int answer_arp(struct __sk_buff *skb, struct packet *pkt, const __u8 *mac)
{
	__u32 at = pkt->l3 + ARP_BODY_AT;
	struct arp_body body;
	__u8 target[4];

	if (bpf_skb_load_bytes(skb, at, &body, sizeof(body)))
		return -1;
	body.op = bpf_htons(ARP_REPLY);
	__builtin_memcpy(target, body.target, 4);
	__builtin_memcpy(body.target_mac, body.sender_mac, 6);
	__builtin_memcpy(body.target, body.sender, 4);
	__builtin_memcpy(body.sender_mac, mac, 6);
	__builtin_memcpy(body.sender, target, 4);
	return bpf_skb_store_bytes(skb, at, &body, sizeof(body), BPF_F_RECOMPUTE_CSUM);
}

/*
 * The target becomes the source, and the source the destination. For the checksum the source has
 * only changed its place: what changes is that the target stands where the destination did.
 */
static __always_inline int answer_addresses(struct __sk_buff *skb, const struct packet *pkt)
{
	__u32 dst[4], ends[8];
	__s64 diff;

	if (bpf_skb_load_bytes(skb, pkt->l3 + IP6_SRC, ends + 4, 16) ||
	    bpf_skb_load_bytes(skb, pkt->l3 + IP6_DST, dst, 16) ||
	    bpf_skb_load_bytes(skb, pkt->l4 + ND_TARGET_AT, ends, 16))
		return -1;
	diff = bpf_csum_diff(dst, sizeof(dst), ends, 16, 0);
	if (diff < 0 || bpf_l4_csum_replace(skb, pkt->l4 + 2, 0, diff, BPF_F_PSEUDO_HDR))
		return -1;
	return bpf_skb_store_bytes(skb, pkt->l3 + IP6_SRC, ends, sizeof(ends), 0);
}

static __always_inline int answer_message(struct __sk_buff *skb, const struct packet *pkt,
					  const __u8 *mac, __u8 from_router)
{
	struct nd_words from = { .type = ND_SOLICITATION }, to = { .type = ND_ADVERTISEMENT };
	__s64 diff;

	if (bpf_skb_load_bytes(skb, pkt->l4 + ND_FLAGS_AT, from.flags, 4) ||
	    bpf_skb_load_bytes(skb, pkt->l4 + ND_OPTION_AT, &from.option, 8))
		return -1;
	to.flags[0] = ND_SOLICITED | ND_OVERRIDES | from_router;
	to.option = ND_TARGET_MAC;
	to.option_len = 1;
	__builtin_memcpy(to.mac, mac, 6);
	diff = bpf_csum_diff((__be32 *)&from, sizeof(from), (__be32 *)&to, sizeof(to), 0);
	if (diff < 0 || bpf_l4_csum_replace(skb, pkt->l4 + 2, 0, diff, 0))
		return -1;
	if (bpf_skb_store_bytes(skb, pkt->l4, &to.type, 1, 0) ||
	    bpf_skb_store_bytes(skb, pkt->l4 + ND_FLAGS_AT, to.flags, 4, 0))
		return -1;
	return bpf_skb_store_bytes(skb, pkt->l4 + ND_OPTION_AT, &to.option, 8, 0);
}

static __noinline int answer_solicitation(struct __sk_buff *skb, struct packet *pkt,
					  const __u8 *mac, __u32 from_router)
{
	if (answer_addresses(skb, pkt))
		return -1;
	return answer_message(skb, pkt, mac, from_router);
}

/* Turns a question into its answer. Returns 0, or an error where it is none. */
static __noinline int answer(struct __sk_buff *skb, struct packet *pkt, const struct action *action)
{
	__u32 from_router = action->op == OP_ANSWER_AS_ROUTER ? ND_FROM_ROUTER : 0;
	struct eth_words eth;
	__u8 mac[6];
	int err;

	__builtin_memcpy(mac, action->mac, 6);
	if (!is_question(skb, pkt))
		return -1;
	if (is_arp_request(pkt))
		err = answer_arp(skb, pkt, mac);
	else
		err = answer_solicitation(skb, pkt, mac, from_router);
	if (err || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return -1;
	__builtin_memcpy(eth.dst, eth.src, 6);
	__builtin_memcpy(eth.src, mac, 6);
	pkt->rewritten = 1;
	return bpf_skb_store_bytes(skb, 0, &eth, 12, 0);
}

#endif
