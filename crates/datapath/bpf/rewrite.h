/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes to headers, checksums kept right.
 *
 * All of them return 0 or an error, after which the packet must be dropped. The kernel's helpers
 * know the three states of a transport checksum (computed, partial, complete) and unshare cloned
 * data. What every routed packet needs changes no such checksum, and is written in place: a helper
 * costs more than the rest of the action. Writing so is safe while another holds the same data, for
 * the kernel unshares it before the program and after each bpf_clone_redirect().
 */
#ifndef MN_REWRITE_H
#define MN_REWRITE_H

#include "flow_key.h"
#include "packet.h"

#define IP4_CSUM 10
#define IP4_SRC 12
#define IP4_DST 16
#define IP6_HOPS 7
#define IP6_SRC 8
#define IP6_DST 24

/* No IP header begins later: two tags were there, each slot may have pushed one. */
#define L3_MAX (sizeof(struct eth_words) + (2 + SLOTS_MAX) * 4)

/* Where the transport checksum is; 0: there is none to keep. */
static __always_inline __u32 csum_at(const struct packet *pkt)
{
	if (!pkt->l4)
		return 0;
	if (pkt->proto == IPPROTO_TCP)
		return pkt->l4 + 16;
	if (pkt->proto == IPPROTO_UDP)
		return pkt->l4 + 6;
	if (pkt->proto == IPPROTO_ICMPV6 && pkt->version == 6)
		return pkt->l4 + 2;
	return 0;
}

static __always_inline __u64 csum_flags(const struct packet *pkt)
{
	/* A UDP checksum of 0 means none and stays so, over IPv6 too: tunnels send it (RFC 6935). */
	return pkt->proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
}

static __noinline int set_addr4(struct __sk_buff *skb, struct packet *pkt, __u32 at, __be32 to)
{
	__u32 csum = csum_at(pkt);
	__be32 from;

	pkt->rewritten = 1;
	if (pkt->version != 4)
		return -1;
	if (bpf_skb_load_bytes(skb, pkt->l3 + at, &from, sizeof(from)))
		return -1;
	if (from == to)
		return 0;
	if (csum && bpf_l4_csum_replace(skb, csum, from, to,
					BPF_F_PSEUDO_HDR | csum_flags(pkt) | sizeof(from)))
		return -1;
	if (bpf_l3_csum_replace(skb, pkt->l3 + IP4_CSUM, from, to, sizeof(from)))
		return -1;
	return bpf_skb_store_bytes(skb, pkt->l3 + at, &to, sizeof(to), 0);
}

static __noinline int set_addr6(struct __sk_buff *skb, struct packet *pkt, __u32 at,
				const struct address_slots *to)
{
	__u32 from[4], addr[4], csum = csum_at(pkt);
	__s64 diff;

	pkt->rewritten = 1;
	if (pkt->version != 6)
		return -1;
	__builtin_memcpy(addr, to, sizeof(addr));
	if (bpf_skb_load_bytes(skb, pkt->l3 + at, from, sizeof(from)))
		return -1;
	diff = bpf_csum_diff(from, sizeof(from), addr, sizeof(addr), 0);
	if (diff < 0)
		return -1;
	if (csum && bpf_l4_csum_replace(skb, csum, 0, diff, BPF_F_PSEUDO_HDR | csum_flags(pkt)))
		return -1;
	return bpf_skb_store_bytes(skb, pkt->l3 + at, addr, sizeof(addr), 0);
}

/* Sets a MAC address. @at: its place in the frame, in octets */
static __always_inline int set_mac(struct __sk_buff *skb, __u32 at, const __u8 *mac)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + sizeof(struct eth_words) > end)
		return -1;
	*(__u16 *)(data + at) = *(const __u16 *)mac;
	*(__u16 *)(data + at + 2) = *(const __u16 *)(mac + 2);
	*(__u16 *)(data + at + 4) = *(const __u16 *)(mac + 4);
	return 0;
}

/* The packet's IPv4 header, which the parser had in one piece with what stands before; or NULL. */
static __always_inline struct iphdr *ip4_header(struct __sk_buff *skb, const struct packet *pkt)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 l3 = pkt->l3;
	struct iphdr *ip;

	if (l3 > L3_MAX)
		return NULL;
	ip = data + l3;
	return (void *)(ip + 1) > end ? NULL : ip;
}

