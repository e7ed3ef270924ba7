//! DHCPv6 subnets of bridges.

use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

use mn_ids::{BridgeId, DhcpV6SubnetId, Id, Object, OnDelete};
use mn_packet::{IpPrefix, Mac, dhcpv6};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Invalid, References};

/// A subnet whose hosts the agent answers DHCPv6 for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DhcpV6Subnet {
    pub id: DhcpV6SubnetId,
    pub bridge_id: BridgeId,
    /// IPv6. One subnet of a bridge has it.
    pub prefix: IpPrefix,
    /// Told to every client, also to those that have no entry (stateless DHCPv6).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_server_addrs: Vec<Ipv6Addr>,
    #[serde(default)]
    pub hosts: Vec<DhcpV6Host>,
}

/// One client and the address it gets.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DhcpV6Host {
    pub client_id: ClientId,
    pub fixed_address: Ipv6Addr,
    pub name: String,
}

/// How a client is known: by the identifier it sends (DUID, RFC 8415 §11) or, in six octets, by the
/// MAC of its interface.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClientId(Vec<u8>);

/// The longest identifier: a type of two octets and 128 more (RFC 8415 §11.1).
const CLIENT_ID_MAX: usize = 130;

impl ClientId {
    /// Whether it is that of the client that sent this identifier from this MAC.
    #[must_use]
    pub fn is_of(&self, duid: &[u8], mac: Mac) -> bool {
        match <[u8; 6]>::try_from(self.0.as_slice()) {
            Ok(own) => Mac(own) == mac || dhcpv6::mac_of(duid) == Some(Mac(own)),
            Err(_) => self.0 == duid,
        }
    }
}

/// Text that is no identifier of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a client identifier is 3 to 130 octets in hex, with : or - between them")]
pub struct ClientIdError;

impl FromStr for ClientId {
    type Err = ClientIdError;

    fn from_str(text: &str) -> Result<Self, ClientIdError> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let octet = |part: &str| {
            let hex = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let octet = hex.then(|| u8::from_str_radix(part, 16).ok()).flatten();
            octet.ok_or(ClientIdError)
        };
        let octets: Vec<u8> = text.split(separator).map(octet).collect::<Result<_, _>>()?;
        let fits = (3..=CLIENT_ID_MAX).contains(&octets.len());
        if fits { Ok(Self(octets)) } else { Err(ClientIdError) }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, octet) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{octet:02x}")?;
        }
        Ok(())
    }
}

impl Serialize for ClientId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl DhcpV6Subnet {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        let is_v6 = self.prefix.network().is_ipv6();
        Invalid::unless(is_v6, "prefix", self.prefix, "is no IPv6 subnet")?;
        for (index, host) in self.hosts.iter().enumerate() {
            let (client, addr) = (&host.client_id, host.fixed_address);
            let inside = self.prefix.contains(addr.into());
            let reason = format!("is not in {}", self.prefix);
            Invalid::unless(inside, "hosts.fixed_address", addr, reason)?;
            let others = &self.hosts[..index];
            let known = others.iter().any(|other| other.client_id == *client);
            Invalid::unless(!known, "hosts.client_id", client, "has an address already")?;
            let taken = others.iter().any(|other| other.fixed_address == addr);
            Invalid::unless(!taken, "hosts.fixed_address", addr, "is another client's")?;
        }
        Ok(())
    }
}

impl Object for DhcpV6Subnet {
    type Kind = mn_ids::DhcpV6Subnet;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<mn_ids::Reference> {
        References::default().to("bridge_id", [self.bridge_id], OnDelete::Cascade).done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn a_client_is_known_by_its_identifier_or_by_its_mac() {
        let by_duid: ClientId = "00:02:00:00:00:09:0c".parse().unwrap();
        assert!(by_duid.is_of(&[0, 2, 0, 0, 0, 9, 12], MAC));
        assert!(!by_duid.is_of(&dhcpv6::duid_of(MAC), MAC));
        let by_mac: ClientId = "02-00-00-00-00-01".parse().unwrap();
        assert!(by_mac.is_of(&[0, 2, 0, 0, 0, 9, 12], MAC));
        assert!(by_mac.is_of(&dhcpv6::duid_of(MAC), Mac([2, 0, 0, 0, 0, 2])));
        assert!(!by_mac.is_of(&[0, 2, 0, 0, 0, 9, 12], Mac([2, 0, 0, 0, 0, 2])));
        assert_eq!(by_mac.to_string(), "02:00:00:00:00:01");
    }

    #[test]
    fn what_is_no_identifier_is_refused() {
        let long = ["00"; 131].join(":");
        for text in ["", "00:01", "0:1:2", "00:01:xx", "00:01:+1", "00:01-02", "00:01:02:", &long] {
            assert_eq!(text.parse::<ClientId>(), Err(ClientIdError), "{text}");
        }
    }

    #[test]
    fn a_client_and_an_address_are_there_once_and_inside() {
        let host = |client: &str, addr: &str| DhcpV6Host {
            client_id: client.parse().unwrap(),
            fixed_address: addr.parse().unwrap(),
            name: "vm".to_owned(),
        };
        let refused = |hosts: Vec<DhcpV6Host>| {
            let subnet = DhcpV6Subnet {
                id: Id::random(),
                bridge_id: Id::random(),
                prefix: "fd00:1::/64".parse().unwrap(),
                dns_server_addrs: Vec::new(),
                hosts,
            };
            subnet.validate().err().map(|invalid| invalid.field)
        };
        let (one, two) = (host("00:01:02", "fd00:1::5"), host("00:01:03", "fd00:1::6"));
        assert_eq!(refused(vec![one.clone(), two.clone()]), None);
        assert_eq!(refused(vec![host("00:01:02", "fd00:2::5")]), Some("hosts.fixed_address"));
        let twice = DhcpV6Host { client_id: one.client_id.clone(), ..two.clone() };
        assert_eq!(refused(vec![one.clone(), twice]), Some("hosts.client_id"));
        let same = DhcpV6Host { fixed_address: one.fixed_address, ..two };
        assert_eq!(refused(vec![one, same]), Some("hosts.fixed_address"));
    }
}
