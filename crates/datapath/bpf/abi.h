/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs and the agent share: the layout of every map.
 *
 * The same numbers stand in the crate mn-datapath-abi, which asserts them too. A change of any of
 * them is a new ABI_VERSION.
 */
#ifndef MN_ABI_H
#define MN_ABI_H

#include <linux/types.h>
#include <stddef.h>

#define ABI_VERSION 3

#define KEY_WORDS 11		/* of a flow key, 8 octets each */
#define SLOTS_MAX 21		/* action slots of one flow */
#define MASKS_MAX 128
#define CHUNK_FLOWS 16384	/* flows of one chunk of the flow table */
#define CHUNKS_MAX 128
#define BUCKET_ENTRIES 7
#define PORTS_MAX 4096
#define PEERS_MAX 4096
#define GROUPS_MAX 4096
#define SEGMENTS_MAX 8192
#define SEGMENT_OUTPUTS 30
#define SEGMENTS_CHAINED 32	/* longest chain: 960 outputs */
#define INJECT_SLOTS 64
#define RINGS_MAX 64
#define METERS_MAX 4096
#define LOCALS_MAX 8		/* tunnel addresses of this host */
#define COALESCED 4096		/* a power of two */
#define IFACES_DIRECT 4096	/* interfaces found without a hash; a power of two */
#define ZONES_MAX 4096
#define FRAGMENTS_MAX 8192	/* datagrams whose first fragment is remembered */

#define VNI_MARK (1 << 21)	/* forward direction of a tracked connection */

#define PORT_NONE 0
#define PORT_TUNNEL 1

#define HEARTBEAT_MAX_NS 1000000000ULL
#define FOLLOWED_MAX_NS 2000000000ULL
#define COALESCED_NS 50000000ULL

/* Source ports of tunnelled packets: what Linux uses where nobody says otherwise. */
#define SOURCE_PORT_MIN 32768
#define SOURCE_PORT_MAX 60999

/* Why a packet is sent nowhere: the numbers of mn_flow::DropCause. */
enum drop_cause {
	DROP_TRUNCATED = 1,
	DROP_MALFORMED = 2,
	DROP_AGENT_DOWN = 3,
	DROP_UPCALL_LIMIT = 4,
	DROP_UPCALL_QUEUE = 5,
	DROP_TUNNEL_NOT_MEMBER = 6,
	DROP_TUNNEL_UNKNOWN_KEY = 7,
	DROP_PORT_GONE = 8,
	DROP_PEER_GONE = 9,
	DROP_TOO_BIG = 10,
	DROP_ACTION_FAILED = 11,
	DROP_CONSUMED = 31,
	DROP_TUNNEL_RETIRED_KEY = 33,
	DROP_CONNECTION_LIMIT = 35,
	DROP_CONNECTION_TABLE = 36,
	DROP_BROADCAST_LIMIT = 40,
	DROP_TUNNEL_OTHER_ADDRESS = 41,
	DROP_BANDWIDTH_SENT = 42,
	DROP_BANDWIDTH_RECEIVED = 43,
};

enum upcall_reason {
	UPCALL_MISS = 0,
	UPCALL_TTL = 1,
	UPCALL_TOO_BIG = 2,
	UPCALL_COPY = 3,
	UPCALL_ANSWER = 4,
};

/* Bits of flow_key.class, as mn_flow::Class. */
#define CLASS_FRAGMENT_FIRST 1
#define CLASS_FRAGMENT_LATER 2
#define CLASS_FRAGMENT 3
#define CLASS_TTL 4
#define CLASS_TCP (3 << 3)
#define CLASS_TCP_SYN (1 << 3)
#define CLASS_TCP_FIN (2 << 3)
#define CLASS_TCP_RST (3 << 3)
#define CLASS_ND 0x20

/* flow_key.conn, as mn_flow::Conn. */
enum conn { CONN_NONE = 0, CONN_FORWARD = 1, CONN_RETURN = 2 };

#define VLAN_PRESENT 0x1000

