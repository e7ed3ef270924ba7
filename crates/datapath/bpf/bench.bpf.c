// SPDX-License-Identifier: Apache-2.0
/* Measures the lookup: each run asks for one of many keys. Loaded by tests only. */
#include "counters.h"
#include "lookup.h"

char _license[] SEC("license") = "Apache-2.0";

/*
 * skb->mark says how many keys there are (a power of two), skb->priority whether they come
 * uniformly or skewed. Keys are those of tests/kernel/many.rs.
 */
SEC("classifier")
int lookup_bench(struct __sk_buff *skb)
{
	struct flow_key key = { .in_port = 16, .eth_type = bpf_htons(ETH_P_IP), .nw_proto = 17 };
	struct load load = { .packets = 1, .octets = 60 };
	struct config *cfg = config();
	__u32 number = bpf_get_prandom_u32();
	struct flow *flow;

	/* Log-uniform: the chance of a key falls with its number, as in Zipf(1.0). */
	if (skb->priority)
		number >>= bpf_get_prandom_u32() % 21;
	number &= skb->mark - 1;
	key.eth_dst[0] = key.eth_src[0] = 2;
	key.eth_dst[5] = 2;
	key.eth_src[5] = 1;
	*(__u16 *)(key.nw_src + 10) = *(__u16 *)(key.nw_dst + 10) = 0xffff;
	*(__u32 *)(key.nw_src + 12) = bpf_htonl(0x0a000000 | number >> 16);
	*(__u32 *)(key.nw_dst + 12) = bpf_htonl(0x0a010001);
	key.tp_src = bpf_htons(number);
	key.tp_dst = bpf_htons(53);
	if (!cfg)
		return 1;
	flow = lookup(cfg, &key);
	if (!flow)
		return 2;
	count_flow(flow, load);
	return 0;
}
