/* SPDX-License-Identifier: Apache-2.0 */
/* From a frame to its flow key; the same as mn_flow::extract, which is the definition. */
#ifndef MN_FLOW_KEY_H
#define MN_FLOW_KEY_H

#include "packet.h"

#define ETH_TYPE_MIN 0x0600
#define ETH_TYPE_LLC 0x05ff
#define IP_OFFSET_OR_MORE 0x3fff
#define IP_OFFSET 0x1fff
#define EXTENSIONS_MAX 8
#define ARP_LEN 28
/* Eight extension headers of any length, two tags and what stands before; the verifier wants it. */
#define EXTENSIONS_END_MAX 32767

static __always_inline void map_v4(__u8 *addr, const void *from)
{
	*(__u16 *)(addr + 10) = 0xffff;
	*(__u32 *)(addr + 12) = *(const __u32 *)from;
}

static __always_inline int is_tag(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

static __always_inline __be16 tag_of(__u16 tci)
{
	return bpf_htons(tci | VLAN_PRESENT);
}

static __always_inline __u8 tcp_class(__u8 flags)
{
	if (flags & 0x04)
		return CLASS_TCP_RST;
	if (flags & 0x01)
		return CLASS_TCP_FIN;
	if ((flags & 0x12) == 0x02)
		return CLASS_TCP_SYN;
	return 0;
}

/* Octets of a transport header that must be there. */
#define TCP_MIN 20
#define UDP_MIN 8
#define ICMP_MIN 8
#define ND_MIN 24

/* RFC 4861 §4.3, §4.4. */
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_TARGET_AT 8

static __always_inline int is_icmp_echo(__u8 version, __u8 type)
{
	return version == 4 ? type == 8 || type == 0 : type == 128 || type == 129;
}

static __always_inline int is_mapped(const void *addr)
{
	const __u32 *words = addr;

	return !(words[0] | words[1]) && words[2] == bpf_htonl(0xffff);
}

/* RFC 4861 §7.1, RFC 6980 §5: what fails one of these is ICMPv6 like any other. */
static __always_inline int is_neighbor_discovery(const struct packet *pkt, const __u8 *icmp)
{
	return pkt->version == 6 &&
	       (icmp[0] == ND_SOLICITATION || icmp[0] == ND_ADVERTISEMENT) && icmp[1] == 0 &&
	       pkt->ttl == 255 && !pkt->fragment;
}

static __always_inline int flow_key_icmp(void *l4, void *end, __u32 room, struct packet *pkt)
{
	struct flow_key *key = &pkt->key;
	__u8 *icmp = l4;

	if (l4 + ICMP_MIN > end || room < ICMP_MIN)
		return DROP_TRUNCATED;
	key->tp_src = load_be16(l4);
	if (is_icmp_echo(pkt->version, icmp[0]))
		key->tp_dst = load_be16(l4 + 4);
	if (!is_neighbor_discovery(pkt, icmp))
		return 0;
	if (l4 + ND_MIN > end || room < ND_MIN)
		return DROP_TRUNCATED;
	if (is_mapped(l4 + ND_TARGET_AT))
		return DROP_MALFORMED;
	__builtin_memcpy(key->nw_dst, l4 + ND_TARGET_AT, 16);
	key->class |= CLASS_ND;
	return 0;
}

/**
 * Reads the transport header.
 * @l4:   where it begins
 * @end:  where the frame ends
 * @room: octets from there to the end of the IP packet
 * @pkt:  its ports and class are filled in
 *
 * Returns 0 or a drop cause.
 */
static __always_inline int flow_key_transport(void *l4, void *end, __u32 room, struct packet *pkt)
{
	struct flow_key *key = &pkt->key;

	switch (pkt->proto) {
	case IPPROTO_TCP:
		if (l4 + TCP_MIN > end || room < TCP_MIN)
			return DROP_TRUNCATED;
		key->tp_src = load_be16(l4);
		key->tp_dst = load_be16(l4 + 2);
		key->class |= tcp_class(*(__u8 *)(l4 + 13));
		return 0;
	case IPPROTO_UDP:
		if (l4 + UDP_MIN > end || room < UDP_MIN)
			return DROP_TRUNCATED;
		key->tp_src = load_be16(l4);
		key->tp_dst = load_be16(l4 + 2);
		return 0;
	case IPPROTO_ICMP:
		return pkt->version == 4 ? flow_key_icmp(l4, end, room, pkt) : 0;
	case IPPROTO_ICMPV6:
		return pkt->version == 6 ? flow_key_icmp(l4, end, room, pkt) : 0;
	}
	return 0;
}

static __always_inline int flow_key_ipv4(struct __sk_buff *skb, void *l3, void *end,
					 struct packet *pkt)
{
	struct flow_key *key = &pkt->key;
	struct iphdr *ip = l3;
	__u32 header_len, total_len;

	if ((void *)(ip + 1) > end)
		return DROP_TRUNCATED;
	if (ip->version != 4 || ip->ihl < 5)
		return DROP_MALFORMED;
	header_len = ip->ihl * 4;
	total_len = bpf_ntohs(ip->tot_len);
	if (pkt->l3 + header_len > skb->len)
		return DROP_TRUNCATED;
	/* A packet to be segmented may be longer than its header can say. */
	if (skb->gso_size && !total_len)
		total_len = skb->len - pkt->l3;
	if (total_len < header_len)
		return DROP_MALFORMED;
	if (pkt->l3 + total_len > skb->len)
		return DROP_TRUNCATED;
	pkt->end = pkt->l3 + total_len;
	pkt->version = 4;
	pkt->ttl = ip->ttl;
	map_v4(key->nw_src, &ip->saddr);
	map_v4(key->nw_dst, &ip->daddr);
	pkt->proto = key->nw_proto = ip->protocol;
	key->nw_tos = ip->tos;
	if (ip->ttl <= 1)
		key->class |= CLASS_TTL;
	if (ip->frag_off & bpf_htons(IP_OFFSET_OR_MORE)) {
		pkt->fragment_id = ip->id;
		if (ip->frag_off & bpf_htons(IP_OFFSET)) {
			key->class |= CLASS_FRAGMENT_LATER;
			pkt->fragment = CLASS_FRAGMENT_LATER;
			return 0;
		}
		key->class |= CLASS_FRAGMENT_FIRST;
		pkt->fragment = CLASS_FRAGMENT_FIRST;
	}
	pkt->l4 = pkt->l3 + header_len;
	return flow_key_transport(l3 + header_len, end, total_len - header_len, pkt);
}

/**
 * Walks the extension headers of an IPv6 packet (RFC 8200 §4).
 * @pkt:    its l4 is where the first of them begins
 * @end:    offset of the packet's end
 * @proto:  number of the first
 *
 * Sets pkt->l4 (0 for a later fragment), pkt->proto and pkt->fragment. Returns 0 or a drop cause.
 */
static __noinline int skip_extensions(struct __sk_buff *skb, struct packet *pkt, __u32 end,
				      __u8 proto)
{
	__u32 offset = pkt->l4, len;
	__u8 header[8], fragments = 0;
	int i;

	for (i = 0; i <= EXTENSIONS_MAX; i++) {
		if (proto != IPPROTO_HOPOPTS && proto != IPPROTO_ROUTING && proto != IPPROTO_DSTOPTS &&
		    proto != IPPROTO_FRAGMENT && proto != IPPROTO_AH) {
			pkt->l4 = offset;
			pkt->proto = proto;
			return 0;
		}
		if (i == EXTENSIONS_MAX || (proto == IPPROTO_FRAGMENT && fragments))
			return DROP_MALFORMED;
		if (offset + sizeof(header) > end ||
		    bpf_skb_load_bytes(skb, offset, header, sizeof(header)))
			return DROP_TRUNCATED;
		len = 8;
		if (proto == IPPROTO_FRAGMENT) {
			fragments = 1;
			__builtin_memcpy(&pkt->fragment_id, header + 4, 4);
			if (header[2] || header[3] & 0xf8) {
				pkt->fragment = CLASS_FRAGMENT_LATER;
				pkt->proto = header[0];
				pkt->l4 = 0;
				return 0;
			}
			if (header[3] & 1)
				pkt->fragment = CLASS_FRAGMENT_FIRST;
		} else {
			len += header[1] * (proto == IPPROTO_AH ? 4 : 8);
		}
		offset += len;
		proto = header[0];
		/*
		 * Last, and not moved: the verifier of Linux 6.1 takes a loop only if a jump leads
		 * back to its head, not the instruction before it.
		 */
		asm volatile("" : "+r"(i));
		if (offset > end)
			return DROP_TRUNCATED;
	}
	return DROP_MALFORMED;
}

static __always_inline int flow_key_ipv6(struct __sk_buff *skb, void *l3, void *end,
					 struct packet *pkt)
{
	struct flow_key *key = &pkt->key;
	struct ipv6hdr *ip = l3;
	__u32 payload_len, packet_end, at, want;
	__u8 proto;
	int err;

	if ((void *)(ip + 1) > end)
		return DROP_TRUNCATED;
	if (ip->version != 6)
		return DROP_MALFORMED;
	payload_len = bpf_ntohs(ip->payload_len);
	packet_end = pkt->l3 + sizeof(*ip) + payload_len;
	/* A packet to be segmented may be longer than its header can say. */
	if (skb->gso_size && !payload_len)
		packet_end = skb->len;
	if (packet_end > skb->len)
		return DROP_TRUNCATED;
	if (is_mapped(&ip->saddr) || is_mapped(&ip->daddr))
		return DROP_MALFORMED;
	pkt->end = packet_end;
	pkt->version = 6;
	pkt->ttl = ip->hop_limit;
	__builtin_memcpy(key->nw_src, &ip->saddr, 16);
	__builtin_memcpy(key->nw_dst, &ip->daddr, 16);
	key->nw_tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	if (ip->hop_limit <= 1)
		key->class |= CLASS_TTL;
	proto = ip->nexthdr;
	at = pkt->l4 = pkt->l3 + sizeof(*ip);
	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_ICMPV6) {
		key->nw_proto = pkt->proto = proto;
		return flow_key_transport(l3 + sizeof(*ip), end, packet_end - at, pkt);
	}
	err = skip_extensions(skb, pkt, packet_end, proto);
	if (err)
		return err;
	key->nw_proto = pkt->proto;
	key->class |= pkt->fragment;
	at = pkt->l4;
	if (!at)
		return 0;
	/* The transport header may lie behind what was in one piece. */
	want = at + ND_MIN;
	if (want > skb->len)
		want = skb->len;
	if (at > EXTENSIONS_END_MAX || bpf_skb_pull_data(skb, want))
		return DROP_TRUNCATED;
	return flow_key_transport((void *)(long)skb->data + at, (void *)(long)skb->data_end,
				  packet_end - at, pkt);
}

