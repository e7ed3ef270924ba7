//! The collections that a command may begin with.

use mn_api_types::{self as api, Media};

use super::chain::CHAIN;
use super::device::{BRIDGE, PORT, ROUTER};
use super::group::{IP_ADDRESS_GROUP, PORT_GROUP};
use super::l2_insertion::L2_INSERTION;
use super::load_balancer::{HEALTH_MONITOR, LOAD_BALANCER};
use super::mirror::MIRROR;
use super::place::{HOST, TUNNEL_ZONE};
use super::qos::QOS_POLICY;
use super::{Change, Collection, Field, Identity, Kind, Owner, Place, Shown, Type};

/// Where every command begins.
pub static ROOT: Type = Type {
    word: "",
    identity: Identity::Only,
    media: Media::APPLICATION,
    description: &api::SystemState::DESCRIPTION,
    fields: &[],
    collections: &[
        Collection::of_tenant("bridge", &BRIDGE, "bridges"),
        Collection::of_tenant("router", &ROUTER, "routers"),
        Collection::of_tenant("port", &PORT, "ports"),
        Collection::of_tenant("chain", &CHAIN, "chains"),
        Collection::root("mirror", &MIRROR, "mirrors"),
        Collection::root("qos-policy", &QOS_POLICY, "qosPolicies"),
        Collection::root("l2insertion", &L2_INSERTION, "l2insertions"),
        Collection::of_tenant("port-group", &PORT_GROUP, "portGroups"),
        Collection::root("ip-address-group", &IP_ADDRESS_GROUP, "ipAddrGroups"),
        Collection::root("load-balancer", &LOAD_BALANCER, "loadBalancers"),
        Collection::root("health-monitor", &HEALTH_MONITOR, "healthMonitors"),
        Collection::root("host", &HOST, "hosts"),
        Collection::root("tunnel-zone", &TUNNEL_ZONE, "tunnelZones"),
        Collection::root("tenant", &TENANT, "tenants"),
        Collection {
            word: "system-state",
            of: &SYSTEM_STATE,
            place: Place::Single("systemState"),
            fixed: &[],
        },
    ],
    owner: Owner::Nobody,
    change: Change::Never,
};

static TENANT: Type = Type {
    word: "tenant",
    identity: Identity::Field("tenant-id"),
    media: Media::TENANT,
    description: &api::Tenant::DESCRIPTION,
    fields: &[
        Field::new("tenant-id", "id", Kind::Text).read_only(),
        Field::new("name", "name", Kind::Text).read_only(),
        Field::new("description", "description", Kind::Text).read_only(),
        Field::new("enabled", "enabled", Kind::YesNo).read_only(),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Never,
};

static SYSTEM_STATE: Type = Type {
    word: "system_state",
    identity: Identity::Only,
    media: Media::SYSTEM_STATE,
    description: &api::SystemState::DESCRIPTION,
    fields: &[
        Field::new("state", "state", Kind::Choice(&[("ACTIVE", "ACTIVE"), ("UPGRADE", "UPGRADE")])),
        Field::new(
            "availability",
            "availability",
            Kind::Choice(&[("READONLY", "READONLY"), ("READWRITE", "READWRITE")]),
        ),
        Field::new("version", "version", Kind::Text).shown(Shown::Asked).read_only(),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Replace,
};
