/* SPDX-License-Identifier: Apache-2.0 */
/* A packet in the program's hands, and where its headers are. */
#ifndef MN_PACKET_H
#define MN_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

/*
 * The first octets of a frame that the parser wants in one piece, where it cannot tell how many are
 * headers.
 */
#define PULL_LEN 128

/* Not the whole struct ethhdr: clang reads a packed one octet by octet. */
struct eth_words {
	__be16	dst[3];
	__be16	src[3];
	__be16	type;
};

struct packet {
	struct flow_key key;
	__u32	l3;		/* offset of the IP header, or of what is there instead */
	__u32	l4;		/* offset of the transport header; 0: none */
	__u32	end;		/* offset of what follows the IP packet */
	__u8	version;	/* 4, 6; 0: not IP */
	__u8	ttl;
	__u8	proto;		/* after extension headers; 0 where not IP */
	__u8	fragment;	/* CLASS_FRAGMENT bits */
	__u32	port;		/* where it came in, for counters of drops */
	__u32	ingress;	/* this is an ingress hook: redirect_peer is legal */
	__u32	fragment_id;	/* where it is a fragment */
	__u32	zone;		/* whose connections were asked about it already; 0: none */
	__u8	track;		/* the forward direction of a tracked connection */
	__u8	rewritten;	/* addresses, ports or tags are not those of the key any more */
};

static __always_inline __u16 load_be16(const void *at)
{
	return *(const __be16 *)at;
}

/* The octets of the segments' headers on the wire: all before the transport payload. */
static __always_inline __u32 headers_len(struct __sk_buff *skb, const struct packet *pkt)
{
	__u8 offset = 0;

	if (!pkt->l4)
		return pkt->l3;
	if (pkt->proto == IPPROTO_UDP)
		return pkt->l4 + sizeof(struct udphdr);
	if (pkt->proto != IPPROTO_TCP)
		return pkt->l4;
	if (bpf_skb_load_bytes(skb, pkt->l4 + 12, &offset, 1))
		return pkt->l4;
	return pkt->l4 + (offset >> 4) * 4;
}

/* The length of the longest IP packet this becomes on the wire. */
static __always_inline __u32 wire_ip_len(struct __sk_buff *skb, const struct packet *pkt)
{
	if (skb->gso_size)
		return headers_len(skb, pkt) - pkt->l3 + skb->gso_size;
	return skb->len - pkt->l3;
}

#endif