/* The headers of one packet. Every octet is compared: there is no padding but `zero`. */
struct flow_key {
	__u32	in_port;
	__u32	tun_key;
	__u8	tun_src[16];	/* IPv4 as IPv4-mapped, here and below */
	__u8	eth_dst[6];
	__be16	eth_type;
	__u8	eth_src[6];
	__be16	vlan;		/* VLAN_PRESENT says whether there is a tag */
	__u8	nw_src[16];
	__u8	nw_dst[16];
	__be16	inner_vlan;
	__u8	nw_proto;
	__u8	nw_tos;
	__u8	class;
	__u8	conn;
	__be16	tp_src;
	__be16	tp_dst;
	__u8	zero[6];
} __attribute__((aligned(8)));

/* What an action slot holds. A slot's `slots` says how many it takes, itself included. */
enum action_op {
	OP_OUTPUT = 1,		/* b: port */
	OP_TUNNEL = 2,		/* a: peer, b: VNI */
	OP_OUTPUTS = 3,		/* b: group */
	OP_ETH_SRC = 4,		/* mac */
	OP_ETH_DST = 5,
	OP_NW_SRC4 = 6,		/* b: address, as on the wire */
	OP_NW_DST4 = 7,
	OP_NW_SRC6 = 8,		/* the address in the two slots after */
	OP_NW_DST6 = 9,
	OP_NW_TOS = 10,		/* a */
	OP_TP_SRC = 11,		/* a: as on the wire */
	OP_TP_DST = 12,
	OP_ICMP_ID = 13,
	OP_DEC_TTL = 14,
	OP_PUSH_VLAN = 15,	/* a: TCI, host order */
	OP_POP_VLAN = 16,
	OP_INNER_SRC4 = 17,	/* b: address; a: port, as on the wire; with_port */
	OP_INNER_DST4 = 18,
	OP_INNER_SRC6 = 19,
	OP_INNER_DST6 = 20,
	OP_TRACK = 21,		/* b: zone; a: port */
	OP_METER = 22,		/* b: index */
	OP_COPY = 23,		/* b: one packet in so many */
	OP_DROP = 24,		/* a: cause */
	OP_DROP_RULE = 25,	/* a: cause; the rule in the two slots after, for people */
	OP_ANSWER = 26,		/* mac */
	OP_ANSWER_AS_ROUTER = 27,
	OP_FOLLOW = 28,		/* b: not 0 once the first other segment was told; see follow.h */
};

struct action {
	union {
		struct {
			__u8	op;
			__u8	slots;	/* bits 0..6; bit 7: with_port of the INNER ops */
			__u16	a;
			__u32	b;
		};
		struct {
			__u8	head[2];
			__u8	mac[6];
		};
	};
};
#define ACTION_WITH_PORT 0x80

struct actions {
	struct action slot[SLOTS_MAX];
};

/* An IPv6 address in the two slots after an action. */
struct address_slots {
	struct action slot[2];
};

enum flow_state { FLOW_FREE = 0, FLOW_LIVE = 1 };
#define FLOW_ANSWERS 0x80	/* in flow.hops: OP_ANSWER or OP_ANSWER_AS_ROUTER is there */

/*
 * One flow. The agent writes it whole while no index entry names it, then makes it live, then
 * names it; it writes it anew only a grace period after it was made free.
 */
struct flow {
	__u32	state;
	__u16	mask;		/* number of its mask */
	__u8	slots;		/* action slots in use */
	__u8	hops;		/* OP_DEC_TTL among them; and FLOW_ANSWERS */
	__u64	packets;	/* on the wire: segments count */
	__u64	octets;
	__u64	used_at;	/* CLOCK_MONOTONIC, coarse */
	__u64	cookie;
	__u64	key[KEY_WORDS];		/* masked */
	struct actions actions;
	__u64	first[KEY_WORDS];	/* unmasked key of its first packet: for the next agent */
};

/* Flows by the hash of masked key and mask number. A flow number is one more than its place. */
struct bucket {
	__u32	overflow;	/* flows of this bucket that live in their second one */
	__u32	zero;
	__u64	entry[BUCKET_ENTRIES];	/* tag << 32 | flow; 0: none */
};

/* Guesses by the hash of the unmasked key: tag << 32 | flow. A guess is checked, never believed. */
struct guess {
	__u64	entry[2];
};

struct config {
	__u64	seed[KEY_WORDS + 1];	/* of the hash; odd */
	__u64	heartbeat_at;		/* CLOCK_MONOTONIC */
	__u32	bucket_mask;		/* buckets - 1 */
	__u32	guess_mask;		/* guesses - 1 */
	__u32	rings;			/* workers */
	__u32	tunnel_ifindex;
	__u32	mtu_min;		/* no packet up to this size is too big for any output */
	__u32	order_active;		/* which of `order` is in use: 0 or 1 */
	__u32	order_len[2];
	__u16	order[2][MASKS_MAX];	/* mask numbers, the busiest first */
	__u64	mask[MASKS_MAX][KEY_WORDS];
};