static __always_inline int flow_key_arp(void *l3, void *end, struct flow_key *key)
{
	if (l3 + ARP_LEN > end)
		return DROP_TRUNCATED;
	/* IPv4 over Ethernet: hardware type 1, protocol type 0x0800, lengths 6 and 4. */
	if (load_be16(l3) != bpf_htons(1) || load_be16(l3 + 2) != bpf_htons(ETH_P_IP) ||
	    load_be16(l3 + 4) != bpf_htons(0x0604))
		return DROP_MALFORMED;
	key->nw_proto = *(__u8 *)(l3 + 6) ? 0 : *(__u8 *)(l3 + 7);
	map_v4(key->nw_src, l3 + 14);
	map_v4(key->nw_dst, l3 + 24);
	return 0;
}

/*
 * Whether all that is parsed lies in one piece already.
 *
 * What TCP sends has its headers there and its payload elsewhere, and shares both with the copy that
 * is kept to be sent again: to pull the payload's beginning in, the kernel would copy every such
 * packet's head. The headers alone may be written although the rest is shared.
 */
static __always_inline int has_headers(struct __sk_buff *skb, void *data, void *end)
{
	const struct eth_words *eth = data;
	const struct iphdr *ip4 = data + sizeof(*eth);
	const struct ipv6hdr *ip6 = data + sizeof(*eth);

	if (data + PULL_LEN <= end || end - data >= skb->len)
		return 1;
	if ((void *)(ip4 + 1) + TCP_MIN > end)
		return 0;
	if (eth->type == bpf_htons(ETH_P_IP))
		return ip4->ihl == 5 && ip4->protocol == IPPROTO_TCP;
	if ((void *)(ip6 + 1) + TCP_MIN > end)
		return 0;
	return eth->type == bpf_htons(ETH_P_IPV6) && ip6->nexthdr == IPPROTO_TCP;
}

