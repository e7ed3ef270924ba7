//! Groups of ports and of addresses.

use mn_api_types::{self as api, Media};

use super::device::PORT;
use super::{Change, Collection, Field, Identity, Kind, Owner, Type};

pub static PORT_GROUP: Type = Type {
    word: "pgroup",
    identity: Identity::Alias { prefix: "pgroup", template: "portGroupTemplate" },
    media: Media::PORT_GROUP,
    description: &api::PortGroup::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::tenant(),
        Field::new("name", "name", Kind::Text),
        Field::new("stateful", "stateful", Kind::Bool),
    ],
    collections: &[Collection::link("member", &PORT_GROUP_MEMBER, "ports")],
    owner: Owner::Nobody,
    change: Change::Replace,
};

static PORT_GROUP_MEMBER: Type = Type {
    word: "pgport",
    identity: Identity::Field("port"),
    media: Media::PORT_GROUP_PORT,
    description: &api::PortGroupPort::DESCRIPTION,
    fields: &[
        Field::new("port-group", "portGroupId", Kind::Reference(&PORT_GROUP)).read_only(),
        Field::new("port", "portId", Kind::Reference(&PORT)),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Never,
};

pub static IP_ADDRESS_GROUP: Type = Type {
    word: "ip-address-group",
    identity: Identity::Alias { prefix: "ip-address-group", template: "ipAddrGroupTemplate" },
    media: Media::IP_ADDR_GROUP,
    description: &api::IpAddrGroup::DESCRIPTION,
    fields: &[Field::id(), Field::new("name", "name", Kind::Text)],
    collections: &[
        Collection::link("ip", &ADDRESS, "addrs"),
        Collection::link("ipv4", &ADDRESS, "addrs"),
        Collection::link("ipv6", &ADDRESS, "addrs"),
    ],
    owner: Owner::Nobody,
    change: Change::Never,
};

static ADDRESS: Type = Type {
    word: "addr",
    identity: Identity::Field("address"),
    media: Media::IP_ADDR_GROUP_ADDR,
    description: &api::IpAddrGroupAddr::DESCRIPTION,
    fields: &[Field::new("address", "addr", Kind::Text)],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Never,
};
