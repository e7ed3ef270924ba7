//! Refused transactions on the wire: the server's [`TxError`] arrives as the same variant.

use std::time::Duration;

use mn_ids::{HostId, ObjectKey};
use mn_nsdb::{Revision, SessionId, TxError};

use crate::message::{Malformed, need};
use crate::v1;

/// What a client is told of a transaction that failed.
#[must_use]
pub fn refusal(error: &TxError) -> v1::Refusal {
    let of = |kind: &str| v1::Refusal { kind: kind.to_owned(), ..v1::Refusal::default() };
    let key = |object: &ObjectKey| Some((*object).into());
    match error {
        TxError::Conflict { object, expected, now } => {
            v1::Refusal { object: key(object), expected: expected.0, now: now.0, ..of("conflict") }
        }
        TxError::Exists { object } => v1::Refusal { object: key(object), ..of("exists") },
        TxError::Missing { object } => v1::Refusal { object: key(object), ..of("missing") },
        TxError::Dangling { from, field, to } => v1::Refusal {
            object: key(from),
            field: field.clone(),
            other: key(to),
            ..of("dangling")
        },
        TxError::InUse { object, user, field } => v1::Refusal {
            object: key(object),
            field: field.clone(),
            other: key(user),
            ..of("in_use")
        },
        TxError::TooLarge { ops, bytes } => {
            v1::Refusal { expected: *ops as u64, now: *bytes as u64, ..of("too_large") }
        }
        TxError::Invalid { object, reason } => {
            v1::Refusal { object: key(object), reason: reason.clone(), ..of("invalid") }
        }
        TxError::Stale { host, epoch } => {
            v1::Refusal { object: key(&(*host).into()), expected: *epoch, ..of("stale") }
        }
        TxError::Taken { device, key: taken, by } => v1::Refusal {
            object: key(&(*by).into()),
            field: taken.clone(),
            reason: device.to_string(),
            ..of("taken")
        },
        TxError::NoSession(session) => {
            v1::Refusal { reason: session.0.to_string(), ..of("no_session") }
        }
        TxError::Unavailable(source) => {
            v1::Refusal { reason: source.to_string(), ..of("unavailable") }
        }
        TxError::Undecided { waited } => v1::Refusal {
            expected: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            ..of("undecided")
        },
        TxError::Corrupt { object, reason } => {
            v1::Refusal { object: key(object), reason: reason.clone(), ..of("corrupt") }
        }
        TxError::Storage(source) => v1::Refusal { reason: source.to_string(), ..of("storage") },
    }
}

/// The error a refusal stands for.
///
/// # Errors
///
/// [`Malformed`] where the server speaks of something this version does not know.
pub fn tx_error(refusal: v1::Refusal) -> Result<TxError, Malformed> {
    let v1::Refusal { kind, object, other, field, expected, now, reason } = refusal;
    let object =
        || -> Result<ObjectKey, Malformed> { need(object.clone(), "an object")?.try_into() };
    let other = || need(other.clone(), "an object")?.try_into();
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(match kind.as_str() {
        "conflict" => TxError::Conflict {
            object: object()?,
            expected: Revision(expected),
            now: Revision(now),
        },
        "exists" => TxError::Exists { object: object()? },
        "missing" => TxError::Missing { object: object()? },
        "dangling" => TxError::Dangling { from: object()?, field, to: other()? },
        "in_use" => TxError::InUse { object: object()?, user: other()?, field },
        "too_large" => TxError::TooLarge { ops: size(expected), bytes: size(now) },
        "invalid" => TxError::Invalid { object: object()?, reason },
        "stale" => TxError::Stale { host: HostId::from_uuid(object()?.id), epoch: expected },
        "taken" => TxError::Taken {
            device: reason.parse().map_err(|_| Malformed::Missing("a device"))?,
            key: field,
            by: HostId::from_uuid(object()?.id),
        },
        "no_session" => TxError::NoSession(SessionId(
            reason.parse().map_err(|_| Malformed::Missing("a session"))?,
        )),
        "unavailable" => TxError::Unavailable(reason.into()),
        "undecided" => TxError::Undecided { waited: Duration::from_millis(expected) },
        "corrupt" => TxError::Corrupt { object: object()?, reason },
        "storage" => TxError::Storage(reason.into()),
        _ => return Err(Malformed::Wrong { what: "the refusal", value: kind }),
    })
}
