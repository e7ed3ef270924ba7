/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tracked connections.
 *
 * A packet is looked up where it enters, where a flow's OP_TRACK makes its connection, and where it
 * is delivered, each in the zone of the port there: so each zone follows both directions. What is
 * delivered of a tracked forward direction makes the entry that the answer will find. Only the
 * agent removes entries: while it is dead, none ages. mn_datapath::connection is the definition.
 */
#ifndef MN_CONNECTION_H
#define MN_CONNECTION_H

#include "maps.h"
#include "tuple.h"

/* Sorts the ends. Returns whether the source is the low one. */
static __always_inline int connection_key_of(const struct tuple *tuple, __u32 zone,
					     struct connection_key *key)
{
	const __u64 *src = (const __u64 *)tuple->src, *dst = (const __u64 *)tuple->dst;
	int from_low = src[0] != dst[0] ? src[0] < dst[0]
		     : src[1] != dst[1] ? src[1] < dst[1]
					: tuple->src_port <= tuple->dst_port;

	key->zone = zone;
	key->vlan = tuple->vlan;
	key->proto = tuple->proto;
	__builtin_memcpy(key->low, from_low ? tuple->src : tuple->dst, 16);
	__builtin_memcpy(key->high, from_low ? tuple->dst : tuple->src, 16);
	key->low_port = from_low ? tuple->src_port : tuple->dst_port;
	key->high_port = from_low ? tuple->dst_port : tuple->src_port;
	return from_low;
}

/* Whether any connection is in the zone. */
static __always_inline int is_zone_used(__u32 number)
{
	struct zone *zone = bpf_map_lookup_elem(&mn_zones, &number);

	return zone && zone->connections;
}

/* A segment that opens a connection, where the one before it is about to end. */
static __always_inline int begins_anew(const struct connection *entry, __u8 proto, __u8 tcp)
{
	return proto == IPPROTO_TCP && tcp == CLASS_TCP_SYN && entry->state >= TCP_FIN_WAIT &&
	       entry->state <= TCP_CLOSED;
}

static __always_inline int is_forward(const struct connection *entry, int from_low)
{
	return from_low == (entry->flags & CONNECTION_FORWARD_LOW);
}

static __always_inline void tcp_see(__u8 *state, __u8 *flags, int forward, __u8 tcp)
{
	__u8 fin = CONNECTION_FIN << !forward, rst = CONNECTION_RST << !forward;
	__u8 fins = CONNECTION_FIN | CONNECTION_FIN << 1;

	if (tcp == CLASS_TCP_RST) {
		*flags = (*flags & ~(CONNECTION_RST | CONNECTION_RST << 1)) | rst;
		*state = TCP_CLOSED;
		return;
	}
	if (tcp == CLASS_TCP_FIN)
		*flags |= fin;
	if (*state == TCP_CLOSED) {
		/* Who speaks on has not reset it: the reset was another's. */
		if (!(*flags & rst))
			return;
		*flags &= ~rst;
		*state = TCP_ESTABLISHED;
	}
	if ((*flags & fins) == fins)
		*state = TCP_TIME_WAIT;
	else if (*flags & fins)
		*state = TCP_FIN_WAIT;
	else if (*state == TCP_SYN_SENT && !forward)
		*state = TCP_SYN_RECV;
	else if (*state == TCP_PICKED_UP && !forward)
		*state = TCP_ESTABLISHED;
	else if (*state == TCP_SYN_RECV && forward && !tcp)
		*state = TCP_ESTABLISHED;
}

/* A packet of a connection was seen. */
static __always_inline void connection_see(struct connection *entry, __u8 proto, int forward,
					   __u8 tcp)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	__u8 state = entry->state, flags = entry->flags;

	if (proto == IPPROTO_TCP)
		tcp_see(&state, &flags, forward, tcp);
	else if (state == UDP_NEW && !forward)
		state = UDP_STREAM;
	/* Most packets leave the line as it is. */
	if (state != entry->state)
		entry->state = state;
	if (flags != entry->flags)
		entry->flags = flags;
	if (entry->used_at != now)
		entry->used_at = now;
}

/* A connection whose first packet this is, from the low end or the high one. */
static __always_inline void connection_begin(struct connection *entry, __u8 proto, int from_low,
					     __u8 tcp)
{
	__u8 state = CONN_OTHER, flags = from_low ? CONNECTION_FORWARD_LOW : 0;

	if (proto == IPPROTO_TCP) {
		state = tcp == CLASS_TCP_SYN ? TCP_SYN_SENT : TCP_PICKED_UP;
		tcp_see(&state, &flags, 1, tcp);
	} else if (proto == IPPROTO_UDP) {
		state = UDP_NEW;
	} else if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
		state = ICMP_ECHO;
	}
	entry->state = state;
	entry->flags = flags;
	entry->made_at = entry->used_at = bpf_ktime_get_coarse_ns();
}

/*
 * Makes an entry within its port's share.
 *
 * Returns 0 or a drop cause.
 */
