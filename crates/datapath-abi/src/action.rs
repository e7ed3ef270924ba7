//! Action slots.

use crate::plain::plain;

/// One slot of an action list: an operation and its argument. An IPv6 address takes the two slots
/// after its operation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct ActionSlot {
    /// An [`Op`].
    pub op: u8,
    /// How many slots it takes, itself included, and perhaps [`WITH_PORT`].
    pub slots: u8,
    /// The argument; what it is, the operation says.
    pub argument: [u8; 6],
}

/// The bit of [`ActionSlot::slots`] that says an inner rewrite sets the port too.
pub const WITH_PORT: u8 = 0x80;

/// What a slot does. `a` is the argument's first two octets, `b` its last four.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Op {
    /// `b`: port.
    Output = 1,
    /// `a`: peer, `b`: VNI.
    Tunnel = 2,
    /// `b`: group.
    Outputs = 3,
    EthSrc = 4,
    EthDst = 5,
    /// `b`: the address, as on the wire.
    NwSrc4 = 6,
    NwDst4 = 7,
    NwSrc6 = 8,
    NwDst6 = 9,
    /// `a`.
    NwTos = 10,
    /// `a`: the port, as on the wire.
    TpSrc = 11,
    TpDst = 12,
    IcmpId = 13,
    DecTtl = 14,
    /// `a`: the tag control information, host order.
    PushVlan = 15,
    PopVlan = 16,
    /// `b`: the address; `a`: the port; both as on the wire.
    InnerSrc4 = 17,
    InnerDst4 = 18,
    InnerSrc6 = 19,
    InnerDst6 = 20,
    /// `b`: zone; `a`: port.
    Track = 21,
    /// `b`: index.
    Meter = 22,
    /// `b`: one packet in so many.
    Copy = 23,
    /// `a`: cause.
    Drop = 24,
    /// `a`: cause; the rule in the two slots after.
    DropRule = 25,
    /// The MAC that answers.
    Answer = 26,
    /// Likewise, as a router.
    AnswerAsRouter = 27,
    /// `b`: not 0 once the first segment was told that neither begins nor ends a connection.
    Follow = 28,
}

impl Op {
    /// Every operation, by number from 1 on.
    pub const ALL: [Self; 28] = [
        Self::Output,
        Self::Tunnel,
        Self::Outputs,
        Self::EthSrc,
        Self::EthDst,
        Self::NwSrc4,
        Self::NwDst4,
        Self::NwSrc6,
        Self::NwDst6,
        Self::NwTos,
        Self::TpSrc,
        Self::TpDst,
        Self::IcmpId,
        Self::DecTtl,
        Self::PushVlan,
        Self::PopVlan,
        Self::InnerSrc4,
        Self::InnerDst4,
        Self::InnerSrc6,
        Self::InnerDst6,
        Self::Track,
        Self::Meter,
        Self::Copy,
        Self::Drop,
        Self::DropRule,
        Self::Answer,
        Self::AnswerAsRouter,
        Self::Follow,
    ];

    /// The operation with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

impl ActionSlot {
    /// A slot with both arguments.
    #[must_use]
    pub const fn new(op: Op, a: u16, b: u32) -> Self {
        let ([a0, a1], [b0, b1, b2, b3]) = (a.to_ne_bytes(), b.to_ne_bytes());
        Self { op: op as u8, slots: 1, argument: [a0, a1, b0, b1, b2, b3] }
    }

    /// The first argument.
    #[must_use]
    pub const fn a(&self) -> u16 {
        let [a0, a1, ..] = self.argument;
        u16::from_ne_bytes([a0, a1])
    }

    /// The second argument.
    #[must_use]
    pub const fn b(&self) -> u32 {
        let [_, _, b0, b1, b2, b3] = self.argument;
        u32::from_ne_bytes([b0, b1, b2, b3])
    }

    /// The slot as octets of what the one before needs.
    #[must_use]
    pub const fn raw(octets: [u8; 8]) -> Self {
        let [op, slots, argument @ ..] = octets;
        Self { op, slots, argument }
    }

    /// Its octets.
    #[must_use]
    pub const fn to_raw(&self) -> [u8; 8] {
        let [a, b, c, d, e, f] = self.argument;
        [self.op, self.slots, a, b, c, d, e, f]
    }
}

plain!(ActionSlot);

const _: () = assert!(size_of::<ActionSlot>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_number() {
        for op in Op::ALL {
            assert_eq!(Op::from_code(op as u8), Some(op));
        }
        assert_eq!((Op::from_code(0), Op::from_code(29)), (None, None));
    }
}
