//! Watches on the wire.

use mn_nsdb::{Batch, Change, Revision, Selector};

use crate::message::{Malformed, class, need};
use crate::v1;

impl From<Selector> for v1::Selector {
    fn from(selector: Selector) -> Self {
        use v1::selector::Selector as Wire;
        let selector = match selector {
            Selector::Object(key) => Wire::Object(key.into()),
            Selector::Class(class) => Wire::Class(class.name().to_owned()),
            Selector::Referrers { to, class } => Wire::Referrers(v1::ReferrersRequest {
                to: Some(to.into()),
                class: class.name().to_owned(),
            }),
            Selector::Table(table) => Wire::Table(table.into()),
            Selector::Entry { table, key } => {
                Wire::Entry(v1::EntrySelector { table: Some(table.into()), key: Some(key.into()) })
            }
        };
        Self { selector: Some(selector) }
    }
}

impl TryFrom<v1::Selector> for Selector {
    type Error = Malformed;

    fn try_from(selector: v1::Selector) -> Result<Self, Malformed> {
        use v1::selector::Selector as Wire;
        Ok(match need(selector.selector, "a selector")? {
            Wire::Object(key) => Self::Object(key.try_into()?),
            Wire::Class(name) => Self::Class(class(&name)?),
            Wire::Referrers(request) => Self::Referrers {
                to: need(request.to, "a key")?.try_into()?,
                class: class(&request.class)?,
            },
            Wire::Table(table) => Self::Table(table.try_into()?),
            Wire::Entry(entry) => Self::Entry {
                table: need(entry.table, "a table")?.try_into()?,
                key: need(entry.key, "a key")?.try_into()?,
            },
        })
    }
}

impl From<Batch> for v1::Batch {
    fn from(batch: Batch) -> Self {
        let change = |change| match change {
            Change::Object(object) => v1::change::Change::Object(object.into()),
            Change::Entry(entry) => v1::change::Change::Entry(entry.into()),
        };
        let wire = |inner| v1::Change { change: Some(change(inner)) };
        Self {
            revision: batch.revision.0,
            changes: batch.changes.into_iter().map(wire).collect(),
            complete: batch.complete.into_iter().map(Into::into).collect(),
            ended: batch.ended.into_iter().map(Into::into).collect(),
            more: false,
        }
    }
}

impl TryFrom<v1::Batch> for Batch {
    type Error = Malformed;

    fn try_from(batch: v1::Batch) -> Result<Self, Malformed> {
        let change = |wire: v1::Change| match need(wire.change, "a change")? {
            v1::change::Change::Object(object) => object.try_into().map(Change::Object),
            v1::change::Change::Entry(entry) => entry.try_into().map(Change::Entry),
        };
        let selectors = |wire: Vec<v1::Selector>| {
            wire.into_iter().map(TryInto::try_into).collect::<Result<Vec<Selector>, Malformed>>()
        };
        Ok(Self {
            revision: Revision(batch.revision),
            ended: selectors(batch.ended)?,
            changes: batch.changes.into_iter().map(change).collect::<Result<_, Malformed>>()?,
            complete: selectors(batch.complete)?,
        })
    }
}
