//! The options of an answer.

use std::net::Ipv4Addr;

use mn_packet::IpPrefix;
use mn_packet::dhcpv4::{DhcpOption, MessageType, OptionCode};
use mn_topology::{DhcpHost, DhcpSubnet};

/// Seconds a lease lasts. Addresses are fixed, so it only says how often a client asks again.
const LEASE_SECONDS: u32 = 86_400;

/// The MTU of a network that says nothing else.
const MTU_DEFAULT: u16 = 1500;

/// The options of an offer or an acknowledgment, in the order of agent-facts §19.
pub(super) fn offer(
    kind: MessageType,
    subnet: &DhcpSubnet,
    host: &DhcpHost,
    server: Ipv4Addr,
    underlay_mtu: u32,
) -> Vec<DhcpOption> {
    let mut options = vec![DhcpOption::message_type(kind), DhcpOption::subnet_mask(subnet.subnet)];
    options.extend(
        subnet.subnet.broadcast().map(|addr| DhcpOption::addresses(OptionCode::BROADCAST, &[addr])),
    );
    options.push(DhcpOption::u32(OptionCode::LEASE_TIME, LEASE_SECONDS));
    options.push(DhcpOption::u16(OptionCode::MTU, mtu(subnet, underlay_mtu)));
    options.extend(
        subnet.default_gateway.map(|addr| DhcpOption::addresses(OptionCode::ROUTER, &[addr])),
    );
    options.push(DhcpOption::addresses(OptionCode::SERVER_ID, &[server]));
    if !subnet.dns_server_addrs.is_empty() {
        options.push(DhcpOption::addresses(OptionCode::DNS, &subnet.dns_server_addrs));
    }
    options.extend(routes(subnet));
    for extra in &host.extra_options {
        let Some(extra) = parse(&extra.name, &extra.value) else { continue };
        options.retain(|option| option.code != extra.code);
        options.push(extra);
    }
    options
}

/// The options of a refusal.
pub(super) fn refusal(server: Ipv4Addr) -> Vec<DhcpOption> {
    vec![
        DhcpOption::message_type(MessageType::NAK),
        DhcpOption::addresses(OptionCode::SERVER_ID, &[server]),
    ]
}

/// The smaller of what the network wants and what tunnels carry.
fn mtu(subnet: &DhcpSubnet, underlay_mtu: u32) -> u16 {
    let wanted = subnet.interface_mtu.unwrap_or(MTU_DEFAULT);
    match u16::try_from(underlay_mtu) {
        Ok(0) | Err(_) => wanted,
        Ok(limit) => wanted.min(limit),
    }
}

/// Classless routes; a client that takes them ignores the router option (RFC 3442), so the default
/// route is one of them.
fn routes(subnet: &DhcpSubnet) -> Option<DhcpOption> {
    if subnet.routes.is_empty() {
        return None;
    }
    let own = subnet.routes.iter().map(|route| (route.destination, route.gateway));
    let default = subnet.default_gateway.map(|gateway| (IpPrefix::ANY_V4, gateway));
    Some(DhcpOption::classless_routes(own.chain(default)))
}

/// An operator's option; `None` where the name is unknown or the value is none of its kind.
fn parse(name: &str, value: &str) -> Option<DhcpOption> {
    let number = name.parse().ok();
    let (code, kind) = match number {
        Some(code) => {
            let kind = KNOWN.iter().find(|(_, known, _)| *known == code).map(|row| row.2);
            (code, kind.unwrap_or(Kind::Text))
        }
        None => {
            let row = KNOWN.iter().find(|(known, ..)| *known == name)?;
            (row.1, row.2)
        }
    };
    // Pad, end and what the server itself says are not an operator's.
    if matches!(code, 0 | 53 | 255) {
        return None;
    }
    Some(DhcpOption { code: OptionCode(code), data: kind.octets(value)? })
}

/// How an option's text becomes octets.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// One address or several, with commas.
    Addresses,
    /// `true` or `false`, 1 or 0.
    Bool,
    U8,
    U16,
    U32,
    /// `DESTINATION/LENGTH,GATEWAY` pairs, with commas.
    Routes,
}

impl Kind {
    fn octets(self, value: &str) -> Option<Vec<u8>> {
        let value = value.trim();
        match self {
            Self::Text => (!value.is_empty()).then(|| value.into()),
            Self::Addresses => {
                let mut data = Vec::new();
                for addr in value.split(',') {
                    data.extend(addr.trim().parse::<Ipv4Addr>().ok()?.octets());
                }
                Some(data)
            }
            Self::Bool => match value {
                "true" | "1" => Some(vec![1]),
                "false" | "0" => Some(vec![0]),
                _ => None,
            },
            Self::U8 => Some(vec![value.parse().ok()?]),
            Self::U16 => Some(value.parse::<u16>().ok()?.to_be_bytes().into()),
            Self::U32 => Some(value.parse::<u32>().ok()?.to_be_bytes().into()),
            Self::Routes => {
                let parts: Vec<&str> = value.split(',').map(str::trim).collect();
                let mut routes = Vec::new();
                for pair in parts.chunks(2) {
                    let [destination, gateway] = pair else { return None };
                    routes.push((destination.parse().ok()?, gateway.parse().ok()?));
                }
                Some(DhcpOption::classless_routes(routes).data)
            }
        }
    }
}

/// Options by name (RFC 2132; the names are those of the field's other DHCP servers).
const KNOWN: &[(&str, u8, Kind)] = &[
    ("netmask", 1, Kind::Addresses),
    ("time-offset", 2, Kind::U32),
    ("router", 3, Kind::Addresses),
    ("dns-server", 6, Kind::Addresses),
    ("log-server", 7, Kind::Addresses),
    ("lpr-server", 9, Kind::Addresses),
    ("hostname", 12, Kind::Text),
    ("host-name", 12, Kind::Text),
    ("domain-name", 15, Kind::Text),
    ("swap-server", 16, Kind::Addresses),
    ("root-path", 17, Kind::Text),
    ("ip-forward-enable", 19, Kind::Bool),
    ("default-ttl", 23, Kind::U8),
    ("mtu", 26, Kind::U16),
    ("interface-mtu", 26, Kind::U16),
    ("broadcast", 28, Kind::Addresses),
    ("router-discovery", 31, Kind::Bool),
    ("arp-timeout", 35, Kind::U32),
    ("tcp-ttl", 37, Kind::U8),
    ("tcp-keepalive", 38, Kind::U32),
    ("nis-domain", 40, Kind::Text),
    ("nis-server", 41, Kind::Addresses),
    ("ntp-server", 42, Kind::Addresses),
    ("netbios-ns", 44, Kind::Addresses),
    ("netbios-nodetype", 46, Kind::U8),
    ("lease-time", 51, Kind::U32),
    ("T1", 58, Kind::U32),
    ("T2", 59, Kind::U32),
    ("vendor-class", 60, Kind::Text),
    ("tftp-server", 66, Kind::Text),
    ("tftp-server-name", 66, Kind::Text),
    ("bootfile-name", 67, Kind::Text),
    ("smtp-server", 69, Kind::Addresses),
    ("pop3-server", 70, Kind::Addresses),
    ("classless-static-route", 121, Kind::Routes),
    ("tftp-server-address", 150, Kind::Addresses),
    ("server-ip-address", 150, Kind::Addresses),
];
