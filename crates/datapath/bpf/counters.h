/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted: flows, ports, drops, meters. Packets are those on the wire. */
#ifndef MN_COUNTERS_H
#define MN_COUNTERS_H

#include "maps.h"
#include "packet.h"

/* A packet's share of every counter. */
struct load {
	__u32	packets;
	__u32	octets;
};

static __always_inline struct load load_of(struct __sk_buff *skb, const struct packet *pkt)
{
	struct load load = { .packets = 1, .octets = skb->len };

	if (skb->vlan_present)
		load.octets += 4;
	if (skb->gso_size) {
		__u32 headers = headers_len(skb, pkt), size = skb->gso_size;

		/* What a VM sends through a tap has not been counted by the kernel. */
		load.packets = skb->gso_segs;
		if (!load.packets)
			load.packets = skb->len > headers ? (skb->len - headers + size - 1) / size : 1;
		load.octets += (load.packets - 1) * headers;
	}
	return load;
}

static __always_inline void count_rx(__u32 port, struct load load)
{
	struct port_stats *stats = bpf_map_lookup_elem(&mn_port_stats, &port);

	if (!stats)
		return;
	stats->rx_packets += load.packets;
	stats->rx_octets += load.octets;
}

static __always_inline void count_tx(__u32 port, struct load load)
{
	struct port_stats *stats = bpf_map_lookup_elem(&mn_port_stats, &port);

	if (!stats)
		return;
	stats->tx_packets += load.packets;
	stats->tx_octets += load.octets;
}

static __always_inline void count_flow(struct flow *flow, struct load load)
{
	__u64 now = bpf_ktime_get_coarse_ns();

	__sync_fetch_and_add(&flow->packets, load.packets);
	__sync_fetch_and_add(&flow->octets, load.octets);
	/* The clock moves once a tick: most packets leave the line as it is. */
	if (flow->used_at != now)
		flow->used_at = now;
}

/* Counts packets for a port and a cause. */
__noinline int count_cause(__u32 port, __u32 cause, __u32 packets)
{
	struct drop_key key = { .port = port, .cause = cause };
	__u64 *count = bpf_map_lookup_elem(&mn_drops, &key), first = packets;

	if (count) {
		__sync_fetch_and_add(count, packets);
		return 0;
	}
	if (bpf_map_update_elem(&mn_drops, &key, &first, BPF_NOEXIST)) {
		count = bpf_map_lookup_elem(&mn_drops, &key);
		if (count)
			__sync_fetch_and_add(count, packets);
	}
	return 0;
}

static __always_inline void count_rx_dropped(__u32 port, __u32 packets)
{
	struct port_stats *stats = bpf_map_lookup_elem(&mn_port_stats, &port);

	if (stats)
		stats->rx_dropped += packets;
}

/* Counts packets that are sent nowhere, by the port they came in by. */
static __always_inline int count_drop(__u32 port, __u32 cause, __u32 packets)
{
	count_rx_dropped(port, packets);
	return count_cause(port, cause, packets);
}

#endif
