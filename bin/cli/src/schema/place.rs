//! Hosts, tunnel zones, and what is bound where.

use mn_api_types::{self as api, Media};

use super::device::PORT;
use super::{Change, Collection, Field, Identity, Kind, Owner, Shown, Type};

pub static TUNNEL_ZONE: Type = Type {
    word: "tzone",
    identity: Identity::Alias { prefix: "tzone", template: "tunnelZoneTemplate" },
    media: Media::TUNNEL_ZONE,
    description: &api::TunnelZone::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("name", "name", Kind::Text),
        Field::new(
            "type",
            "type",
            Kind::Choice(&[("gre", "gre"), ("vxlan", "vxlan"), ("vtep", "vtep")]),
        ),
    ],
    collections: &[Collection::link("member", &MEMBER, "hosts")],
    owner: Owner::Nobody,
    change: Change::Replace,
};

static MEMBER: Type = Type {
    word: "tunnel-zone-host",
    identity: Identity::Field("host"),
    media: Media::TUNNEL_ZONE_HOST,
    description: &api::TunnelZoneHost::DESCRIPTION,
    fields: &[
        Field::new("zone", "tunnelZoneId", Kind::Reference(&TUNNEL_ZONE)).read_only(),
        Field::new("host", "hostId", Kind::Reference(&HOST)),
        Field::new("address", "ipAddress", Kind::Text),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Never,
};

pub static HOST: Type = Type {
    word: "host",
    identity: Identity::Alias { prefix: "host", template: "hostTemplate" },
    media: Media::HOST,
    description: &api::Host::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("name", "name", Kind::Text).read_only(),
        Field::new("alive", "alive", Kind::Bool).read_only(),
        Field::new("addresses", "addresses", Kind::Texts).shown(Shown::Asked).read_only(),
        Field::new("flooding-proxy-weight", "floodingProxyWeight", Kind::Integer)
            .shown(Shown::Unless("1")),
        Field::new("container-weight", "containerWeight", Kind::Integer).shown(Shown::Unless("1")),
        Field::new("container-limit", "containerLimit", Kind::Limit)
            .shown(Shown::Unless("no-limit")),
        Field::new("enforce-container-limit", "enforceContainerLimit", Kind::Bool)
            .shown(Shown::Unless("false")),
    ],
    collections: &[
        Collection::link("interface", &INTERFACE, "interfaces"),
        Collection::link("binding", &BINDING, "ports"),
    ],
    owner: Owner::Nobody,
    change: Change::Replace,
};

static INTERFACE: Type = Type {
    word: "interface",
    identity: Identity::Field("iface"),
    media: Media::INTERFACE,
    description: &api::Interface::DESCRIPTION,
    fields: &[
        Field::new("iface", "name", Kind::Text).read_only(),
        Field::new("host_id", "hostId", Kind::Reference(&HOST)).read_only(),
        Field::new("status", "status", Kind::Integer).read_only(),
        Field::new("addresses", "addresses", Kind::QuotedAddresses)
            .shown(Shown::Or("[]"))
            .read_only(),
        Field::new("mac", "mac", Kind::Text).read_only(),
        Field::new("mtu", "mtu", Kind::Integer).read_only(),
        Field::new("type", "type", Kind::Text).read_only(),
        Field::new("endpoint", "endpoint", Kind::Text).read_only(),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Never,
};

static BINDING: Type = Type {
    word: "binding",
    identity: Identity::Field("port"),
    media: Media::HOST_INTERFACE_PORT,
    description: &api::HostInterfacePort::DESCRIPTION,
    fields: &[
        Field::new("host", "hostId", Kind::Reference(&HOST)).read_only(),
        Field::new("interface", "interfaceName", Kind::Text),
        Field::new("port", "portId", Kind::Reference(&PORT)),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Never,
};
