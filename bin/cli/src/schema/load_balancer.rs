//! Load balancers, pools, members, virtual addresses, and health monitors.
//!
//! The guides print no protocol, no type of a monitor and no status of a member: they are printed
//! where they are not what those always were.

use mn_api_types::{self as api, Media};

use super::device::{ROUTER, STATE};
use super::{Change, Collection, Field, Identity, Kind, Owner, Shown, Type};

pub static LOAD_BALANCER: Type = Type {
    word: "lb",
    identity: Identity::Alias { prefix: "lb", template: "loadBalancerTemplate" },
    media: Media::LOAD_BALANCER,
    description: &api::LoadBalancer::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("router", "routerId", Kind::Reference(&ROUTER)).read_only(),
        STATE,
    ],
    collections: &[Collection::link("pool", &POOL, "pools"), Collection::link("vip", &VIP, "vips")],
    owner: Owner::Nobody,
    change: Change::Replace,
};

const METHODS: &[(&str, &str)] = &[
    ("ROUND_ROBIN", "ROUND_ROBIN"),
    ("LEAST_CONNECTIONS", "LEAST_CONNECTIONS"),
    ("CONSISTENT_HASH", "CONSISTENT_HASH"),
];

static POOL: Type = Type {
    word: "pool",
    identity: Identity::Alias { prefix: "pool", template: "poolTemplate" },
    media: Media::POOL,
    description: &api::Pool::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("load-balancer", "loadBalancerId", Kind::Reference(&LOAD_BALANCER)),
        Field::new("health-monitor", "healthMonitorId", Kind::Reference(&HEALTH_MONITOR))
            .clearable(),
        Field::new("lb-method", "lbMethod", Kind::Choice(METHODS)),
        Field::new("protocol", "protocol", Kind::Choice(&[("TCP", "TCP"), ("UDP", "UDP")]))
            .shown(Shown::Unless("TCP"))
            .at_creation(),
        STATE,
    ],
    collections: &[
        Collection::link("member", &MEMBER, "poolMembers"),
        Collection::link("vip", &VIP, "vips"),
    ],
    owner: Owner::Object { key: "loadBalancerId", of: &LOAD_BALANCER },
    change: Change::Replace,
};

static MEMBER: Type = Type {
    word: "pm",
    identity: Identity::Alias { prefix: "pm", template: "poolMemberTemplate" },
    media: Media::POOL_MEMBER,
    description: &api::PoolMember::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("address", "address", Kind::Text).at_creation(),
        Field::new("protocol-port", "protocolPort", Kind::Integer).at_creation(),
        Field::new("weight", "weight", Kind::Integer),
        STATE,
        Field::new("status", "status", Kind::Text).shown(Shown::Unless("ACTIVE")).read_only(),
    ],
    collections: &[],
    owner: Owner::Object { key: "poolId", of: &POOL },
    change: Change::Replace,
};

static VIP: Type = Type {
    word: "vip",
    identity: Identity::Alias { prefix: "vip", template: "vipTemplate" },
    media: Media::VIP,
    description: &api::Vip::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("load-balancer", "loadBalancerId", Kind::Reference(&LOAD_BALANCER)).read_only(),
        Field::new("address", "address", Kind::Text),
        Field::new("protocol-port", "protocolPort", Kind::Integer),
        Field::new(
            "persistence",
            "sessionPersistence",
            Kind::Choice(&[("SOURCE_IP", "SOURCE_IP")]),
        )
        .clearable(),
        Field::new("connection-limit", "connectionLimit", Kind::Integer).clearable(),
        STATE,
    ],
    collections: &[],
    owner: Owner::Object { key: "poolId", of: &POOL },
    change: Change::Replace,
};

const CHECKS: &[(&str, &str)] = &[("TCP", "TCP"), ("HTTP", "HTTP"), ("UDP", "UDP")];

pub static HEALTH_MONITOR: Type = Type {
    word: "hm",
    identity: Identity::Alias { prefix: "hm", template: "healthMonitorTemplate" },
    media: Media::HEALTH_MONITOR,
    description: &api::HealthMonitor::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("type", "type", Kind::Choice(CHECKS)).shown(Shown::Unless("TCP")),
        Field::new("delay", "delay", Kind::Integer),
        Field::new("timeout", "timeout", Kind::Integer),
        Field::new("max-retries", "maxRetries", Kind::Integer),
        Field::new("url-path", "urlPath", Kind::Text).clearable(),
        Field::new("expected-codes", "expectedCodes", Kind::Text).clearable(),
        STATE,
    ],
    collections: &[Collection::link("pool", &POOL, "pools")],
    owner: Owner::Nobody,
    change: Change::Replace,
};
