/* SPDX-License-Identifier: Apache-2.0 */
/* Carrying out a list of actions. */
#ifndef MN_ACTIONS_H
#define MN_ACTIONS_H

#include "answer.h"
#include "inner.h"
#include "output.h"
#include "rewrite.h"
#include "upcall.h"

/* Returns 0, or an error when the action does not fit the packet. */
static __noinline int rewrite(struct __sk_buff *skb, struct packet *pkt,
			      const struct action *action, const struct address_slots *more)
{
	switch (action->op) {
	case OP_NW_SRC4:
		return set_addr4(skb, pkt, IP4_SRC, action->b);
	case OP_NW_DST4:
		return set_addr4(skb, pkt, IP4_DST, action->b);
	case OP_NW_SRC6:
		return set_addr6(skb, pkt, IP6_SRC, more);
	case OP_NW_DST6:
		return set_addr6(skb, pkt, IP6_DST, more);
	case OP_NW_TOS:
		return set_tos(skb, pkt, action->a);
	case OP_TP_SRC:
		return set_port(skb, pkt, 0, action->a);
	case OP_TP_DST:
		return set_port(skb, pkt, 2, action->a);
	case OP_ICMP_ID:
		return set_icmp_id(skb, pkt, action->a);
	case OP_PUSH_VLAN:
		return push_vlan(skb, pkt, action->a);
	case OP_POP_VLAN:
		return pop_vlan(skb, pkt);
	case OP_INNER_SRC4:
		return inner_set4(skb, pkt, IP4_SRC, action);
	case OP_INNER_DST4:
		return inner_set4(skb, pkt, IP4_DST, action);
	case OP_INNER_SRC6:
		return inner_set6(skb, pkt, IP6_SRC, action, more);
	case OP_INNER_DST6:
		return inner_set6(skb, pkt, IP6_DST, action, more);
	case OP_ANSWER:
	case OP_ANSWER_AS_ROUTER:
		return answer(skb, pkt, action);
	}
	return -1;
}

static __noinline int count_meter(struct __sk_buff *skb, struct packet *pkt, __u32 index)
{
	struct meter *meter = bpf_map_lookup_elem(&mn_meters, &index);
	struct load load = load_of(skb, pkt);

	if (meter) {
		__sync_fetch_and_add(&meter->packets, load.packets);
		__sync_fetch_and_add(&meter->octets, load.octets);
	}
	return 0;
}

/* Sends a copy up for about one packet in `one_in`. A copy that is lost drops no packet. */
static __noinline int copy_up(struct __sk_buff *skb, struct packet *pkt, __u32 one_in)
{
	if (one_in > 1 && bpf_get_prandom_u32() % one_in)
		return 0;
	upcall(skb, pkt, UPCALL_COPY);
	return 0;
}

/*
 * An action that changes nothing and sends nothing away; or a rewrite. Returns 0, a drop cause, or
 * an error.
 */
__noinline int act(struct __sk_buff *skb, struct packet *pkt, const struct action *action,
		   const struct address_slots *more)
{
	if (!pkt || !action || !more)
		return -1;
	switch (action->op) {
	case OP_FOLLOW:
		return 0;
	case OP_TRACK:
		return connection_track(skb, pkt, action);
	case OP_METER:
		return count_meter(skb, pkt, action->b);
	case OP_COPY:
		return copy_up(skb, pkt, action->b);
	case OP_OUTPUTS:
		return output_group(skb, pkt, action->b);
	default:
		return rewrite(skb, pkt, action, more);
	}
}

/* The same; what every routed packet needs without a call. */
static __always_inline int act_quick(struct __sk_buff *skb, struct packet *pkt,
				     const struct action *action, const struct address_slots *more)
{
	switch (action->op) {
	case OP_ETH_SRC:
		return set_mac(skb, offsetof(struct eth_words, src), action->mac);
	case OP_ETH_DST:
		return set_mac(skb, offsetof(struct eth_words, dst), action->mac);
	case OP_DEC_TTL:
		return dec_ttl(skb, pkt);
	default:
		return act(skb, pkt, action, more);
	}
}

/**
 * Carries out the actions of a list, in order.
 * @slots: how many of them are in use
 *
 * Returns what the hook shall return.
 */
__noinline int run_actions(struct __sk_buff *skb, struct packet *pkt,
			   const struct actions *actions, __u32 slots)
{
	__u32 i, skip = 0;
	int cause;

	if (!pkt || !actions)
		return TC_ACT_SHOT;
	for (i = 0; i < SLOTS_MAX; i++) {
		const struct action *slot = &actions->slot[i];
		const struct action *more = &actions->slot[i + 2 < SLOTS_MAX ? i + 1 : 0];
		enum sending how;

		if (i >= slots)
			break;
		if (skip) {
			skip--;
			continue;
		}
		skip = (slot->slots & ~ACTION_WITH_PORT) - 1;
		how = i + 1 == slots ? SEND_LAST : SEND_COPY;
		if (slot->op == OP_OUTPUT) {
			if (how == SEND_LAST)
				return output_port(skb, pkt, slot->b, SEND_LAST);
			output_copy(skb, pkt, slot);
			continue;
		}
		if (slot->op == OP_TUNNEL) {
			if (how == SEND_LAST)
				return output_tunnel(skb, pkt, slot->a, slot->b, SEND_LAST);
			output_copy(skb, pkt, slot);
			continue;
		}
		if (slot->op == OP_DROP || slot->op == OP_DROP_RULE)
			return drop(pkt, slot->a, load_of(skb, pkt).packets);
		cause = act_quick(skb, pkt, slot, (const struct address_slots *)more);
		if (cause)
			return drop(pkt, cause > 0 ? cause : DROP_ACTION_FAILED,
				    load_of(skb, pkt).packets);
	}
	return TC_ACT_SHOT;
}

/* Whether an output of the list cannot take the packet. */
__noinline int exceeds_output(struct __sk_buff *skb, const struct packet *pkt,
			      const struct actions *actions, __u32 slots)
{
	__u32 i, skip = 0, index, mtu;

	if (!pkt || !actions)
		return 0;
	for (i = 0; i < SLOTS_MAX; i++) {
		const struct action *slot = &actions->slot[i];

		if (i >= slots)
			break;
		if (skip) {
			skip--;
			continue;
		}
		skip = (slot->slots & ~ACTION_WITH_PORT) - 1;
		if (slot->op == OP_OUTPUT) {
			struct port *port;

			index = slot->b;
			port = bpf_map_lookup_elem(&mn_ports, &index);
			if (!port || !port->ifindex)
				continue;
			mtu = port->mtu;
		} else if (slot->op == OP_TUNNEL) {
			struct peer *peer;

			index = slot->a;
			peer = bpf_map_lookup_elem(&mn_peers, &index);
			if (!peer || is_unset(peer->remote))
				continue;
			mtu = peer->mtu;
		} else {
			continue;
		}
		if (is_too_big(skb, pkt, mtu))
			return 1;
	}
	return 0;
}

#endif
