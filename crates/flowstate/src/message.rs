//! The datagrams.
//!
//! ```text
//! datagram = header body tag(32)
//! header   = "MNFS" version(1) kind(1) quality(2) from(16) to(16) from's epoch(8) to's epoch(8) sequence(8)
//! body     = records: base(8) dropped(8) (ahead of base(4) record)*
//!          | ack:     next(8) (64 numbers from next on, a bit each(8))*
//!          | hello:   nothing
//! tag      = HMAC-SHA-256 of all before it
//! ```
//!
//! `quality` is the share of the other side's datagrams that were lost or overtaken.
//! Each record has a number; `base` is the lowest that the sender has not heard to have arrived.
//! Each datagram has a sequence number of its own, also where it says something again.

use mn_ids::{HostId, Id};
use uuid::Uuid;

use crate::cause::Refused;
use crate::key::{TAG_LEN, ZoneKey};
use crate::pace::Quality;
use crate::record::{RECORD_MAX, Record, chunk};

/// The longest datagram, in octets: fits every link that IPv6 may use (RFC 8200 §5) with room for
/// the headers.
pub const DATAGRAM_MAX: usize = 1232;

const MAGIC: [u8; 4] = *b"MNFS";
const VERSION: u8 = 1;
const HEADER_LEN: usize = 64;
/// A record's number, less the base.
const AHEAD_LEN: usize = 4;
/// The most words of an acknowledgement: 4096 numbers.
const ACK_WORDS_MAX: usize = 64;

/// Who says it to whom, in which life of each, and the datagram's number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) from: HostId,
    pub(crate) to: HostId,
    pub(crate) from_epoch: u64,
    /// 0: not known.
    pub(crate) to_epoch: u64,
    pub(crate) sequence: u64,
    /// How well the sender gets what the receiver sends.
    pub(crate) quality: Quality,
}

/// What a datagram says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Body {
    Records(Records),
    Ack(Ack),
    /// Which life the sender is in.
    Hello,
}

/// Records, each with its number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Records {
    /// Records before this one are not sent any more.
    pub(crate) base: u64,
    /// How many were never sent and never will be, since the sender's life began.
    pub(crate) dropped: u64,
    pub(crate) records: Vec<(u64, Record)>,
}

/// What arrived: every number before `next`, and those with a bit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ack {
    pub(crate) next: u64,
    pub(crate) words: Vec<u64>,
}

impl Records {
    /// Whether another record may be added.
    pub(crate) fn has_room(&self) -> bool {
        let fixed = HEADER_LEN + TAG_LEN + 16;
        (self.records.len() + 1) * (AHEAD_LEN + RECORD_MAX) + fixed <= DATAGRAM_MAX
    }
}

impl Ack {
    /// An acknowledgement of all before `next` and of these numbers after it, in rising order, as
    /// far as they fit.
    pub(crate) fn of(next: u64, after: impl Iterator<Item = u64>) -> Self {
        let mut words = Vec::new();
        for number in after {
            let ahead = number - next;
            let word = usize::try_from(ahead / 64).unwrap_or(usize::MAX);
            if word >= ACK_WORDS_MAX {
                break;
            }
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (ahead % 64);
        }
        Self { next, words }
    }

    /// The numbers after `next` that arrived.
    pub(crate) fn after(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().zip(0_u64..).flat_map(|(word, nth)| {
            let first = self.next.saturating_add(nth * 64);
            let has = move |bit: &u64| word >> bit & 1 == 1;
            (0..64).filter(has).map(move |bit| first.saturating_add(bit))
        })
    }
}

/// Makes a datagram.
pub(crate) fn seal(header: &Header, body: &Body, key: &ZoneKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(DATAGRAM_MAX);
    let kind = match body {
        Body::Records(_) => 1,
        Body::Ack(_) => 2,
        Body::Hello => 3,
    };
    out.extend(MAGIC);
    out.extend([VERSION, kind]);
    out.extend(header.quality.to_wire().to_le_bytes());
    out.extend(header.from.uuid().as_bytes());
    out.extend(header.to.uuid().as_bytes());
    for number in [header.from_epoch, header.to_epoch, header.sequence] {
        out.extend(number.to_le_bytes());
    }
    match body {
        Body::Records(Records { base, dropped, records }) => {
            out.extend(base.to_le_bytes());
            out.extend(dropped.to_le_bytes());
            for (number, record) in records {
                let ahead = u32::try_from(number - base).unwrap_or(u32::MAX);
                out.extend(ahead.to_le_bytes());
                record.put(&mut out);
            }
        }
        Body::Ack(Ack { next, words }) => {
            out.extend(next.to_le_bytes());
            words.iter().for_each(|word| out.extend(word.to_le_bytes()));
        }
        Body::Hello => {}
    }
    key.seal(&mut out);
    out
}

