//! Addresses that mean something on one link only.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use mn_ids::PortId;

/// An address as a router knows it. A link-local IPv6 address may be in use on every link at once,
/// so it goes with its zone, the router's port on the link (RFC 4007 §6); any other address is of
/// the whole router.
///
/// Written as RFC 4007 §11 says: `2001:db8::1`, `fe80::1%PORT`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ScopedAddr {
    addr: IpAddr,
    zone: Option<PortId>,
}

impl ScopedAddr {
    /// The address as it is meant on a port's link.
    #[must_use]
    pub fn on(port: PortId, addr: IpAddr) -> Self {
        Self { addr, zone: is_of_one_link(addr).then_some(port) }
    }

    /// The address itself.
    #[must_use]
    pub const fn addr(self) -> IpAddr {
        self.addr
    }
}

fn is_of_one_link(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

impl fmt::Display for ScopedAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.zone {
            Some(port) => write!(f, "{}%{port}", self.addr),
            None => write!(f, "{}", self.addr),
        }
    }
}

/// A text that is no address, or one whose zone is missing or too much.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an address is like 10.0.0.1, 2001:db8::1 or fe80::1%PORT")]
pub struct ParseScopedAddrError;

impl FromStr for ScopedAddr {
    type Err = ParseScopedAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (addr, zone) = match text.split_once('%') {
            Some((addr, zone)) => (addr, Some(zone.parse().map_err(|_| ParseScopedAddrError)?)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| ParseScopedAddrError)?;
        if zone.is_some() != is_of_one_link(addr) {
            return Err(ParseScopedAddrError);
        }
        Ok(Self { addr, zone })
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;

    use super::*;

    #[test]
    fn a_link_local_address_is_another_on_each_port_and_any_other_the_same_on_all() {
        let (one, two) = (Id::random(), Id::random());
        let at = |port, addr: &str| ScopedAddr::on(port, addr.parse().unwrap());
        assert_ne!(at(one, "fe80::1"), at(two, "fe80::1"));
        for addr in ["2001:db8::1", "10.0.0.1", "169.254.0.1"] {
            assert_eq!(at(one, addr), at(two, addr));
        }
    }

    #[test]
    fn it_reads_back_as_it_is_written_and_a_zone_stands_where_it_belongs() {
        let port = Id::random();
        for addr in ["fe80::1", "2001:db8::1", "10.0.0.1"] {
            let scoped = ScopedAddr::on(port, addr.parse().unwrap());
            assert_eq!(scoped.to_string().parse(), Ok(scoped));
        }
        let wrong = [
            "fe80::1".to_owned(),
            format!("10.0.0.1%{port}"),
            "fe80::1%eth0".to_owned(),
            "fe80::1%".to_owned(),
            String::new(),
        ];
        for text in wrong {
            assert_eq!(text.parse::<ScopedAddr>(), Err(ParseScopedAddrError), "{text}");
        }
    }
}
