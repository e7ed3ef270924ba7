//! What a rule matches.

use core::ops::RangeInclusive;

use mn_ids::{IpAddrGroupId, OnDelete, PortGroupId, PortId};
use mn_packet::{EtherType, IpPrefix, IpProtocol, Mac, VlanId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Invalid, References};

/// A test of one header.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Test<A> {
    /// The header is in the set.
    Is(A),
    /// The header is not in the set.
    IsNot(A),
}

impl<A> Test<A> {
    /// The set it tests for.
    pub const fn set(&self) -> &A {
        match self {
            Self::Is(set) | Self::IsNot(set) => set,
        }
    }
}

/// A conjunction of tests (`RC-*`, table of attributes). No test at all: every packet matches that
/// the fragment policy lets it look at.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Condition {
    /// Match the packets the conjunction does not. The fragment policy is outside of this.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub inverted: bool,
    pub fragment_policy: FragmentPolicy,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub match_forward_flow: bool,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub match_return_flow: bool,
    /// Whether it belongs to a connection, or may open one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_valid_flow: Option<bool>,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub no_vlan: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The group of the port it entered this device by, of exterior ports (older name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_group: Option<Test<PortGroupId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_port_group: Option<Test<PortGroupId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_port_group: Option<Test<PortGroupId>>,
    /// The port it entered this device by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_ports: Option<Test<Vec<PortId>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_ports: Option<Test<Vec<PortId>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dl_type: Option<Test<EtherType>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dl_src: Option<Test<MaskedMac>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dl_dst: Option<Test<MaskedMac>>,
    /// The whole TOS octet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nw_tos: Option<Test<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nw_proto: Option<Test<IpProtocol>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nw_src: Option<Test<IpPrefix>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nw_dst: Option<Test<IpPrefix>>,
    /// The source port; of ICMP the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tp_src: Option<Test<PortRange>>,
    /// The destination port; of ICMP the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tp_dst: Option<Test<PortRange>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_addr_group_src: Option<Test<IpAddrGroupId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_addr_group_dst: Option<Test<IpAddrGroupId>>,
    /// A bridge, router or port the packet has crossed so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traversed_device: Option<Test<Uuid>>,
    /// The source of the packet that an ICMP error quotes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_data_src: Option<Test<IpPrefix>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_data_dst: Option<Test<IpPrefix>>,
    /// The destination was changed by NAT.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub match_nw_dst_rewritten: bool,
}

/// Which fragments a condition looks at (`FR-*`); packets it does not look at do not match.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FragmentPolicy {
    /// Everything.
    #[default]
    Any,
    /// Whole datagrams and first fragments.
    Header,
    /// Later fragments.
    Nonheader,
    /// Whole datagrams.
    Unfragmented,
}

/// Ethernet addresses that agree on the bits of a mask.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MaskedMac {
    pub mac: Mac,
    /// All ones: exactly `mac`.
    pub mask: Mac,
}

impl MaskedMac {
    /// Exactly this address.
    #[must_use]
    pub const fn exactly(mac: Mac) -> Self {
        Self { mac, mask: Mac::BROADCAST }
    }

    /// Whether the address agrees.
    #[must_use]
    pub fn contains(&self, mac: Mac) -> bool {
        (0..6).all(|i| (mac.0[i] ^ self.mac.0[i]) & self.mask.0[i] == 0)
    }
}

/// Ports, or ICMP types or codes, from `start` to `end`, both included.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PortRange {
    pub start: u16,
    pub end: u16,
}

impl From<PortRange> for RangeInclusive<u16> {
    fn from(range: PortRange) -> Self {
        range.start..=range.end
    }
}

impl Condition {
    /// Whether it reads what only the first fragment of a datagram has.
    #[must_use]
    pub const fn reads_ports(&self) -> bool {
        self.tp_src.is_some() || self.tp_dst.is_some()
    }

    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        if let Some(vlan) = self.vlan {
            let real = (1..=VlanId::MAX).contains(&vlan);
            Invalid::unless(real, "vlan", vlan, "must be from 1 to 4094")?;
            Invalid::unless(!self.no_vlan, "vlan", vlan, "excludes no_vlan")?;
        }
        if let Some(test) = &self.dl_type {
            let real = test.set().0 >= ETHER_TYPE_MIN;
            Invalid::unless(real, "dl_type", test.set(), "is below 0x600: a length, no type")?;
        }
        for (field, test) in [("tp_src", &self.tp_src), ("tp_dst", &self.tp_dst)] {
            let Some(PortRange { start, end }) = test.as_ref().map(Test::set) else { continue };
            let text = format!("{start}-{end}");
            Invalid::unless(start <= end, field, text, "ends before it starts")?;
        }
        self.validate_versions()?;
        let policy = self.fragment_policy;
        let whole = matches!(policy, FragmentPolicy::Header | FragmentPolicy::Unfragmented);
        let fits = whole || !self.reads_ports();
        let reason = "later fragments have no ports: it must be header or unfragmented";
        Invalid::unless(fits, "fragment_policy", format!("{policy:?}").to_lowercase(), reason)
    }

    /// Addresses of two IP versions: no packet has both.
    fn validate_versions(&self) -> Result<(), Invalid> {
        for (field, src, dst) in [
            ("nw_dst", &self.nw_src, &self.nw_dst),
            ("icmp_data_dst", &self.icmp_data_src, &self.icmp_data_dst),
        ] {
            let (Some(Test::Is(src)), Some(Test::Is(dst))) = (src, dst) else { continue };
            let same = src.network().is_ipv4() == dst.network().is_ipv4();
            Invalid::unless(same, field, dst, "is of another IP version than the source")?;
        }
        Ok(())
    }
}

/// The lowest Ethernet type; lower numbers are lengths (IEEE 802.3).
const ETHER_TYPE_MIN: u16 = 0x600;

impl Condition {
    /// A group or port that a condition names cannot be deleted while it does.
    ///
    /// `at` is the field of the object that holds the condition.
    pub(crate) fn references(&self, at: &str, references: References) -> References {
        let refuse = OnDelete::Refuse;
        references
            .at(at, "port_group", one(self.port_group.as_ref()), refuse)
            .at(at, "in_port_group", one(self.in_port_group.as_ref()), refuse)
            .at(at, "out_port_group", one(self.out_port_group.as_ref()), refuse)
            .at(at, "in_ports", all(self.in_ports.as_ref()), refuse)
            .at(at, "out_ports", all(self.out_ports.as_ref()), refuse)
            .at(at, "ip_addr_group_src", one(self.ip_addr_group_src.as_ref()), refuse)
            .at(at, "ip_addr_group_dst", one(self.ip_addr_group_dst.as_ref()), refuse)
    }
}

/// What a test names.
fn one<T: Copy>(test: Option<&Test<T>>) -> Option<T> {
    test.map(|test| *test.set())
}

/// All that a test names.
fn all<T: Copy>(test: Option<&Test<Vec<T>>>) -> impl Iterator<Item = T> {
    test.into_iter().flat_map(|test| test.set().iter().copied())
}
