// SPDX-License-Identifier: Apache-2.0
/* Measures the lookup: each run asks for one of many keys. Loaded by tests only. */
#include "counters.h"
#include "lookup.h"

char _license[] SEC("license") = "Apache-2.0";

#define SAMPLES (1 << 20)

/* Which key each run asks for: drawn beforehand, so that drawing takes no time here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SAMPLES);
	__type(key, __u32);
	__type(value, __u32);
} bench_samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_next SEC(".maps");

/*
 * One lookup with its counters; with a skb->priority all but that, to know what else a run takes.
 * Keys are those of tests/kernel/many.rs.
 */
SEC("classifier")
int lookup_bench(struct __sk_buff *skb)
{
	struct flow_key key = { .in_port = 16, .eth_type = bpf_htons(ETH_P_IP), .nw_proto = 17 };
	struct load load = { .packets = 1, .octets = 60 };
	struct config *cfg = config();
	__u32 zero = 0, at, *next = bpf_map_lookup_elem(&bench_next, &zero), *sample;
	struct flow *flow;

	if (!next || !cfg)
		return 1;
	at = (*next)++ & (SAMPLES - 1);
	sample = bpf_map_lookup_elem(&bench_samples, &at);
	if (!sample)
		return 1;
	key.eth_dst[0] = key.eth_src[0] = 2;
	key.eth_dst[5] = 2;
	key.eth_src[5] = 1;
	*(__u16 *)(key.nw_src + 10) = *(__u16 *)(key.nw_dst + 10) = 0xffff;
	*(__u32 *)(key.nw_src + 12) = bpf_htonl(0x0a000000 | *sample >> 16);
	*(__u32 *)(key.nw_dst + 12) = bpf_htonl(0x0a010001);
	key.tp_src = bpf_htons(*sample);
	key.tp_dst = bpf_htons(53);
	if (skb->priority)
		return key.tp_src == 0xffff ? 3 : 0;
	flow = lookup(cfg, &key);
	if (!flow)
		return 2;
	count_flow(flow, load);
	return 0;
}
