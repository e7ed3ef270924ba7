/* SPDX-License-Identifier: Apache-2.0 */
/* Where packets leave: ports of this host, tunnels to others, groups of both. */
#ifndef MN_OUTPUT_H
#define MN_OUTPUT_H

#include <linux/pkt_cls.h>

#include "bandwidth.h"
#include "connection.h"
#include "counters.h"
#include "encapsulate.h"
#include "maps.h"
#include "packet.h"

/*
 * What an output does with the packet: the last one of a list gives it away, the ones before send
 * a copy. Both count a packet they cannot send.
 */
enum sending { SEND_COPY, SEND_LAST };

static __always_inline int drop(struct packet *pkt, __u32 cause, __u32 packets)
{
	count_drop(pkt->port, cause, packets);
	return TC_ACT_SHOT;
}

/* The port it was to leave by carries no more: that port's limit is what is counted. */
static __always_inline int refuse(struct packet *pkt, __u32 number, __u32 packets)
{
	count_cause(number, DROP_BANDWIDTH_RECEIVED, packets);
	count_rx_dropped(pkt->port, packets);
	return TC_ACT_SHOT;
}

static __always_inline int is_too_big(struct __sk_buff *skb, const struct packet *pkt, __u32 mtu)
{
	return pkt->version && wire_ip_len(skb, pkt) > mtu;
}

static __always_inline int send(struct __sk_buff *skb, __u32 ifindex, int peer, enum sending how)
{
	if (how == SEND_COPY) {
		bpf_clone_redirect(skb, ifindex, 0);
		return TC_ACT_UNSPEC;
	}
	return peer ? bpf_redirect_peer(ifindex, 0) : bpf_redirect(ifindex, 0);
}

static __always_inline int output_port(struct __sk_buff *skb, struct packet *pkt, __u32 number,
				       enum sending how)
{
	struct port *port = bpf_map_lookup_elem(&mn_ports, &number);
	struct load load = load_of(skb, pkt);
	__u32 ifindex = port ? port->ifindex : 0;
	int cause;

	if (!port || !ifindex)
		return drop(pkt, DROP_PORT_GONE, load.packets);
	if (skb->len - pkt->l3 > port->mtu && is_too_big(skb, pkt, port->mtu))
		return drop(pkt, DROP_TOO_BIG, load.packets);
	if (bandwidth_refused(number, WAY_RECEIVED, load))
		return refuse(pkt, number, load.packets);
	cause = connection_delivered(skb, pkt, number, port);
	if (cause)
		return drop(pkt, cause, load.packets);
	count_tx(number, load);
	return send(skb, ifindex, pkt->ingress && port->flags & PORT_PEER_REDIRECT, how);
}

static __always_inline int is_unset(const __u8 *addr)
{
	const __u64 *words = (const __u64 *)addr;

	return !(words[0] | words[1]);
}

static __noinline int tunnel_key_set(struct __sk_buff *skb, const struct peer *peer, __u32 vni)
{
	struct bpf_tunnel_key key = { .tunnel_id = vni, .tunnel_ttl = 64 };
	__u64 flags = BPF_F_DONT_FRAGMENT | BPF_F_ZERO_CSUM_TX;

	if (peer->flags & PEER_V6) {
		__builtin_memcpy(key.remote_ipv6, peer->remote, 16);
		__builtin_memcpy(key.local_ipv6, peer->local, 16);
		flags |= BPF_F_TUNINFO_IPV6;
	} else {
		/* The helper takes IPv4 addresses as numbers. */
		key.remote_ipv4 = bpf_ntohl(*(const __be32 *)(peer->remote + 12));
		key.local_ipv4 = bpf_ntohl(*(const __be32 *)(peer->local + 12));
	}
	return bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags);
}

static __always_inline int output_tunnel(struct __sk_buff *skb, struct packet *pkt, __u32 index,
					 __u32 vni, enum sending how)
{
	struct peer *peer = bpf_map_lookup_elem(&mn_peers, &index);
	struct load load = load_of(skb, pkt);
	struct config *cfg = config();
	__u32 tags = pkt->l3 - sizeof(struct eth_words) + (skb->vlan_present ? 4 : 0);
	int sent;

	if (!cfg || !peer || is_unset(peer->remote))
		return drop(pkt, DROP_PEER_GONE, load.packets);
	if (skb->len - pkt->l3 + tags > peer->mtu && is_too_big(skb, pkt, peer->mtu - tags))
		return drop(pkt, DROP_TOO_BIG, load.packets);
	if (pkt->track)
		vni |= VNI_MARK;
	if (how == SEND_LAST && is_encapsulable(skb, pkt)) {
		sent = encapsulate(skb, pkt, peer, index, vni);
		if (sent) {
			count_tx(PORT_TUNNEL, load);
			return sent;
		}
	}
	if (tunnel_key_set(skb, peer, vni))
		return drop(pkt, DROP_ACTION_FAILED, load.packets);
	count_tx(PORT_TUNNEL, load);
	return send(skb, cfg->tunnel_ifindex, 0, how);
}

/* One output of a group: always a copy. */
__noinline int output_copy(struct __sk_buff *skb, struct packet *pkt, const struct action *output)
{
	if (!pkt || !output)
		return 0;
	if (output->op == OP_TUNNEL)
		output_tunnel(skb, pkt, output->a, output->b, SEND_COPY);
	else
		output_port(skb, pkt, output->b, SEND_COPY);
	return 0;
}

static __always_inline int output_segment(struct __sk_buff *skb, struct packet *pkt,
				     const struct segment *segment)
{
	__u32 i;

	for (i = 0; i < SEGMENT_OUTPUTS; i++) {
		if (i >= segment->len)
			break;
		output_copy(skb, pkt, &segment->output[i]);
	}
	return 0;
}

/* Sends a copy to every output of a list of segments. */
static __noinline int output_segments(struct __sk_buff *skb, struct packet *pkt, __u32 number)
{
	struct segment *segment;
	int i;

	for (i = 0; i < SEGMENTS_CHAINED; i++) {
		if (!number)
			break;
		segment = bpf_map_lookup_elem(&mn_segments, &number);
		if (!segment)
			break;
		output_segment(skb, pkt, segment);
		number = segment->next;
	}
	return 0;
}

static __always_inline int output_group(struct __sk_buff *skb, struct packet *pkt, __u32 group)
{
	__u32 *first = bpf_map_lookup_elem(&mn_groups, &group);

	return first ? output_segments(skb, pkt, *first) : 0;
}

#endif