#define PORT_PEER_REDIRECT 1

struct port {
	__u32	ifindex;	/* 0: not attached */
	__u32	flags;
	__u32	mtu;		/* largest IP packet */
	__u32	rate;		/* upcalls: tokens a second */
	__u64	burst_ns;	/* upcalls: the bucket, as the time it takes to fill */
	__u64	arrival_at;	/* upcalls: theoretical arrival time (GCRA) */
	__u32	zone;		/* where connections of its device are tracked; 0: nowhere */
	__u32	zero;
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

#define PEER_V6 1

struct peer {
	__u8	remote[16];	/* IPv4 as IPv4-mapped; all zero: no peer */
	__u8	local[16];
	__u32	mtu;		/* largest inner IP packet */
	__u32	flags;
};

/* What the programs know of the underlay. */
struct underlay {
	__u64	followed_at;	/* CLOCK_MONOTONIC: routes were those of the kernel; 0: never */
	__be16	port;		/* UDP; 0: tunnelled packets are the kernel's */
	__u16	zero[3];
	__u8	local[LOCALS_MAX][16];	/* tunnel addresses of ours; all zero: none */
};

/* The way to a peer. */
struct route {
	__u32	ifindex;	/* 0: the kernel's device has to find it */
	__u32	family;		/* of the next hop: 2 or 10, as AF_INET and AF_INET6 */
	__u8	next_hop[16];	/* an IPv4 address in the first four */
};

enum delivery_kind { DELIVERY_RETIRED = 0, DELIVERY_PORT = 1, DELIVERY_SEGMENT = 2 };

struct delivery {
	__u32	kind;
	__u32	index;		/* port, or first segment */
};

/* A list of outputs, in pieces. */
struct segment {
	__u32	len;
	__u32	next;		/* 0: the last */
	struct action output[SEGMENT_OUTPUTS];
};

/* Actions of one packet that the agent sends: its mark names the place. */
struct inject {
	__u32	slots;
	__u32	zero;
	struct actions actions;
};

struct upcall {
	__u64	at;		/* CLOCK_MONOTONIC */
	struct flow_key key;
	__u32	len;		/* octets of the frame, which follows */
	__u16	gso_size;
	__u8	reason;
	__u8	zero;
};

/* How a worker is woken. */
struct bell {
	__u32	asleep;		/* it waits, and nobody has woken it yet */
	__u32	ifindex;	/* a packet sent there wakes it; 0: there is none */
};

/* A segment that a flow with OP_FOLLOW tells of. */
struct followed {
	__u64	cookie;		/* of the flow; its first octet is the number of the worker */
	__u8	class;		/* CLASS_TCP bits */
	__u8	zero[7];
};

struct meter {
	__u64	packets;
	__u64	octets;
};

/*
 * A tracked connection is found by its two ends, whichever is the source: one entry serves both
 * directions in a zone. The end that is less as two 64-bit words and a port is `low`.
 */
struct connection_key {
	__u32	zone;
	__u16	vlan;		/* number of the outer tag and VLAN_PRESENT */
	__u8	proto;
	__u8	zero;
	__u8	low[16];
	__u8	high[16];
	__be16	low_port;	/* of echoes the identifier, twice; of other protocols 0 */
	__be16	high_port;
	__u32	zero2;
} __attribute__((aligned(8)));

/* As mn_datapath::ConnState, which says what moves one to the other. */
enum conn_state {
	TCP_SYN_SENT = 1,
	TCP_SYN_RECV = 2,
	TCP_ESTABLISHED = 3,
	TCP_PICKED_UP = 4,
	TCP_FIN_WAIT = 5,
	TCP_TIME_WAIT = 6,
	TCP_CLOSED = 7,
	UDP_NEW = 8,
	UDP_STREAM = 9,
	ICMP_ECHO = 10,
	CONN_OTHER = 11,
};

/* Bits of connection.flags. Those of the return direction are the forward ones shifted. */
#define CONNECTION_FORWARD_LOW 1	/* the first packet came from the low end */
#define CONNECTION_FIN 2
#define CONNECTION_RST 8
#define CONNECTION_ENDS 30		/* FIN and RST, both directions */

struct connection {
	__u64	used_at;	/* CLOCK_MONOTONIC, coarse */
	__u64	made_at;
	__u32	port;		/* whose share of connections it counts in */
	__u8	state;
	__u8	flags;
	__u16	zero;
};

struct zone {
	__u32	connections;	/* entries; where there are none nobody looks */
	__u32	zero;
};

/* A port's share of the connections. */
struct share {
	__u32	connections;
	__u32	max;		/* 0: no limit */
};

/* Frames to several receivers that a port may send. */
struct rate_limit {
	__u64	arrival_at;	/* theoretical arrival time (GCRA) */
	__u64	burst_ns;	/* the bucket, as the time it takes to fill */
	__u32	rate;		/* frames a second; 0: no limit */
	__u32	zero;
};

#define BANDWIDTH_SHIFT 16

/* How many octets a port carries one way. */
struct bandwidth {
	__u64	arrival_at;	/* theoretical arrival time (GCRA) */
	__u64	burst_ns;	/* the bucket, as the time it takes to fill */
	__u64	octet_time;	/* ns an octet takes, << BANDWIDTH_SHIFT; 0: no limit */
	__u64	zero;
};

/* Seen from what is behind the port. */
enum way { WAY_SENT = 0, WAY_RECEIVED = 1 };

struct port_bandwidth {
	struct bandwidth way[2];
};

/* A datagram of which the first fragment was seen. */
struct fragment_key {
	__u32	port;
	__u32	id;
	__u8	src[16];
	__u8	dst[16];
	__u8	proto;		/* IPv4 */
	__u8	zero[7];
} __attribute__((aligned(8)));

/* What its later fragments have not. */
struct fragment {
	__u64	seen_at;
	__be16	tp_src;
	__be16	tp_dst;
	__u8	proto;
	__u8	tcp;		/* CLASS_TCP bits */
	__u16	zero;
};

_Static_assert(sizeof(struct flow_key) == 88, "");
_Static_assert(offsetof(struct flow_key, eth_dst) == 24, "");
_Static_assert(offsetof(struct flow_key, nw_src) == 40, "");
_Static_assert(offsetof(struct flow_key, inner_vlan) == 72, "");
_Static_assert(offsetof(struct flow_key, tp_dst) == 80, "");
_Static_assert(sizeof(struct action) == 8, "");
_Static_assert(sizeof(struct flow) == 384, "");
_Static_assert(offsetof(struct flow, key) == 40, "");
_Static_assert(offsetof(struct flow, actions) == 128, "");
_Static_assert(offsetof(struct flow, first) == 296, "");
_Static_assert(sizeof(struct bucket) == 64, "");
_Static_assert(sizeof(struct guess) == 16, "");
_Static_assert(offsetof(struct config, heartbeat_at) == 96, "");
_Static_assert(offsetof(struct config, order) == 136, "");
_Static_assert(offsetof(struct config, mask) == 648, "");
_Static_assert(sizeof(struct config) == 11912, "");
_Static_assert(sizeof(struct port) == 40, "");
_Static_assert(sizeof(struct port_stats) == 64, "");
_Static_assert(sizeof(struct peer) == 40, "");
_Static_assert(sizeof(struct underlay) == 144, "");
_Static_assert(offsetof(struct underlay, local) == 16, "");
_Static_assert(sizeof(struct route) == 24, "");
_Static_assert(sizeof(struct delivery) == 8, "");
_Static_assert(sizeof(struct segment) == 248, "");
_Static_assert(sizeof(struct inject) == 176, "");
_Static_assert(sizeof(struct upcall) == 104, "");
_Static_assert(sizeof(struct bell) == 8, "");
_Static_assert(sizeof(struct followed) == 16, "");
_Static_assert(sizeof(struct connection_key) == 48, "");
_Static_assert(offsetof(struct connection_key, low) == 8, "");
_Static_assert(sizeof(struct connection) == 24, "");
_Static_assert(sizeof(struct rate_limit) == 24, "");
_Static_assert(sizeof(struct port_bandwidth) == 64, "");
_Static_assert(sizeof(struct fragment_key) == 48, "");
_Static_assert(sizeof(struct fragment) == 16, "");

#endif
