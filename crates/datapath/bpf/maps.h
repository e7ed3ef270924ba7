/* SPDX-License-Identifier: Apache-2.0 */
/* The maps. All are pinned by name, so that they outlive the agent. */
#ifndef MN_MAPS_H
#define MN_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

/* Agents write these as memory of theirs, without a system call. */
#define SHARED_ARRAY(name, value_type, count)		\
	struct {					\
		__uint(type, BPF_MAP_TYPE_ARRAY);	\
		__uint(max_entries, count);		\
		__uint(map_flags, BPF_F_MMAPABLE);	\
		__type(key, __u32);			\
		__type(value, value_type);		\
		__uint(pinning, LIBBPF_PIN_BY_NAME);	\
	} name SEC(".maps")

SHARED_ARRAY(mn_config, struct config, 1);
SHARED_ARRAY(mn_buckets, struct bucket, 1024);		/* the agent says how many */
SHARED_ARRAY(mn_guesses, struct guess, 1024);		/* likewise */
SHARED_ARRAY(mn_ports, struct port, PORTS_MAX);
SHARED_ARRAY(mn_ifaces, struct iface, IFACES_DIRECT);
SHARED_ARRAY(mn_peers, struct peer, PEERS_MAX);
SHARED_ARRAY(mn_groups, __u32, GROUPS_MAX);		/* first segment, 0: none */
SHARED_ARRAY(mn_segments, struct segment, SEGMENTS_MAX);
SHARED_ARRAY(mn_injects, struct inject, INJECT_SLOTS);
SHARED_ARRAY(mn_meters, struct meter, METERS_MAX);
/* What ports counted under an older version; only the agent writes and reads it. */
SHARED_ARRAY(mn_port_before, struct port_stats, PORTS_MAX);
SHARED_ARRAY(mn_zones, struct zone, ZONES_MAX);
SHARED_ARRAY(mn_shares, struct share, PORTS_MAX);
SHARED_ARRAY(mn_broadcasts, struct rate_limit, PORTS_MAX);
SHARED_ARRAY(mn_bandwidths, struct port_bandwidth, PORTS_MAX);
SHARED_ARRAY(mn_untold, __u64, RINGS_MAX);		/* what mn_followed had no room for */
SHARED_ARRAY(mn_bells, struct bell, RINGS_MAX);
SHARED_ARRAY(mn_underlay, struct underlay, 1);
SHARED_ARRAY(mn_routes, struct route, PEERS_MAX);		/* by peer */

/* Flows, CHUNK_FLOWS in each inner map; the agent adds chunks as it needs them. */
struct flow_chunk {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CHUNK_FLOWS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct flow));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CHUNKS_MAX);
	__type(key, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct flow_chunk);
} mn_chunks SEC(".maps");

struct upcall_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};

/* One ring per worker. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, RINGS_MAX);
	__type(key, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct upcall_ring);
} mn_rings SEC(".maps");

/* For each worker what its flows tell of. Nobody is woken for it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, RINGS_MAX);
	__type(key, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct upcall_ring);
} mn_followed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PORTS_MAX);
	__type(key, __u32);
	__type(value, struct port_stats);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} mn_port_stats SEC(".maps");

/* Interfaces whose place in mn_ifaces another one has. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PORTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} mn_ifaces_more SEC(".maps");

/* Outer addresses that tunnelled packets are taken from. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u8[16]);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} mn_members SEC(".maps");

/* What the keys other hosts send to mean here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct delivery);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} mn_keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct drop_key);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} mn_drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);		/* the agent says how many */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct connection_key);
	__type(value, struct connection);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} mn_connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} mn_fragments SEC(".maps");

/* When a flow's packets came coalesced last, by its outer source port. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COALESCED);
	__type(key, __u32);
	__type(value, __u64);
} mn_coalesced SEC(".maps");

static __always_inline struct config *config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mn_config, &zero);
}

#endif
