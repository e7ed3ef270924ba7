// SPDX-License-Identifier: Apache-2.0
/*
 * The datapath's programs, one per hook:
 *
 *   port_ingress    a VM's interface: what the VM sends
 *   tunnel_ingress  the VXLAN device: what other hosts send
 *   inject_egress   the inject device: what the agent sends
 *
 * None of these ever lets a packet go on into the host's own stack.
 *
 *   underlay_ingress  an interface of the host's own: what other hosts send, before its stack
 */
#include "actions.h"
#include "bandwidth.h"
#include "broadcast.h"
#include "connection.h"
#include "decapsulate.h"
#include "flow_key.h"
#include "follow.h"
#include "fragment.h"
#include "lookup.h"
#include "tunnel.h"

char _license[] SEC("license") = "Apache-2.0";

/* The port of an interface; PORT_NONE if it has none (any more). */
static __always_inline __u32 port_of(__u32 ifindex)
{
	__u32 place = ifindex & (IFACES_DIRECT - 1), *port;
	struct iface *iface = bpf_map_lookup_elem(&mn_ifaces, &place);

	if (iface && iface->ifindex == ifindex)
		return iface->port;
	port = bpf_map_lookup_elem(&mn_ifaces_more, &ifindex);
	return port ? *port : PORT_NONE;
}

static __always_inline int ask(struct __sk_buff *skb, struct packet *pkt, __u32 reason)
{
	int cause = upcall(skb, pkt, reason);

	if (cause < 0)
		return bpf_redirect(-cause, 0);
	if (cause > 0)
		count_drop(pkt->port, cause, load_of(skb, pkt).packets);
	return TC_ACT_SHOT;
}

/* Carries out a flow's actions, or asks the agent where the packet may not pass through them. */
static __always_inline int run_flow(struct __sk_buff *skb, struct packet *pkt, struct config *cfg,
				    struct flow *flow)
{
	if (flow->hops) {
		__u8 hops = flow->hops & ~FLOW_ANSWERS;

		if (flow->hops & FLOW_ANSWERS && !is_question(skb, pkt))
			return ask(skb, pkt, UPCALL_ANSWER);
		if (hops && pkt->version && pkt->ttl <= hops)
			return ask(skb, pkt, UPCALL_TTL);
		if (hops && skb->len - pkt->l3 > cfg->mtu_min &&
		    exceeds_output(skb, pkt, &flow->actions, flow->slots))
			return ask(skb, pkt, UPCALL_TOO_BIG);
	}
	follow(flow, pkt);
	count_flow(flow, load_of(skb, pkt));
	return run_actions(skb, pkt, &flow->actions, flow->slots);
}

SEC("classifier")
int port_ingress(struct __sk_buff *skb)
{
	struct packet pkt = { .ingress = 1 };
	struct config *cfg = config();
	struct flow *flow;
	int cause;

	pkt.port = pkt.key.in_port = port_of(skb->ifindex);
	if (!cfg || pkt.port == PORT_NONE)
		return drop(&pkt, DROP_PORT_GONE, 1);
	cause = flow_key_read(skb, &pkt);
	count_rx(pkt.port, load_of(skb, &pkt));
	if (cause)
		return drop(&pkt, cause, load_of(skb, &pkt).packets);
	if (bandwidth_refused(pkt.port, WAY_SENT, load_of(skb, &pkt)))
		return drop(&pkt, DROP_BANDWIDTH_SENT, load_of(skb, &pkt).packets);
	if ((pkt.key.eth_dst[0] & 1) && broadcast_refused(pkt.port))
		return drop(&pkt, DROP_BROADCAST_LIMIT, load_of(skb, &pkt).packets);
	if (pkt.fragment)
		fragment_follow(&pkt);
	connection_enter(skb, &pkt);
	flow = lookup(cfg, &pkt.key);
	if (!flow)
		return ask(skb, &pkt, UPCALL_MISS);
	return run_flow(skb, &pkt, cfg, flow);
}

SEC("classifier")
int tunnel_ingress(struct __sk_buff *skb)
{
	return tunnel_deliver(skb);
}

SEC("classifier")
int underlay_ingress(struct __sk_buff *skb)
{
	return decapsulate(skb);
}

SEC("classifier")
int inject_egress(struct __sk_buff *skb)
{
	struct packet pkt = {};
	__u32 place = skb->mark;
	struct inject *inject = bpf_map_lookup_elem(&mn_injects, &place);
	int cause;

	if (!inject)
		return TC_ACT_SHOT;
	cause = flow_key_read(skb, &pkt);
	if (cause)
		return drop(&pkt, cause, load_of(skb, &pkt).packets);
	return run_actions(skb, &pkt, &inject->actions, inject->slots);
}
