/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the agent: the whole packet goes into the ring of one worker. */
#ifndef MN_UPCALL_H
#define MN_UPCALL_H

#include "bucket.h"
#include "counters.h"
#include "maps.h"
#include "packet.h"

/* Longest frame of each record; the last holds any packet the kernel has (64 KiB and headers). */
#define UPCALL_SMALL 152
#define UPCALL_MEDIUM 2048
#define UPCALL_LARGE 16384
#define UPCALL_HUGE 65664
#define MAC_LEN 12
#define TAG_LEN 4

/* Takes one token of the port; 0 if it has none. */
static __always_inline int upcall_token(struct port *port, __u64 now)
{
	return port->rate && bucket_take(&port->arrival_at, port->rate, port->burst_ns, now);
}

static __always_inline __u64 fold(const __u8 *addr)
{
	const __u64 *words = (const __u64 *)addr;

	return (words[0] ^ words[1]) * 0x9e3779b97f4a7c15ULL;
}

/**
 * Chooses the worker: the same for both directions of a connection, its fragments and the ICMP
 * errors about it. So ports cannot take part: later fragments have none.
 */
static __always_inline __u32 upcall_worker(struct __sk_buff *skb, const struct packet *pkt,
					   __u32 rings)
{
	const struct flow_key *key = &pkt->key;
	__u8 inner[40] __attribute__((aligned(8))) = {};
	__u8 addr[32] __attribute__((aligned(8)));
	__u8 type = bpf_ntohs(key->tp_src) >> 8;
	__u64 hash;

	if (rings <= 1)
		return 0;
	__builtin_memcpy(addr, key->nw_src, 16);
	__builtin_memcpy(addr + 16, key->nw_dst, 16);
	if (pkt->version == 4 && key->nw_proto == IPPROTO_ICMP && pkt->l4 &&
	    (type == 3 || type == 11 || type == 12)) {
		if (!bpf_skb_load_bytes(skb, pkt->l4 + 8 + 12, inner, 8)) {
			__builtin_memcpy(addr + 12, inner, 4);
			__builtin_memcpy(addr + 28, inner + 4, 4);
		}
	} else if (pkt->version == 6 && key->nw_proto == IPPROTO_ICMPV6 && pkt->l4 &&
		   type >= 1 && type <= 4) {
		if (!bpf_skb_load_bytes(skb, pkt->l4 + 8 + 8, inner, 32))
			__builtin_memcpy(addr, inner, 32);
	}
	if (!pkt->version && key->eth_type != bpf_htons(ETH_P_ARP)) {
		__builtin_memset(addr, 0, 32);
		__builtin_memcpy(addr, key->eth_src, 6);
		__builtin_memcpy(addr + 16, key->eth_dst, 6);
	}
	hash = fold(addr) + fold(addr + 16);
	return (hash >> 32) % rings;
}

/* Copies the frame behind the record's head, the outer tag in line. Returns 0 or an error. */
static __always_inline int upcall_frame(struct __sk_buff *skb, __u8 *frame, __u32 len, __u32 max)
{
	__u32 tag = skb->vlan_present ? TAG_LEN : 0, last;

	if (bpf_skb_load_bytes(skb, 0, frame, MAC_LEN))
		return -1;
	if (tag) {
		*(__be16 *)(frame + MAC_LEN) = skb->vlan_proto;
		*(__be16 *)(frame + MAC_LEN + 2) = bpf_htons(skb->vlan_tci);
	}
	/*
	 * One comparison for "at least one octet, and no more than fit": the verifier of Linux 6.1
	 * learns no lower bound from `rest != 0`. It forgets what it knew of `len`, and the
	 * compiler may neither remember that nor add the one before the comparison.
	 */
	last = len - tag - MAC_LEN - 1;
	asm volatile("" : "+r"(last));
	if (last >= max - MAC_LEN - TAG_LEN)
		return -1;
	asm volatile("" : "+r"(last));
	return bpf_skb_load_bytes(skb, MAC_LEN, frame + MAC_LEN + tag, last + 1);
}

