//! Insertions of inspecting machines.

use mn_api_types::{self as api, Media};

use super::device::PORT;
use super::{Change, Field, Identity, Kind, Owner, Shown, Type};

pub static L2_INSERTION: Type = Type {
    word: "l2insertion",
    identity: Identity::Alias { prefix: "l2insertion", template: "l2InsertionTemplate" },
    media: Media::L2_INSERTION,
    description: &api::L2Insertion::DESCRIPTION,
    fields: &[
        Field::id(),
        Field::new("port", "portId", Kind::Reference(&PORT)),
        Field::new("srv-port", "srvPortId", Kind::Reference(&PORT)),
        Field::new("mac", "mac", Kind::Text),
        Field::new("vlan", "vlan", Kind::Integer).shown(Shown::Unless("0")),
        Field::new("pos", "position", Kind::Integer),
        Field::new("fail-open", "failOpen", Kind::Bool),
        Field::new("heartbeat", "heartbeat", Kind::Bool).shown(Shown::Unless("false")),
        Field::new("status", "status", Kind::Text).read_only(),
    ],
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Replace,
};
