# -*- coding: utf-8 -*-
"""What an operator's scripts do with the library, against a server given as its first argument."""
import sys

from midonetclient.api import MidonetApi
from webob import exc

api = MidonetApi(sys.argv[1], 'admin', 'admin', 'admin')
TENANT = '7a4937fa604a425e867f085427cc351e'


def same(got, want):
    if got != want:
        raise AssertionError('%r is not %r' % (got, want))


# Devices, ports, links.
bridge = api.add_bridge().name('web').tenant_id(TENANT).create()
other = api.add_bridge().name('other').tenant_id('somebody').create()
same([b.get_name() for b in api.get_bridges({'tenant_id': TENANT})], ['web'])
router = api.add_router().name('edge').tenant_id(TENANT).asn('65000').create()
same(router.get_asn(), 65000)
inner = bridge.add_port().create()
outer = router.add_port().port_address('10.0.0.1').network_address('10.0.0.0').network_length('24').create()
inner.link(outer.get_id())
same(api.get_port(inner.get_id()).get_peer_id(), outer.get_id())
same([r.get_type() for r in api.get_router_routes(router.get_id())], ['Local'])
route = api.add_router_route(router, 'Normal', '0.0.0.0', 0, '0.0.0.0', 0, outer.get_id(), '10.0.0.254', 100)
same(route.get_next_hop_gateway(), '10.0.0.254')
bridge.name('renamed').update()
same(api.get_bridge(bridge.get_id()).get_name(), 'renamed')

# DHCP.
subnet = bridge.add_dhcp_subnet().subnet_prefix('10.0.0.0').subnet_length(24).default_gateway('10.0.0.1')
subnet = subnet.dns_server_addrs(['10.0.0.2', '10.0.0.3']).interface_mtu('1450').create()
same(subnet.get_dns_server_addrs(), ['10.0.0.2', '10.0.0.3'])
subnet.add_dhcp_host().name('vm').ip_addr('10.0.0.5').mac_addr('02:00:00:00:00:05').create()
same([h.get_mac_addr() for h in subnet.get_dhcp_hosts()], ['02:00:00:00:00:05'])

# Chains and rules; numbers as text, as its command line sends them.
chain = api.add_chain().name('in').tenant_id(TENANT).create()
group = api.add_port_group().name('stateful').tenant_id(TENANT).stateful(True).create()
same(group.is_stateful(), True)
group.add_port_group_port().port_id(inner.get_id()).create()
addresses = api.add_ip_addr_group().name('friends').create()
addresses.add_ipv4_addr().addr('10.0.0.5').create()
rule = chain.add_rule().type('drop').position('1').nw_proto('6').tp_dst({'start': '80', 'end': '90'})
rule = rule.ip_addr_group_src(addresses.get_id()).inv_ip_addr_group_src(True).in_port_group(group.get_id()).create()
# Only rules of a list have conditions that the library can read.
[rule] = [r for r in chain.get_rules() if r.get_id() == rule.get_id()]
same((rule.get_nw_proto(), rule.get_tp_dst()['end'], rule.get_fragment_policy()), (6, 90, 'header'))
same((rule.is_inv_ip_addr_group_src(), rule.get_in_port_group()), (True, group.get_id()))
target = {'addressFrom': '192.0.2.1', 'addressTo': '192.0.2.9', 'portFrom': 1, 'portTo': 65535}
snat = chain.add_rule().type('snat').position(2).flow_action('accept').nat_targets([target]).create()
[snat] = [r for r in chain.get_rules() if r.get_id() == snat.get_id()]
same((snat.get_nat_targets(), snat.get_fragment_policy()), ([target], 'unfragmented'))
reverse = chain.add_rule().type('rev_snat').position(3).flow_action('accept').create()
accept = chain.add_rule().type('accept').position(1).match_return_flow(True).create()
order = [accept.get_id(), rule.get_id(), snat.get_id(), reverse.get_id()]
same([r.get_id() for r in chain.get_rules()], order)
same([r.get_position() for r in chain.get_rules()], [1, 2, 3, 4])
bridge.inbound_filter_id(chain.get_id()).update()
same(api.get_bridge(bridge.get_id()).get_inbound_filter_id(), chain.get_id())

# Hosts of a tunnel zone are made by agents: here none is.
zone = api.add_tunnel_zone().name('zone').type('vxlan').create()
same([(z.get_name(), z.get_type()) for z in api.get_tunnel_zones()], [('zone', 'vxlan')])
same(api.get_hosts(), [])

# Closed for a backup, and opened again.
state = api.get_system_state()
same((state.get_state(), state.get_availability()), ('ACTIVE', 'READWRITE'))
state.availability('READONLY').update()
try:
    api.add_bridge().name('late').create()
    raise AssertionError('a bridge was made while the API was read-only')
except exc.HTTPServiceUnavailable:
    pass
api.get_system_state().availability('READWRITE').update()

# Refusals are the library's own exceptions.
try:
    api.get_bridge('00000000-0000-0000-0000-000000000001')
    raise AssertionError('a bridge that is not there was read')
except exc.HTTPNotFound:
    pass
try:
    inner.link(outer.get_id())
    raise AssertionError('a port was linked twice')
except exc.HTTPConflict:
    pass

# A long list, which comes compressed and in chunks.
for number in range(60):
    api.add_bridge().name('bridge %d' % number).tenant_id('crowd').create()
same(len(api.get_bridges({'tenant_id': 'crowd'})), 60)

# Down again.
inner.unlink()
api.delete_chain(chain.get_id())
same(api.get_bridge(bridge.get_id()).get_inbound_filter_id(), None)
api.delete_port_group(group.get_id())
api.delete_ip_addr_group(addresses.get_id())
api.delete_router(router.get_id())
api.delete_bridge(bridge.get_id())
same([b.get_name() for b in api.get_bridges({'tenant_id': TENANT})], [])
print('done')
