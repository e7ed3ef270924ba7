/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to the packet that an ICMP error quotes (RFC 5508 §4.2). */
#ifndef MN_INNER_H
#define MN_INNER_H

#include "rewrite.h"

#define ICMP_ERROR_LEN 8	/* what stands before the quoted packet */

/* A quoted transport header and what shall change in it. */
struct quoted {
	__u32	l4;		/* its offset; 0: it is not quoted */
	__u32	port_at;	/* offset of the port in it */
	__u32	diff;		/* what its checksum covers of the address's change, as bpf_csum_diff says */
	__u8	proto;
};

static __always_inline int is_icmp_error(struct __sk_buff *skb, const struct packet *pkt)
{
	__u8 type;

	if (!is_icmp(pkt) || bpf_skb_load_bytes(skb, pkt->l4, &type, 1))
		return 0;
	if (pkt->version == 6)
		return type < 128;
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* Stores 2 octets inside the quoted packet and brings the ICMP checksum along. */
static __always_inline int inner_store(struct __sk_buff *skb, const struct packet *pkt, __u32 at,
				       __be16 from, __be16 to)
{
	if (bpf_l4_csum_replace(skb, pkt->l4 + 2, from, to, sizeof(from)))
		return -1;
	return bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0);
}

/* The quoted transport checksum, where so much is quoted; 0 otherwise. */
static __always_inline __u32 inner_csum_at(const struct packet *pkt, const struct quoted *quoted)
{
	__u32 at = quoted->l4 + 2;

	if (quoted->proto == IPPROTO_UDP)
		at += 4;
	else if (quoted->proto == IPPROTO_TCP)
		at += 14;
	return at + 2 <= pkt->end ? at : 0;
}

/* Brings the quoted transport checksum along: `diff` is what the covered octets have changed. */
static __always_inline int inner_csum(struct __sk_buff *skb, const struct packet *pkt,
				      const struct quoted *quoted, __u32 diff)
{
	__u32 at = inner_csum_at(pkt, quoted);
	__be16 from, to;
	__u64 sum;

	if (!at)
		return 0;
	if (bpf_skb_load_bytes(skb, at, &from, sizeof(from)))
		return -1;
	if (!from && quoted->proto == IPPROTO_UDP)
		return 0;
	sum = (__u64)(__u16)~from + (diff & 0xffff) + (diff >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	to = ~sum;
	if (!to && quoted->proto == IPPROTO_UDP)
		to = 0xffff;
	return inner_store(skb, pkt, at, from, to);
}

/* Sets the quoted port, or the identifier of a quoted echo, where it is quoted; and the checksum for
 * it and the address. What quotes is ICMP of its version, so what has its protocol is too.
 */
static __noinline int inner_transport(struct __sk_buff *skb, const struct packet *pkt,
				      const struct quoted *quoted, const struct action *action)
{
	int icmp = quoted->proto == pkt->proto;
	__u32 at = quoted->l4 + (icmp ? 4 : quoted->port_at);
	__be16 from, to = action->a;

	if (!quoted->l4 || (!icmp && quoted->proto != IPPROTO_TCP && quoted->proto != IPPROTO_UDP))
		return 0;
	if (inner_csum(skb, pkt, quoted, quoted->diff))
		return -1;
	if (!(action->slots & ACTION_WITH_PORT) || at + 2 > pkt->end)
		return 0;
	if (icmp) {
		if (bpf_skb_load_bytes(skb, quoted->l4, &from, sizeof(from)))
			return -1;
		if (!is_icmp_echo(pkt->version, *(__u8 *)&from))
			return 0;
	}
	if (bpf_skb_load_bytes(skb, at, &from, sizeof(from)) ||
	    inner_store(skb, pkt, at, from, to))
		return -1;
	return inner_csum(skb, pkt, quoted, (__u16)~from + (__u32)to);
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

	if (pkt->version != 4 || !is_icmp_error(skb, pkt) || inner + 20 > pkt->end)
		return -1;
	if (bpf_skb_load_bytes(skb, inner, head, sizeof(head)) || head[0] >> 4 != 4 ||
	    (head[0] & 0xf) < 5)
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
	quoted.proto = head[9];
	/* ICMP has no pseudo header. */
	if (quoted.proto != IPPROTO_ICMP)
		quoted.diff = diff;
	/* A later fragment has no transport header. */
	if (!((head[6] & 0x1f) | head[7]))
		quoted.l4 = inner + (head[0] & 0xf) * 4;
	return inner_transport(skb, pkt, &quoted, action);
}

/* Likewise for IPv6, whose extension headers are not walked here. @to: the slots of the address */
static __noinline int inner_set6(struct __sk_buff *skb, const struct packet *pkt, __u32 at,
				 const struct action *action, const struct address_slots *to)
{
	struct quoted quoted = { .port_at = at == IP6_SRC ? 0 : 2 };
	__u32 inner = pkt->l4 + ICMP_ERROR_LEN;
	__u32 from[4], addr[4];
	__u8 head[8];
	__s64 diff;

	if (pkt->version != 6 || !is_icmp_error(skb, pkt) || inner + 40 > pkt->end)
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
	quoted.proto = head[6];
	quoted.l4 = inner + 40;
	return inner_transport(skb, pkt, &quoted, action);
}

#endif
