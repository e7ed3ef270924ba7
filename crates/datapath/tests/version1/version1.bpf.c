// SPDX-License-Identifier: Apache-2.0
/*
 * A datapath of ABI version 1, for the tests of who takes over from it. Frozen: never changed with
 * the datapath's own sources, and it includes none of them.
 *
 * Names, types, sizes and layouts of the maps are those of version 1, and so are the names and
 * hooks of the programs: what a hand-over reads, replaces and adds up. The programs do as much of
 * version 1's work as a switch of two ports needs: they find a flow by walking the index instead
 * of by its hash, and know one action.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define KEY_WORDS 11
#define SLOTS_MAX 21
#define MASKS_MAX 128
#define CHUNK_FLOWS 4096
#define BUCKETS 4
#define BUCKET_ENTRIES 7
#define OP_OUTPUT 1

struct flow_key {
	__u32	in_port;
	__u32	tun_key;
	__u8	tun_src[16];
	__u8	eth_dst[6];
	__u16	eth_type;
	__u8	eth_src[6];
	__u8	rest[50];
} __attribute__((aligned(8)));

struct action {
	__u8	op;
	__u8	slots;
	__u16	a;
	__u32	b;
};

struct flow {
	__u32	state;
	__u16	mask;
	__u8	slots;
	__u8	hops;
	__u64	packets;
	__u64	octets;
	__u64	used_at;
	__u64	cookie;
	__u64	key[KEY_WORDS];
	struct action action[SLOTS_MAX];
	__u64	first[KEY_WORDS];
};

struct bucket {
	__u32	overflow;
	__u32	zero;
	__u64	entry[BUCKET_ENTRIES];
};

struct config {
	__u64	seed[KEY_WORDS + 1];
	__u64	heartbeat_at;
	__u32	bucket_mask;
	__u32	guess_mask;
	__u32	rings;
	__u32	tunnel_ifindex;
	__u32	mtu_min;
	__u32	order_active;
	__u32	order_len[2];
	__u16	order[2][MASKS_MAX];
	__u64	mask[MASKS_MAX][KEY_WORDS];
};

struct port {
	__u32	ifindex;
	__u32	flags;
	__u32	mtu;
	__u32	rate;
	__u64	burst_ns;
	__u64	arrival_at;
};

struct port_stats {
	__u64	rx_packets;
	__u64	rx_octets;
	__u64	tx_packets;
	__u64	tx_octets;
	__u64	rx_dropped;
	__u64	zero[3];
};

struct drop_key {
	__u32	port;
	__u32	cause;
};

struct iface {
	__u32	ifindex;
	__u32	port;
};

struct upcall {
	__u64	at;
	struct flow_key key;
	__u32	len;
	__u16	gso_size;
	__u8	reason;
	__u8	zero;
};

#define MAP(name, map_type, flags, key_type, octets, count)	\
	struct {						\
		__uint(type, map_type);				\
		__uint(max_entries, count);			\
		__uint(map_flags, flags);			\
		__uint(key_size, sizeof(key_type));		\
		__uint(value_size, octets);			\
		__uint(pinning, LIBBPF_PIN_BY_NAME);		\
	} name SEC(".maps")
#define SHARED(name, octets, count)				\
	MAP(name, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, __u32, octets, count)
#define HASH(name, key_type, octets, count)			\
	MAP(name, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, key_type, octets, count)

SHARED(mn_config, sizeof(struct config), 1);
SHARED(mn_buckets, sizeof(struct bucket), BUCKETS);
SHARED(mn_guesses, 16, 64);
SHARED(mn_ports, sizeof(struct port), 4096);
SHARED(mn_ifaces, sizeof(struct iface), 4096);
SHARED(mn_peers, 40, 4096);
SHARED(mn_groups, 4, 4096);
SHARED(mn_segments, 248, 8192);
SHARED(mn_injects, 176, 64);
SHARED(mn_meters, 16, 4096);
MAP(mn_port_stats, BPF_MAP_TYPE_PERCPU_ARRAY, 0, __u32, sizeof(struct port_stats), 4096);
HASH(mn_ifaces_more, __u32, 4, 4096);
HASH(mn_members, __u8[16], 4, 16384);
HASH(mn_keys, __u32, 8, 65536);
HASH(mn_drops, struct drop_key, 8, 16384);

struct flow_chunk {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CHUNK_FLOWS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct flow));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 512);
	__type(key, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct flow_chunk);
} mn_chunks SEC(".maps");

struct upcall_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 64);
	__type(key, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct upcall_ring);
} mn_rings SEC(".maps");

/* The test puts these in the first places of mn_chunks and mn_rings. */
struct flow_chunk first_chunk SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} first_ring SEC(".maps");

