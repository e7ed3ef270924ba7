//! Bridges, routers, their ports, routes and tables.

use mn_api_types::{self as api, Media};

use super::chain::CHAIN;
use super::load_balancer::LOAD_BALANCER;
use super::mirror::MIRROR;
use super::qos::QOS_POLICY;
use super::{Change, Collection, Field, Identity, Kind, Owner, Shown, Type};

// Functions, because a constant that names a type would be part of a cycle of types.
const fn in_filter() -> Field {
    Field::new("infilter", "inboundFilterId", Kind::Reference(&CHAIN)).clearable()
}

const fn out_filter() -> Field {
    Field::new("outfilter", "outboundFilterId", Kind::Reference(&CHAIN)).clearable()
}

const fn in_mirrors() -> Field {
    mirrors("in-mirrors", "inboundMirrorIds")
}

const fn out_mirrors() -> Field {
    mirrors("out-mirrors", "outboundMirrorIds")
}

const fn mirrors(word: &'static str, json: &'static str) -> Field {
    Field::new(word, json, Kind::References(&MIRROR)).clearable()
}

const fn qos_policy() -> Field {
    Field::new("qos-policy", "qosPolicyId", Kind::Reference(&QOS_POLICY)).clearable()
}

pub(super) const STATE: Field = Field::new("state", "adminStateUp", Kind::UpDown);

pub static BRIDGE: Type = Type {
    word: "bridge",
    identity: Identity::Alias { prefix: "bridge", template: "bridgeTemplate" },
    media: Media::BRIDGE,
    description: &api::Bridge::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::tenant(),
        Field::new("name", "name", Kind::Text),
        STATE,
        in_filter(),
        out_filter(),
        qos_policy(),
        in_mirrors(),
        out_mirrors(),
    ],
    collections: &[
        Collection::link("port", &PORT, "ports").with(&[("type", "Bridge")]),
        Collection::link("dhcp", &DHCP, "dhcpSubnets"),
        Collection::link("dhcpv6", &DHCP_V6, "dhcpSubnet6s"),
        Collection::link("mac-table", &MAC_PORT, "macTable"),
        Collection::link("arp-table", &ARP_ENTRY, "arpTable"),
    ],
    owner: Owner::Nobody,
    change: Change::Replace,
};

const ECMP_MODES: &[(&str, &str)] = &[("flow", "flow"), ("symmetric", "symmetric")];

pub static ROUTER: Type = Type {
    word: "router",
    identity: Identity::Alias { prefix: "router", template: "routerTemplate" },
    media: Media::ROUTER,
    description: &api::Router::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::tenant(),
        Field::new("name", "name", Kind::Text),
        STATE,
        in_filter(),
        out_filter(),
        Field::new("load-balancer", "loadBalancerId", Kind::Reference(&LOAD_BALANCER)).clearable(),
        Field::new("asn", "asNumber", Kind::Integer).shown(Shown::Unless("0")),
        Field::new("ecmp", "ecmpMode", Kind::Choice(ECMP_MODES)).clearable(),
        in_mirrors(),
        out_mirrors(),
    ],
    collections: &[
        Collection::link("port", &PORT, "ports").with(&[("type", "Router")]),
        Collection::link("route", &ROUTE, "routes"),
    ],
    owner: Owner::Nobody,
    change: Change::Replace,
};

/// A port of either device: what only the other kind has is never set.
pub static PORT: Type = Type {
    word: "port",
    identity: Identity::Alias { prefix: "port", template: "portTemplate" },
    media: Media::PORT,
    description: &api::Port::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("device", "deviceId", Kind::Device).read_only(),
        STATE,
        Field::new("plugged", "active", Kind::YesNo).shown(Shown::Asked).read_only(),
        in_filter(),
        out_filter(),
        Field::new("vlan", "vlanId", Kind::Integer).shown(Shown::Unless("0")),
        Field::new("mac", "portMac", Kind::Text),
        Field::new("addresses", "portSubnet", Kind::Texts).clearable(),
        // The older way to say `addresses`; both are accepted, `addresses` is printed.
        Field::new("address", "portAddress", Kind::Text).shown(Shown::Asked).at_creation(),
        Field::new("net", "networkAddress", Kind::Prefix { length: "networkLength" })
            .shown(Shown::Asked)
            .at_creation(),
        qos_policy(),
        in_mirrors(),
        out_mirrors(),
        mirrors("post-in-filter-mirrors", "postInFilterMirrorIds"),
        mirrors("pre-out-filter-mirrors", "preOutFilterMirrorIds"),
        Field::new("ra-mode", "raMode", Kind::Choice(RA_MODES)).clearable(),
        Field::new("ra-prefixes", "raPrefixes", Kind::Texts).clearable(),
        Field::new("ra-interval", "raInterval", Kind::Integer).clearable(),
        Field::new("peer", "peerId", Kind::Peer(&PORT)).clearable(),
        Field::new("host", "hostId", Kind::Reference(&super::place::HOST))
            .shown(Shown::Asked)
            .read_only(),
        Field::new("interface", "interfaceName", Kind::Text).shown(Shown::Asked).read_only(),
        Field::new("vif", "vifId", Kind::Text).shown(Shown::Asked).clearable(),
    ],
    collections: &[],
    owner: Owner::Device,
    change: Change::Replace,
};