/// Reads a datagram.
///
/// # Errors
///
/// Too long, not of this version, not authentic or not as a datagram is: in this order.
pub(crate) fn open(datagram: &[u8], key: &ZoneKey) -> Result<(Header, Body), Refused> {
    if datagram.len() > DATAGRAM_MAX {
        return Err(Refused::Oversized);
    }
    let malformed = Refused::Malformed;
    let text_len = datagram.len().checked_sub(TAG_LEN).filter(|len| *len >= HEADER_LEN);
    let (text, tag) = datagram.split_at(text_len.ok_or(malformed)?);
    if text[..5] != [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], VERSION] {
        return Err(malformed);
    }
    if !key.is_authentic(text, tag) {
        return Err(Refused::Forged);
    }
    let kind = text[5];
    let mut rest = &text[6..];
    let header = header(&mut rest).ok_or(malformed)?;
    let body = match kind {
        1 => Body::Records(records(rest)?),
        2 => Body::Ack(ack(rest).ok_or(malformed)?),
        3 if rest.is_empty() => Body::Hello,
        _ => return Err(malformed),
    };
    Ok((header, body))
}

/// Who says that a datagram is from it; it is not known whether that is true.
pub(crate) fn claimed_sender(datagram: &[u8]) -> Option<HostId> {
    let id = datagram.get(8..24)?.first_chunk::<16>()?;
    Some(Id::from_uuid(Uuid::from_bytes(*id)))
}

fn number(from: &mut &[u8]) -> Option<u64> {
    chunk(from).map(u64::from_le_bytes)
}

fn header(from: &mut &[u8]) -> Option<Header> {
    let host = |octets| Id::from_uuid(Uuid::from_bytes(octets));
    let quality = Quality::from_wire(u16::from_le_bytes(chunk(from)?));
    Some(Header {
        quality,
        from: host(chunk(from)?),
        to: host(chunk(from)?),
        from_epoch: number(from)?,
        to_epoch: number(from)?,
        sequence: number(from)?,
    })
}

fn records(mut rest: &[u8]) -> Result<Records, Refused> {
    let malformed = Refused::Malformed;
    let base = number(&mut rest).ok_or(malformed)?;
    let dropped = number(&mut rest).ok_or(malformed)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let ahead = u32::from_le_bytes(chunk(&mut rest).ok_or(malformed)?);
        let number = base.checked_add(ahead.into()).ok_or(malformed)?;
        records.push((number, Record::take(&mut rest)?));
    }
    Ok(Records { base, dropped, records })
}

fn ack(mut rest: &[u8]) -> Option<Ack> {
    let next = number(&mut rest)?;
    if !rest.len().is_multiple_of(8) || rest.len() > ACK_WORDS_MAX * 8 {
        return None;
    }
    let words = rest.chunks_exact(8).filter_map(|word| word.first_chunk().copied());
    Some(Ack { next, words: words.map(u64::from_le_bytes).collect() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::tests::binding;

    fn key() -> ZoneKey {
        ZoneKey::new(&[7; 32])
    }

    fn header() -> Header {
        let host = |number| Id::from_uuid(Uuid::from_u128(number));
        let quality = Quality::from_wire(12_345);
        Header { from: host(1), to: host(2), from_epoch: 3, to_epoch: 4, sequence: 5, quality }
    }

    fn bodies() -> Vec<Body> {
        let mut records = Records { base: 100, dropped: 2, records: Vec::new() };
        while records.has_room() {
            let number = 100 + records.records.len() as u32 * 3;
            records.records.push((number.into(), Record::Made(binding(number, 9))));
        }
        let ack = Ack::of(7, (9..9000).step_by(3));
        vec![Body::Records(records), Body::Ack(ack), Body::Ack(Ack::default()), Body::Hello]
    }

    #[test]
    fn a_datagram_reads_back_and_whatever_is_changed_is_noticed() {
        for body in bodies() {
            let datagram = seal(&header(), &body, &key());
            assert!(datagram.len() <= DATAGRAM_MAX);
            assert_eq!(open(&datagram, &key()), Ok((header(), body)));
            assert_eq!(claimed_sender(&datagram), Some(header().from));
            let other = ZoneKey::new(&[8; 32]);
            assert_eq!(open(&datagram, &other), Err(Refused::Forged));
            for at in 0..datagram.len() {
                let mut wrong = datagram.clone();
                wrong[at] ^= 0x10;
                let cause = if at < 5 { Refused::Malformed } else { Refused::Forged };
                assert_eq!(open(&wrong, &key()), Err(cause), "octet {at}");
                assert!(open(&datagram[..at], &key()).is_err());
            }
        }
    }

    #[test]
    fn too_long_a_datagram_is_not_even_looked_at() {
        let mut datagram = seal(&header(), &Body::Hello, &key());
        datagram.resize(DATAGRAM_MAX + 1, 0);
        assert_eq!(open(&datagram, &key()), Err(Refused::Oversized));
    }

    #[test]
    fn an_acknowledgement_names_what_arrived() {
        let numbers = [11, 74, 75, 500, 5000];
        let ack = Ack::of(10, numbers.into_iter());
        assert_eq!(ack.after().collect::<Vec<_>>(), [11, 74, 75, 500], "5000 does not fit");
    }

    proptest! {
        /// Authentic nonsense: a member whose program is wrong.
        #[test]
        fn whatever_a_member_says_nothing_breaks(
            mut text in prop::collection::vec(any::<u8>(), 64..400),
            kind in 0_u8..5,
        ) {
            text[..6].copy_from_slice(&[b'M', b'N', b'F', b'S', VERSION, kind]);
            key().seal(&mut text);
            if let Ok((_, Body::Ack(ack))) = open(&text, &key()) {
                prop_assert!(ack.after().count() <= 64 * ACK_WORDS_MAX);
            }
        }
    }
}
