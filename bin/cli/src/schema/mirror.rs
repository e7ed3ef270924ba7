//! Mirrors.

use mn_api_types::{self as api, Media};

use super::condition::condition_fields;
use super::device::PORT;
use super::{Change, Collection, Field, Identity, Kind, Owner, Place, Shown, Type};

pub static MIRROR: Type = Type {
    word: "mirror",
    identity: Identity::Alias { prefix: "mirror", template: "mirrorTemplate" },
    media: Media::MIRROR,
    description: &api::Mirror::DESCRIPTION,
    fields: &[Field::id(), Field::new("to-port", "toPortId", Kind::Reference(&PORT))],
    collections: &[Collection {
        word: "matches",
        of: &MATCH,
        place: Place::Inside("conditions"),
        fixed: &[],
    }],
    owner: Owner::Nobody,
    change: Change::Replace,
};

/// One of the conditions of a mirror. It is named by what it tests.
static MATCH: Type = Type {
    word: "match",
    identity: Identity::Field("src"),
    media: Media::MIRROR,
    description: &api::Condition::DESCRIPTION,
    fields: condition_fields! {
        before: [],
        protocol: Shown::Set,
        fragments: Shown::Set,
        no_vlan: Shown::Set,
        after: [],
    },
    collections: &[],
    owner: Owner::Nobody,
    change: Change::Replace,
};