const RA_MODES: &[(&str, &str)] =
    &[("slaac", "slaac"), ("dhcp-stateless", "dhcpStateless"), ("dhcp-stateful", "dhcpStateful")];

/// The guides print a router's local routes as normal ones.
const ROUTE_TYPES: &[(&str, &str)] =
    &[("normal", "Normal"), ("blackhole", "BlackHole"), ("reject", "Reject"), ("normal", "Local")];

pub static ROUTE: Type = Type {
    word: "route",
    identity: Identity::Alias { prefix: "route", template: "routeTemplate" },
    media: Media::ROUTE,
    description: &api::Route::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("type", "type", Kind::Choice(ROUTE_TYPES)),
        Field::new("src", "srcNetworkAddr", Kind::Prefix { length: "srcNetworkLength" }),
        Field::new("dst", "dstNetworkAddr", Kind::Prefix { length: "dstNetworkLength" }),
        Field::new("gw", "nextHopGateway", Kind::Text),
        Field::new("port", "nextHopPort", Kind::Reference(&PORT)),
        Field::new("weight", "weight", Kind::Integer),
        Field::new("path", "path", Kind::Text),
        Field::new("learned", "learned", Kind::Bool).shown(Shown::Unless("false")).read_only(),
    ],
    collections: &[],
    owner: Owner::Object { key: "routerId", of: &ROUTER },
    change: Change::Never,
};

static DHCP: Type = Type {
    word: "dhcp",
    identity: Identity::Field("subnet"),
    media: Media::DHCP_SUBNET,
    description: &api::DhcpSubnet::DESCRIPTION,
    fields: &[
        Field::new("gw", "defaultGateway", Kind::Text).clearable(),
        Field::new("server", "serverAddr", Kind::Text).clearable(),
        Field::new("dns-servers", "dnsServerAddrs", Kind::Texts).clearable(),
        Field::new("subnet", "subnetPrefix", Kind::Prefix { length: "subnetLength" }),
        Field::new("interface-mtu", "interfaceMTU", Kind::Integer).clearable(),
        Field::new("enabled", "enabled", Kind::YesNo).shown(Shown::Unless("yes")),
    ],
    collections: &[
        Collection::link("host", &DHCP_HOST, "hosts"),
        Collection {
            word: "opt121-routes",
            of: &DHCP_ROUTE,
            place: super::Place::Inside("opt121Routes"),
            fixed: &[],
        },
    ],
    owner: Owner::Nobody,
    change: Change::Replace,
};

static DHCP_HOST: Type = Type {
    word: "dhcp-host",
    identity: Identity::Field("mac"),
    media: Media::DHCP_HOST,
    description: &api::DhcpHost::DESCRIPTION,
    fields: &[
        Field::new("name", "name", Kind::Text),
        Field::new("address", "ipAddr", Kind::Text),
        Field::new("mac", "macAddr", Kind::Text),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Replace,
};

static DHCP_V6: Type = Type {
    word: "dhcpv6",
    identity: Identity::Field("subnet"),
    media: Media::DHCP_V6_SUBNET,
    description: &api::DhcpV6Subnet::DESCRIPTION,
    fields: &[
        Field::new("dns-servers", "dnsServerAddrs", Kind::Texts).clearable(),
        Field::new("subnet", "prefix", Kind::Prefix { length: "prefixLength" }),
    ],
    collections: &[Collection::link("host", &DHCP_V6_HOST, "hosts")],
    owner: Owner::Nobody,
    change: Change::Replace,
};

static DHCP_V6_HOST: Type = Type {
    word: "dhcpv6-host",
    identity: Identity::Field("client-id"),
    media: Media::DHCP_V6_HOST,
    description: &api::DhcpV6Host::DESCRIPTION,
    fields: &[
        Field::new("name", "name", Kind::Text),
        Field::new("address", "fixedAddress", Kind::Text),
        Field::new("client-id", "clientId", Kind::Text),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Replace,
};

static DHCP_ROUTE: Type = Type {
    word: "opt121-route",
    identity: Identity::Field("destination"),
    media: Media::DHCP_SUBNET,
    description: &api::DhcpRoute::DESCRIPTION,
    fields: &[
        Field::new(
            "destination",
            "destinationPrefix",
            Kind::Prefix { length: "destinationLength" },
        ),
        Field::new("gateway", "gatewayAddr", Kind::Text),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Replace,
};

static MAC_PORT: Type = Type {
    word: "mac-port",
    identity: Identity::Field("mac"),
    media: Media::MAC_PORT,
    description: &api::MacPort::DESCRIPTION,
    fields: &[
        Field::new("mac", "macAddr", Kind::Text),
        Field::new("port", "portId", Kind::Reference(&PORT)),
        Field::new("vlan", "vlanId", Kind::Integer).shown(Shown::Unless("0")),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Never,
};

static ARP_ENTRY: Type = Type {
    word: "ip-mac",
    identity: Identity::Field("ip"),
    media: Media::ARP_ENTRY,
    description: &api::ArpEntry::DESCRIPTION,
    fields: &[Field::new("ip", "ip", Kind::Text), Field::new("mac", "mac", Kind::Text)],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Never,
};