/**
 * Wakes the worker if it sleeps, once its record is submitted.
 *
 * The ring's own way to wake is an interrupt that the CPU sends itself, which costs a virtual
 * machine more than many packets do. So the packet that is asked about, which goes nowhere else, is
 * sent to the worker's tap: that wakes at once who waits for it. A copy's packet goes on, so a copy
 * takes the interrupt.
 *
 * A record is submitted before this reads whether the worker sleeps; a worker says that it sleeps
 * before it looks for records once more, both with full barriers. So it sleeps through none.
 *
 * Returns 0, or negative the interface to send the packet to.
 */
static __always_inline int upcall_wake(void *ring, __u32 worker, __u32 reason)
{
	struct bell *bell = bpf_map_lookup_elem(&mn_bells, &worker);
	void *nothing;

	if (!bell || !__sync_fetch_and_add(&bell->asleep, 0))
		return 0;
	/* The first to find it asleep wakes it. */
	if (!__sync_lock_test_and_set(&bell->asleep, 0))
		return 0;
	if (bell->ifindex && reason != UPCALL_COPY)
		return -(int)bell->ifindex;
	nothing = bpf_ringbuf_reserve(ring, 8, 0);
	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
	return 0;
}

#define UPCALL_RECORD(max)								\
	do {										\
		struct upcall *record =							\
			bpf_ringbuf_reserve(ring, sizeof(*record) + (max), 0);		\
											\
		if (!record)								\
			return DROP_UPCALL_QUEUE;					\
		record->at = now;							\
		record->key = pkt->key;							\
		record->len = len;							\
		record->gso_size = skb->gso_size;					\
		record->reason = reason;						\
		record->zero = 0;							\
		if (upcall_frame(skb, (__u8 *)(record + 1), len, (max))) {		\
			bpf_ringbuf_discard(record, 0);					\
			return DROP_TRUNCATED;						\
		}									\
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);				\
		return upcall_wake(ring, worker, reason);				\
	} while (0)

/**
 * Puts the packet into its worker's ring.
 *
 * Returns 0, a drop cause, or negative the interface to send the packet to.
 */
static __noinline int upcall_write(struct __sk_buff *skb, const struct packet *pkt, __u32 reason,
				   __u32 rings)
{
	__u32 worker = upcall_worker(skb, pkt, rings), len = skb->len;
	void *ring = bpf_map_lookup_elem(&mn_rings, &worker);
	__u64 now = bpf_ktime_get_ns();

	if (!ring)
		return DROP_UPCALL_QUEUE;
	if (skb->vlan_present)
		len += TAG_LEN;
	/* A tag fits into every class beside the octets of its name. */
	if (len <= UPCALL_SMALL - TAG_LEN)
		UPCALL_RECORD(UPCALL_SMALL);
	if (len <= UPCALL_MEDIUM - TAG_LEN)
		UPCALL_RECORD(UPCALL_MEDIUM);
	if (len <= UPCALL_LARGE - TAG_LEN)
		UPCALL_RECORD(UPCALL_LARGE);
	if (len <= UPCALL_HUGE - TAG_LEN)
		UPCALL_RECORD(UPCALL_HUGE);
	return DROP_TOO_BIG;
}

/**
 * Asks the agent about a packet, within the limits of its port.
 *
 * Returns 0, a drop cause, or negative the interface to send the packet to: the worker's bell.
 */
__noinline int upcall(struct __sk_buff *skb, const struct packet *pkt, __u32 reason)
{
	struct config *cfg = config();
	__u64 now = bpf_ktime_get_ns();
	struct port *port;
	__u32 number;

	if (!pkt)
		return DROP_PORT_GONE;
	number = pkt->port;
	port = bpf_map_lookup_elem(&mn_ports, &number);
	if (!cfg || !port)
		return DROP_PORT_GONE;
	if (now - cfg->heartbeat_at > HEARTBEAT_MAX_NS && now > cfg->heartbeat_at)
		return DROP_AGENT_DOWN;
	if (!upcall_token(port, now))
		return DROP_UPCALL_LIMIT;
	return upcall_write(skb, pkt, reason, cfg->rings);
}

#endif
