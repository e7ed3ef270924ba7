//! The fields of a condition, which rules and mirrors have among theirs.

use super::device::PORT;
use super::group::{IP_ADDRESS_GROUP, PORT_GROUP};
use super::{Field, Kind};

/// A test that may be turned round.
pub(super) const fn test(
    word: &'static str,
    json: &'static str,
    kind: Kind,
    inverted_by: &'static str,
) -> Field {
    Field::new(word, json, kind).inverted_by(inverted_by)
}

/// A list of fields with those of a condition in the middle. Three are shown as their listing wants.
macro_rules! condition_fields {
    (
        before: [$($before:expr),* $(,)?],
        protocol: $protocol:expr,
        fragments: $fragments:expr,
        no_vlan: $no_vlan:expr,
        after: [$($after:expr),* $(,)?] $(,)?
    ) => {{
        use $crate::schema::condition::{self, test};
        const ALL_BITS: Shown = Shown::Unless("ffff.ffff.ffff");
        &[
            $($before,)*
            Field::new("inverted", "condInvert", Kind::YesNo).shown(Shown::Unless("no")),
            test("hw-src", "dlSrc", Kind::Text, "invDlSrc"),
            Field::new("hw-src-mask", "dlSrcMask", Kind::Text).shown(ALL_BITS),
            test("hw-dst", "dlDst", Kind::Text, "invDlDst"),
            Field::new("hw-dst-mask", "dlDstMask", Kind::Text).shown(ALL_BITS),
            test("ethertype", "dlType", Kind::EtherType, "invDlType"),
            test("src", "nwSrcAddress", condition::prefix("nwSrcLength"), "invNwSrc"),
            test("dst", "nwDstAddress", condition::prefix("nwDstLength"), "invNwDst"),
            test("proto", "nwProto", Kind::Integer, "invNwProto").shown($protocol),
            test("tos", "nwTos", Kind::Integer, "invNwTos").shown($protocol),
            test("src-port", "tpSrc", Kind::Range, "invTpSrc"),
            test("dst-port", "tpDst", Kind::Range, "invTpDst"),
            Field::new("flow", "", Kind::Flow),
            Field::new("valid", "matchValidFlow", Kind::YesNo),
            test("port-group", "portGroup", condition::group(), "invPortGroup"),
            test("in-port-group", "inPortGroup", condition::group(), "invInPortGroup"),
            test("out-port-group", "outPortGroup", condition::group(), "invOutPortGroup"),
            test("ip-address-group-src", "ipAddrGroupSrc", condition::addresses(), "invIpAddrGroupSrc"),
            test("ip-address-group-dst", "ipAddrGroupDst", condition::addresses(), "invIpAddrGroupDst"),
            test("traversed-device", "traversedDevice", Kind::Text, "invTraversedDevice"),
            test("in-ports", "inPorts", condition::ports(), "invInPorts"),
            test("out-ports", "outPorts", condition::ports(), "invOutPorts"),
            Field::new("fragment-policy", "fragmentPolicy", condition::POLICY)
                .shown($fragments),
            Field::new("no-vlan", "noVlan", Kind::Bool).shown($no_vlan),
            Field::new("vlan", "vlan", Kind::Integer),
            test("icmp-data-src", "icmpDataSrcIpAddress", condition::prefix("icmpDataSrcIpLength"),
                "invIcmpDataSrcIp"),
            test("icmp-data-dst", "icmpDataDstIpAddress", condition::prefix("icmpDataDstIpLength"),
                "invIcmpDataDstIp"),
            Field::new("match-nw-dst-rewritten", "matchNwDstRewritten", Kind::Bool)
                .shown(Shown::Unless("false")),
            $($after,)*
        ]
    }};
}
pub(super) use condition_fields;

pub(super) const POLICY: Kind = Kind::Choice(&[
    ("any", "any"),
    ("header", "header"),
    ("nonheader", "nonheader"),
    ("unfragmented", "unfragmented"),
]);

// Functions, because a constant that names a type would be part of a cycle of types.
pub(super) const fn group() -> Kind {
    Kind::Reference(&PORT_GROUP)
}

pub(super) const fn addresses() -> Kind {
    Kind::Reference(&IP_ADDRESS_GROUP)
}

pub(super) const fn ports() -> Kind {
    Kind::References(&PORT)
}

pub(super) const fn prefix(length: &'static str) -> Kind {
    Kind::Prefix { length }
}
