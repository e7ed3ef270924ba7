/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a flow key to its flow.
 *
 * The index (mn_buckets) finds flows by masked key, one mask after the other: it is the authority.
 * Before it stands a table of guesses by unmasked key. Neither is believed: a flow is used only
 * after the packet's key was compared with the flow's through the flow's own mask, so a flow that
 * was removed cannot be found, whatever still points at its place.
 */
#ifndef MN_LOOKUP_H
#define MN_LOOKUP_H

#include "maps.h"

#define HASH_FINAL 0x9e3779b97f4a7c15ULL

/*
 * The hash is NH (RFC 4418 §5.2.2) with this datapath's own seed, then mixed. What it multiplies
 * are sums of halves of words: a product with a plain word would leave its low bits the same for
 * all keys that differ in high ones only.
 */
static __always_inline __u64 hash_word(__u64 word, __u64 seed)
{
	__u32 low = (__u32)word + (__u32)seed, high = (__u32)(word >> 32) + (__u32)(seed >> 32);

	return (__u64)low * high;
}

static __always_inline __u64 hash_final(__u64 sum)
{
	sum ^= sum >> 32;
	sum *= HASH_FINAL;
	return sum ^ sum >> 29;
}

static __always_inline struct flow *flow_at(__u32 number)
{
	__u32 chunk = (number - 1) / CHUNK_FLOWS, place = (number - 1) % CHUNK_FLOWS;
	void *flows = bpf_map_lookup_elem(&mn_chunks, &chunk);

	if (!flows)
		return NULL;
	return bpf_map_lookup_elem(flows, &place);
}

/* The flow of this number, if it is there and matches the key. */
static __always_inline struct flow *flow_matching(const struct config *cfg, const __u64 *key,
						  __u32 number)
{
	struct flow *flow = flow_at(number);
	const __u64 *mask;
	__u64 differ = 0;
	__u32 id;
	int i;

	if (!flow || flow->state != FLOW_LIVE)
		return NULL;
	id = flow->mask;
	if (id >= MASKS_MAX)
		return NULL;
	mask = cfg->mask[id];
#pragma unroll
	for (i = 0; i < KEY_WORDS; i++)
		differ |= (key[i] & mask[i]) ^ flow->key[i];
	return differ ? NULL : flow;
}

/* The number of the bucket's flow with this tag, or 0. */
static __always_inline __u32 bucket_search(const struct bucket *bucket, __u32 tag)
{
	int i;

#pragma unroll
	for (i = 0; i < BUCKET_ENTRIES; i++) {
		__u64 entry = *(volatile const __u64 *)&bucket->entry[i];

		if (entry >> 32 == tag && (__u32)entry)
			return entry;
	}
	return 0;
}

/**
 * Looks for a flow of one mask.
 *
 * Returns its number, or 0. The agent refuses a second flow with the same tag in one bucket.
 */
__noinline __u32 lookup_mask(const struct flow_key *flow_key, __u32 id)
{
	struct config *cfg = config();
	const __u64 *key = (const __u64 *)flow_key;
	struct bucket *bucket;
	__u32 at, tag, number, i;
	__u64 hash = 0;

	if (!cfg || !flow_key || id >= MASKS_MAX)
		return 0;
#pragma unroll
	for (i = 0; i < KEY_WORDS; i++)
		hash += hash_word(key[i] & cfg->mask[id][i], cfg->seed[i]);
	hash = hash_final(hash + (id + 1) * cfg->seed[KEY_WORDS]);
	tag = hash >> 32;
	at = hash & cfg->bucket_mask;
	bucket = bpf_map_lookup_elem(&mn_buckets, &at);
	if (!bucket)
		return 0;
	number = bucket_search(bucket, tag);
	if (!number && bucket->overflow) {
		at = (at ^ (tag | 1)) & cfg->bucket_mask;
		bucket = bpf_map_lookup_elem(&mn_buckets, &at);
		if (bucket)
			number = bucket_search(bucket, tag);
	}
	return number && flow_matching(cfg, key, number) ? number : 0;
}

/* Looks through all masks, in order. Returns the number of a flow, or 0. */
__noinline __u32 lookup_masks(const struct flow_key *key)
{
	struct config *cfg = config();
	__u32 active, i, number;

	if (!cfg || !key)
		return 0;
	active = cfg->order_active & 1;
	for (i = 0; i < MASKS_MAX; i++) {
		if (i >= cfg->order_len[active])
			break;
		number = lookup_mask(key, cfg->order[active][i]);
		if (number)
			return number;
	}
	return 0;
}

/**
 * Looks for the flow of a packet.
 *
 * With one mask the index is as quick as a guess, so there are no guesses then.
 */
static __always_inline struct flow *lookup(struct config *cfg, const struct flow_key *flow_key)
{
	const __u64 *key = (const __u64 *)flow_key;
	__u32 active = cfg->order_active & 1, at, number, i;
	struct guess *guess;
	struct flow *flow;
	__u64 hash = 0;

	if (cfg->order_len[active] <= 1) {
		number = lookup_mask(flow_key, cfg->order[active][0]);
		return number ? flow_at(number) : NULL;
	}
#pragma unroll
	for (i = 0; i < KEY_WORDS; i++)
		hash += hash_word(key[i], cfg->seed[i]);
	hash = hash_final(hash);
	at = hash & cfg->guess_mask;
	guess = bpf_map_lookup_elem(&mn_guesses, &at);
	if (!guess)
		return NULL;
#pragma unroll
	for (i = 0; i < 2; i++) {
		__u64 entry = *(volatile __u64 *)&guess->entry[i];

		if (!(__u32)entry || entry >> 32 != hash >> 32)
			continue;
		flow = flow_matching(cfg, key, entry);
		if (flow)
			return flow;
	}
	number = lookup_masks(flow_key);
	if (!number)
		return NULL;
	guess->entry[1] = guess->entry[0];
	guess->entry[0] = (hash >> 32) << 32 | number;
	return flow_at(number);
}

#endif