char _license[] SEC("license") = "Apache-2.0";

static __always_inline struct flow *flow_at(__u32 number)
{
	__u32 zero = 0, place = number - 1;
	void *chunk = bpf_map_lookup_elem(&mn_chunks, &zero);

	return chunk ? bpf_map_lookup_elem(chunk, &place) : NULL;
}

/* Whether a flow matches. A function of its own to the verifier, who looks at it once. */
__noinline int matches(const struct flow_key *flow_key, __u32 number)
{
	__u32 zero = 0;
	struct config *cfg = bpf_map_lookup_elem(&mn_config, &zero);
	const __u64 *key = (const __u64 *)flow_key;
	struct flow *flow = flow_at(number);
	__u64 differ = 0;
	__u32 mask;
	int i;

	if (!cfg || !key || !flow || flow->state != 1)
		return 0;
	mask = flow->mask;
	if (mask >= MASKS_MAX)
		return 0;
#pragma unroll
	for (i = 0; i < KEY_WORDS; i++)
		differ |= (key[i] & cfg->mask[mask][i]) ^ flow->key[i];
	return !differ;
}

static __always_inline struct flow *find(const struct flow_key *key)
{
	int i, j;

#pragma unroll
	for (i = 0; i < BUCKETS; i++) {
		__u32 place = i;
		struct bucket *bucket = bpf_map_lookup_elem(&mn_buckets, &place);

		if (!bucket)
			return NULL;
#pragma unroll
		for (j = 0; j < BUCKET_ENTRIES; j++) {
			__u32 number = bucket->entry[j];

			if (number && matches(key, number))
				return flow_at(number);
		}
	}
	return NULL;
}

static __always_inline int ask(struct flow_key *key, __u32 len)
{
	struct upcall *up = bpf_ringbuf_reserve(&first_ring, sizeof(*up), 0);

	if (up) {
		__builtin_memset(up, 0, sizeof(*up));
		up->at = bpf_ktime_get_ns();
		up->key = *key;
		up->len = len;
		bpf_ringbuf_submit(up, 0);
	}
	return TC_ACT_SHOT;
}

SEC("classifier")
int port_ingress(struct __sk_buff *skb)
{
	struct flow_key key = {};
	__u32 place = skb->ifindex & 4095, out;
	struct iface *iface = bpf_map_lookup_elem(&mn_ifaces, &place);
	struct port_stats *stats;
	struct port *port;
	struct flow *flow;

	if (!iface || iface->ifindex != skb->ifindex)
		return TC_ACT_SHOT;
	key.in_port = iface->port;
	bpf_skb_load_bytes(skb, 0, key.eth_dst, 6);
	bpf_skb_load_bytes(skb, 6, key.eth_src, 6);
	bpf_skb_load_bytes(skb, 12, &key.eth_type, 2);
	stats = bpf_map_lookup_elem(&mn_port_stats, &key.in_port);
	if (stats) {
		stats->rx_packets++;
		stats->rx_octets += skb->len;
	}
	flow = find(&key);
	if (!flow)
		return ask(&key, skb->len);
	__sync_fetch_and_add(&flow->packets, 1);
	__sync_fetch_and_add(&flow->octets, skb->len);
	flow->used_at = bpf_ktime_get_ns();
	if (flow->action[0].op != OP_OUTPUT)
		return TC_ACT_SHOT;
	out = flow->action[0].b;
	port = bpf_map_lookup_elem(&mn_ports, &out);
	stats = bpf_map_lookup_elem(&mn_port_stats, &out);
	if (!port || !stats)
		return TC_ACT_SHOT;
	stats->tx_packets++;
	stats->tx_octets += skb->len;
	return bpf_redirect(port->ifindex, 0);
}

SEC("classifier")
int tunnel_ingress(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

SEC("classifier")
int inject_egress(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

_Static_assert(sizeof(struct flow_key) == 88, "");
_Static_assert(sizeof(struct flow) == 384, "");
_Static_assert(sizeof(struct bucket) == 64, "");
_Static_assert(sizeof(struct config) == 11912, "");
_Static_assert(sizeof(struct port) == 32, "");
_Static_assert(sizeof(struct upcall) == 104, "");