/* The checksum of a header of which one word changed (RFC 1624 §3, equation 3). */
static __always_inline __sum16 csum_after(__sum16 csum, __be16 from, __be16 to)
{
	__u32 sum = (__u16)~csum + (__u16)~from + to;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __noinline int set_tos(struct __sk_buff *skb, const struct packet *pkt, __u8 tos)
{
	__u8 octets[2];

	if (pkt->version == 4) {
		struct iphdr *ip = ip4_header(skb, pkt);

		if (!ip)
			return -1;
		ip->check = csum_after(ip->check, bpf_htons(ip->tos), bpf_htons(tos));
		ip->tos = tos;
		return 0;
	}
	if (!pkt->version || bpf_skb_load_bytes(skb, pkt->l3, octets, sizeof(octets)))
		return -1;
	octets[0] = (octets[0] & 0xf0) | tos >> 4;
	octets[1] = (octets[1] & 0x0f) | tos << 4;
	return bpf_skb_store_bytes(skb, pkt->l3, octets, sizeof(octets), BPF_F_RECOMPUTE_CSUM);
}

/* Sets a port, or with the ICMP protocols the identifier. @at: of the field in its header. */
static __noinline int set_transport(struct __sk_buff *skb, struct packet *pkt, __u32 at, __be16 to)
{
	__u32 csum = csum_at(pkt);
	__be16 from;

	pkt->rewritten = 1;
	if (!pkt->l4)
		return -1;
	if (pkt->proto == IPPROTO_ICMP && pkt->version == 4)
		csum = pkt->l4 + 2;
	if (bpf_skb_load_bytes(skb, pkt->l4 + at, &from, sizeof(from)))
		return -1;
	if (csum && bpf_l4_csum_replace(skb, csum, from, to, csum_flags(pkt) | sizeof(from)))
		return -1;
	return bpf_skb_store_bytes(skb, pkt->l4 + at, &to, sizeof(to), 0);
}

/* A later fragment follows the first, whose port is set. */
static __always_inline int set_port(struct __sk_buff *skb, struct packet *pkt, __u32 at, __be16 to)
{
	if (pkt->fragment == CLASS_FRAGMENT_LATER)
		return 0;
	if (pkt->proto != IPPROTO_TCP && pkt->proto != IPPROTO_UDP)
		return -1;
	return set_transport(skb, pkt, at, to);
}

/* Whether it is a message of the ICMP of its version. */
static __always_inline int is_icmp(const struct packet *pkt)
{
	return pkt->l4 && ((pkt->version == 4 && pkt->proto == IPPROTO_ICMP) ||
			   (pkt->version == 6 && pkt->proto == IPPROTO_ICMPV6));
}

static __always_inline int set_icmp_id(struct __sk_buff *skb, struct packet *pkt, __be16 to)
{
	__u8 type;

	if (pkt->fragment == CLASS_FRAGMENT_LATER)
		return 0;
	if (!is_icmp(pkt) || bpf_skb_load_bytes(skb, pkt->l4, &type, 1) ||
	    !is_icmp_echo(pkt->version, type))
		return -1;
	return set_transport(skb, pkt, 4, to);
}

static __always_inline int dec_ttl(struct __sk_buff *skb, struct packet *pkt)
{
	__u8 ttl = pkt->ttl - 1;

	if (!pkt->version || !pkt->ttl)
		return -1;
	if (pkt->version == 4) {
		struct iphdr *ip = ip4_header(skb, pkt);

		if (!ip)
			return -1;
		/* The checksum's word is TTL and protocol. */
		ip->check = csum_after(ip->check, bpf_htons(pkt->ttl << 8), bpf_htons(ttl << 8));
		ip->ttl = ttl;
	} else if (bpf_skb_store_bytes(skb, pkt->l3 + IP6_HOPS, &ttl, 1, BPF_F_RECOMPUTE_CSUM)) {
		return -1;
	}
	pkt->ttl = ttl;
	return 0;
}

/* Says that what follows the addresses has moved. A tag the kernel holds beside the frame does not
 * move it, so how far it moved is how much longer the frame is.
 */
static __always_inline void moved(struct __sk_buff *skb, struct packet *pkt, __u32 len_before)
{
	__u32 by = skb->len - len_before;

	pkt->rewritten = 1;
	pkt->l3 += by;
	pkt->end += by;
	if (pkt->l4)
		pkt->l4 += by;
}

static __noinline int push_vlan(struct __sk_buff *skb, struct packet *pkt, __u16 tci)
{
	__u32 len = skb->len;

	if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), tci))
		return -1;
	moved(skb, pkt, len);
	return 0;
}

static __noinline int pop_vlan(struct __sk_buff *skb, struct packet *pkt)
{
	__u32 len = skb->len;
	__be16 type;

	if (!skb->vlan_present) {
		if (bpf_skb_load_bytes(skb, 12, &type, sizeof(type)) || !is_tag(type))
			return -1;
	}
	if (bpf_skb_vlan_pop(skb))
		return -1;
	moved(skb, pkt, len);
	return 0;
}

#endif