/**
 * Reads the headers of a frame.
 * @pkt: all zero on entry but what the caller knows (in_port, tunnel)
 *
 * Returns 0 or a drop cause.
 */
static __always_inline int flow_key_read(struct __sk_buff *skb, struct packet *pkt)
{
	struct flow_key *key = &pkt->key;
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u32 l3 = sizeof(struct eth_words);
	struct eth_words *eth;
	__be16 type;

	if (!has_headers(skb, data, end)) {
		if (bpf_skb_pull_data(skb, skb->len < PULL_LEN ? skb->len : PULL_LEN))
			return DROP_TRUNCATED;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
	}
	eth = data;
	if ((void *)(eth + 1) > end)
		return DROP_TRUNCATED;
	__builtin_memcpy(key->eth_dst, eth->dst, 6);
	__builtin_memcpy(key->eth_src, eth->src, 6);
	type = eth->type;
	if (skb->vlan_present) {
		key->vlan = tag_of(skb->vlan_tci);
		if (is_tag(type)) {
			if (data + l3 + 4 > end)
				return DROP_TRUNCATED;
			key->inner_vlan = tag_of(bpf_ntohs(load_be16(data + l3)));
			type = load_be16(data + l3 + 2);
			l3 += 4;
		}
	} else if (is_tag(type)) {
		if (data + l3 + 4 > end)
			return DROP_TRUNCATED;
		key->vlan = tag_of(bpf_ntohs(load_be16(data + l3)));
		type = load_be16(data + l3 + 2);
		l3 += 4;
		if (is_tag(type)) {
			if (data + l3 + 4 > end)
				return DROP_TRUNCATED;
			key->inner_vlan = tag_of(bpf_ntohs(load_be16(data + l3)));
			type = load_be16(data + l3 + 2);
			l3 += 4;
		}
	}
	pkt->l3 = l3;
	key->eth_type = bpf_ntohs(type) < ETH_TYPE_MIN ? bpf_htons(ETH_TYPE_LLC) : type;
	if (type == bpf_htons(ETH_P_IP))
		return flow_key_ipv4(skb, data + l3, end, pkt);
	if (type == bpf_htons(ETH_P_IPV6))
		return flow_key_ipv6(skb, data + l3, end, pkt);
	if (type == bpf_htons(ETH_P_ARP))
		return flow_key_arp(data + l3, end, key);
	return 0;
}

#endif
