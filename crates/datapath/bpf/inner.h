/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to the packet that an ICMP error quotes (RFC 5508 §4.2, RFC 4443 §2.4). */
#ifndef MN_INNER_H
#define MN_INNER_H

#include "rewrite.h"

/* Stores 2 octets inside the quoted packet and brings the outer ICMP checksum along. */
static __always_inline int inner_store(struct __sk_buff *skb, const struct packet *pkt, __u32 at,
				       __be16 from, __be16 to)
{
	if (bpf_l4_csum_replace(skb, pkt->l4 + 2, from, to, sizeof(from)))
		return -1;
	return bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0);
}

/* The quoted transport checksum, where the quotation is long enough to have it; 0 otherwise. */
static __always_inline __u32 inner_csum_at(struct __sk_buff *skb, __u32 l4, __u8 proto)
{
	__u32 at = 0;

	if (proto == IPPROTO_UDP)
		at = l4 + 6;
	if (proto == IPPROTO_TCP)
		at = l4 + 16;
	return at && at + 2 <= skb->len ? at : 0;
}

/* A quoted transport header and what shall change in it. */
struct quoted {
	__u32	l4;		/* its offset */
	__u32	port_at;	/* offset of the port in it */
	__u32	diff;		/* how the address has changed, as bpf_csum_diff says */
	__u8	proto;
};

/* Sets a port of the quoted packet, and its checksum for the port and the address. */
static __noinline int inner_transport(struct __sk_buff *skb, const struct packet *pkt,
				      const struct quoted *quoted, const struct action *action)
{
	__u32 l4 = quoted->l4, diff = quoted->diff, with_port = action->slots & ACTION_WITH_PORT;
	__u32 csum = inner_csum_at(skb, l4, quoted->proto);
	__be16 from = 0, to = action->a, csum_from = 0, csum_to;
	__u8 proto = quoted->proto;

	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return with_port ? -1 : 0;
	if (bpf_skb_load_bytes(skb, l4 + quoted->port_at, &from, sizeof(from)))
		return with_port ? -1 : 0;
	if (!with_port)
		to = from;
	if (csum && bpf_skb_load_bytes(skb, csum, &csum_from, sizeof(csum_from)))
		return -1;
	if (csum && csum_from) {
		__u32 sum = (__u16)~csum_from + (diff & 0xffff) + (diff >> 16) + (__u16)~from + to;

		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		csum_to = ~sum;
		if (!csum_to && proto == IPPROTO_UDP)
			csum_to = 0xffff;
		if (inner_store(skb, pkt, csum, csum_from, csum_to))
			return -1;
	}
	return inner_store(skb, pkt, l4 + quoted->port_at, from, to);
}

static __always_inline int is_icmp_error(const struct packet *pkt)
{
	return pkt->l4 && ((pkt->version == 4 && pkt->proto == IPPROTO_ICMP) ||
			   (pkt->version == 6 && pkt->proto == IPPROTO_ICMPV6));
}

/* Sets an address of a quoted IPv4 packet. @at: IP4_SRC or IP4_DST; @action: which address */
static __noinline int inner_set4(struct __sk_buff *skb, const struct packet *pkt, __u32 at,
				 const struct action *action)
{
	struct quoted quoted = { .port_at = at == IP4_SRC ? 0 : 2 };
	__u32 inner = pkt->l4 + ICMP_ERROR_LEN;
	__be32 from, to = action->b;
	__u8 head[10];
	__s64 diff;

	if (!is_icmp_error(pkt) || pkt->version != 4)
		return -1;
	if (bpf_skb_load_bytes(skb, inner, head, sizeof(head)) || head[0] >> 4 != 4)
		return -1;
	if (bpf_skb_load_bytes(skb, inner + at, &from, sizeof(from)))
		return -1;
	/* The header's checksum takes the change up, so the sum the ICMP checksum sees stays. */
	if (bpf_l3_csum_replace(skb, inner + IP4_CSUM, from, to, sizeof(from)) ||
	    bpf_skb_store_bytes(skb, inner + at, &to, sizeof(to), 0))
		return -1;
	diff = bpf_csum_diff(&from, sizeof(from), &to, sizeof(to), 0);
	if (diff < 0)
		return -1;
	quoted.diff = diff;
	quoted.l4 = inner + (head[0] & 0xf) * 4;
	quoted.proto = head[9];
	return inner_transport(skb, pkt, &quoted, action);
}

/* Likewise for IPv6. @at: IP6_SRC or IP6_DST; @to: the slots with the address */
static __noinline int inner_set6(struct __sk_buff *skb, const struct packet *pkt, __u32 at,
				 const struct action *action,
				 const struct address_slots *to)
{
	struct quoted quoted = { .port_at = at == IP6_SRC ? 0 : 2 };
	__u32 inner = pkt->l4 + ICMP_ERROR_LEN;
	__u32 from[4], addr[4];
	__u8 head[8];
	__s64 diff;

	if (!is_icmp_error(pkt) || pkt->version != 6)
		return -1;
	if (bpf_skb_load_bytes(skb, inner, head, sizeof(head)) || head[0] >> 4 != 6)
		return -1;
	__builtin_memcpy(addr, to, sizeof(addr));
	if (bpf_skb_load_bytes(skb, inner + at, from, sizeof(from)))
		return -1;
	diff = bpf_csum_diff(from, sizeof(from), addr, sizeof(addr), 0);
	if (diff < 0)
		return -1;
	if (bpf_l4_csum_replace(skb, pkt->l4 + 2, 0, diff, 0) ||
	    bpf_skb_store_bytes(skb, inner + at, addr, sizeof(addr), 0))
		return -1;
	quoted.diff = diff;
	quoted.l4 = inner + 40;
	quoted.proto = head[6];
	return inner_transport(skb, pkt, &quoted, action);
}

#endif