static __always_inline int connection_make(const struct connection_key *key, __u32 port,
					   int from_low, __u8 tcp)
{
	__u32 number = key->zone;
	struct zone *zone = bpf_map_lookup_elem(&mn_zones, &number);
	struct share *share = bpf_map_lookup_elem(&mn_shares, &port);
	struct connection entry = { .port = port };
	__u32 had;
	long err;

	if (!zone || !share)
		return DROP_CONNECTION_TABLE;
	had = __sync_fetch_and_add(&share->connections, 1);
	if (share->max && had >= share->max) {
		__sync_fetch_and_add(&share->connections, -1);
		return DROP_CONNECTION_LIMIT;
	}
	/* Counted first: whoever finds the count at 0 may not look. */
	__sync_fetch_and_add(&zone->connections, 1);
	connection_begin(&entry, key->proto, from_low, tcp);
	err = bpf_map_update_elem(&mn_connections, key, &entry, BPF_NOEXIST);
	if (!err)
		return 0;
	__sync_fetch_and_add(&zone->connections, -1);
	__sync_fetch_and_add(&share->connections, -1);
	/* Another packet of it was faster. */
	return err == -17 /* EEXIST */ ? 0 : DROP_CONNECTION_TABLE;
}

/* Sees the packet in its connection, or makes that. Returns 0 or a drop cause. */
static __always_inline int connection_follow(const struct connection_key *key, __u32 port,
					     int from_low, __u8 tcp, int make)
{
	struct connection *entry = bpf_map_lookup_elem(&mn_connections, key);

	if (entry && !begins_anew(entry, key->proto, tcp)) {
		connection_see(entry, key->proto, is_forward(entry, from_low), tcp);
		return 0;
	}
	if (!make)
		return 0;
	if (!entry)
		return connection_make(key, port, from_low, tcp);
	connection_begin(entry, key->proto, from_low, tcp);
	return 0;
}

/* Looks the packet up in the zone of the port it came in by: sets key.conn. */
__noinline int connection_ask(struct __sk_buff *skb, struct packet *pkt)
{
	struct connection_key key = {};
	struct tuple tuple = {};
	struct connection *entry;
	__u8 tcp;
	int related = 0, from_low, forward;

	if (!pkt || !is_followed(pkt))
		return 0;
	if (quotes(pkt)) {
		tuple.vlan = bpf_ntohs(pkt->key.vlan) & 0x1fff;
		if (tuple_quoted(skb, pkt, &tuple) == TUPLE_NONE)
			return 0;
		related = 1;
	} else {
		tuple_own(pkt, &tuple);
	}
	from_low = connection_key_of(&tuple, pkt->zone, &key);
	entry = bpf_map_lookup_elem(&mn_connections, &key);
	tcp = pkt->key.class & CLASS_TCP;
	if (!entry || (!related && begins_anew(entry, key.proto, tcp)))
		return 0;
	forward = is_forward(entry, from_low);
	if (!related)
		connection_see(entry, key.proto, forward, tcp);
	pkt->key.conn = forward ? CONN_FORWARD : CONN_RETURN;
	return 0;
}

static __always_inline void connection_enter(struct __sk_buff *skb, struct packet *pkt)
{
	__u32 number = pkt->port;
	struct port *port = bpf_map_lookup_elem(&mn_ports, &number);

	if (!port || !port->zone)
		return;
	pkt->zone = port->zone;
	if (is_zone_used(port->zone))
		connection_ask(skb, pkt);
}

/**
 * Carries out OP_TRACK: the packet is of the forward direction of a connection to be followed.
 *
 * Returns 0 or a drop cause.
 */
static __noinline int connection_track(struct __sk_buff *skb, struct packet *pkt,
				       const struct action *action)
{
	struct connection_key key = {};
	struct tuple tuple = {};
	__u32 zone = action->b;
	int from_low, cause;

	if (pkt->key.conn == CONN_RETURN || !is_followed(pkt) || quotes(pkt))
		return 0;
	if (zone && pkt->key.conn != CONN_FORWARD) {
		tuple_own(pkt, &tuple);
		from_low = connection_key_of(&tuple, zone, &key);
		cause = connection_follow(&key, action->a, from_low, pkt->key.class & CLASS_TCP, 1);
		if (cause)
			return cause;
	}
	pkt->zone = zone;
	pkt->track = 1;
	return 0;
}

/*
 * Room for one delivery, instead of the stack: below a packet, a group's outputs and the rest of
 * the way, the calls together may have 512 octets, of which Linux 6.1 counts each in units of 32.
 */
struct delivery_room {
	struct connection_key key;
	struct tuple tuple;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct delivery_room);
} mn_room SEC(".maps");

/* See connection_delivered(). */
__noinline int connection_deliver(struct __sk_buff *skb, struct packet *pkt, __u32 port, __u32 zone)
{
	struct delivery_room *room;
	__u32 zero = 0;
	int from_low;

	if (!pkt || !is_followed(pkt) || quotes(pkt) || pkt->fragment == CLASS_FRAGMENT_LATER)
		return 0;
	room = bpf_map_lookup_elem(&mn_room, &zero);
	if (!room)
		return 0;
	__builtin_memset(room, 0, sizeof(*room));
	if (!pkt->rewritten)
		tuple_own(pkt, &room->tuple);
	else if (tuple_now(skb, pkt, &room->tuple))
		return 0;
	from_low = connection_key_of(&room->tuple, zone, &room->key);
	return connection_follow(&room->key, port, from_low, pkt->key.class & CLASS_TCP,
				 pkt->track);
}

/**
 * A packet is about to leave by a port: the zone there sees it, and where it is of a tracked forward
 * direction, makes the entry that the answer will find.
 *
 * Returns 0 or a drop cause.
 */
static __always_inline int connection_delivered(struct __sk_buff *skb, struct packet *pkt,
						__u32 number, const struct port *port)
{
	__u32 zone = port->zone;

	if (!zone || (!pkt->track && !is_zone_used(zone)))
		return 0;
	/* Seen already, where it came in. */
	if (pkt->zone == zone && !pkt->rewritten)
		return 0;
	return connection_deliver(skb, pkt, number, zone);
}

#endif
