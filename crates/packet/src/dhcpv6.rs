//! DHCP for IPv6 (RFC 8415).

use core::net::Ipv6Addr;

use crate::options::{Form, Options, Taken, check};
use crate::wire::{take, take_len};
use crate::{EtherType, EthernetHeader, IpProtocol, Mac, UdpHeader, WireError, ip_packet, ndp};

/// The port clients listen on (RFC 8415 §7.2).
pub const CLIENT_PORT: u16 = 546;
/// The port servers listen on.
pub const SERVER_PORT: u16 = 547;
/// Where clients ask: all relays and servers of the link (RFC 8415 §7.1).
pub const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// What a message is for (RFC 8415 §7.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageType(pub u8);

impl MessageType {
    pub const SOLICIT: Self = Self(1);
    pub const ADVERTISE: Self = Self(2);
    pub const REQUEST: Self = Self(3);
    pub const CONFIRM: Self = Self(4);
    pub const RENEW: Self = Self(5);
    pub const REBIND: Self = Self(6);
    pub const REPLY: Self = Self(7);
    pub const RELEASE: Self = Self(8);
    pub const DECLINE: Self = Self(9);
    pub const INFORMATION_REQUEST: Self = Self(11);
}

/// The number of an option (RFC 8415 §21; 23: RFC 3646).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OptionCode(pub u16);

impl OptionCode {
    pub const CLIENT_ID: Self = Self(1);
    pub const SERVER_ID: Self = Self(2);
    pub const IA_NA: Self = Self(3);
    pub const IA_ADDR: Self = Self(5);
    pub const PREFERENCE: Self = Self(7);
    pub const STATUS: Self = Self(13);
    pub const RAPID_COMMIT: Self = Self(14);
    pub const DNS: Self = Self(23);
    pub const REFRESH_TIME: Self = Self(32);
}

/// How a request ended (RFC 8415 §21.13).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status(pub u16);

impl Status {
    pub const SUCCESS: Self = Self(0);
    pub const NO_ADDRESS: Self = Self(2);
    pub const NO_BINDING: Self = Self(3);
    pub const NOT_ON_LINK: Self = Self(4);
}

/// A message between a client and a server.
///
/// ```text
/// |   msg-type (1)  |        transaction-id (3)          |
/// |                 options                              |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DhcpV6Message<'a> {
    pub message_type: MessageType,
    pub transaction: [u8; 3],
    options: &'a [u8],
}

/// An identity association for addresses: what a client asks for, and under which number (RFC 8415
/// §21.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IdentityAssociation<'a> {
    pub iaid: [u8; 4],
    options: &'a [u8],
}

impl<'a> DhcpV6Message<'a> {
    const NAME: &'static str = "DHCPv6 message";

    /// Reads the payload of a UDP datagram.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] where it ends inside the header or an option.
    pub fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let (&[message_type, transaction @ ..], options) = take::<4>(payload, Self::NAME)?;
        check::<V6>(options)?;
        Ok(Self { message_type: MessageType(message_type), transaction, options })
    }

    /// The data of the first option with this code.
    #[must_use]
    pub fn option(&self, code: OptionCode) -> Option<&'a [u8]> {
        Options::<V6>::of(self.options).find(|(it, _)| *it == code).map(|(_, data)| data)
    }

    /// The identity associations it asks addresses for; those that are cut short are left out.
    pub fn associations(&self) -> impl Iterator<Item = IdentityAssociation<'a>> {
        Options::<V6>::of(self.options)
            .filter(|(code, _)| *code == OptionCode::IA_NA)
            .filter_map(|(_, data)| IdentityAssociation::parse(data).ok())
    }
}

impl<'a> IdentityAssociation<'a> {
    const NAME: &'static str = "DHCPv6 identity association";

    fn parse(data: &'a [u8]) -> Result<Self, WireError> {
        let (iaid, rest) = take::<4>(data, Self::NAME)?;
        let (_times, options) = take::<8>(rest, Self::NAME)?;
        check::<V6>(options)?;
        Ok(Self { iaid: *iaid, options })
    }

    /// The addresses the client names.
    pub fn addresses(self) -> impl Iterator<Item = Ipv6Addr> + use<'a> {
        Options::<V6>::of(self.options).filter(|(code, _)| *code == OptionCode::IA_ADDR).filter_map(
            |(_, data)| {
                let (octets, _) = data.split_first_chunk::<16>()?;
                Some(Ipv6Addr::from(*octets))
            },
        )
    }
}

/// A message under construction.
#[derive(Clone, Debug)]
pub struct MessageWriter(Vec<u8>);

impl MessageWriter {
    #[must_use]
    pub fn new(message_type: MessageType, transaction: [u8; 3]) -> Self {
        let mut out = Vec::with_capacity(256);
        out.push(message_type.0);
        out.extend_from_slice(&transaction);
        Self(out)
    }

    /// Appends an option. One above 65,535 octets is left out: none of ours is so long.
    #[must_use]
    pub fn option(mut self, code: OptionCode, data: &[u8]) -> Self {
        push(&mut self.0, code, data);
        self
    }

    /// Appends how the request ended, with a word for people.
    #[must_use]
    pub fn status(self, status: Status, text: &str) -> Self {
        self.option(OptionCode::STATUS, &status_data(status, text))
    }

    /// Appends an identity association with one address, all times in seconds: when to renew
    /// (`times[0]`), when to ask any server (`times[1]`), until when new connections may use the
    /// address (`times[2]`), until when it is valid (`times[3]`).
    #[must_use]
    pub fn association(self, iaid: [u8; 4], addr: Ipv6Addr, times: [u32; 4]) -> Self {
        let [renew, rebind, preferred, valid] = times;
        let mut lease = addr.octets().to_vec();
        lease.extend_from_slice(&preferred.to_be_bytes());
        lease.extend_from_slice(&valid.to_be_bytes());
        let mut data = association_head(iaid, renew, rebind);
        push(&mut data, OptionCode::IA_ADDR, &lease);
        self.option(OptionCode::IA_NA, &data)
    }

    /// Appends an identity association that gets no address, and why.
    #[must_use]
    pub fn refused_association(self, iaid: [u8; 4], status: Status, text: &str) -> Self {
        let mut data = association_head(iaid, 0, 0);
        push(&mut data, OptionCode::STATUS, &status_data(status, text));
        self.option(OptionCode::IA_NA, &data)
    }

    /// The octets of the message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

fn association_head(iaid: [u8; 4], renew: u32, rebind: u32) -> Vec<u8> {
    let mut data = iaid.to_vec();
    data.extend_from_slice(&renew.to_be_bytes());
    data.extend_from_slice(&rebind.to_be_bytes());
    data
}

fn status_data(status: Status, text: &str) -> Vec<u8> {
    let mut data = status.0.to_be_bytes().to_vec();
    data.extend_from_slice(text.as_bytes());
    data
}

fn push(out: &mut Vec<u8>, code: OptionCode, data: &[u8]) {
    let Ok(len) = u16::try_from(data.len()) else { return };
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(data);
}

/// The frame with a server's message, from the link-local address of `ethernet.src` and port 547 to
/// the client's address and port 546 (the type of the frame is set here).
#[must_use]
pub fn reply_frame(ethernet: &EthernetHeader, client: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let server = ndp::link_local(ethernet.src);
    let ports = UdpHeader { src: SERVER_PORT, dst: CLIENT_PORT };
    let datagram = ports.datagram(server.into(), client.into(), message);
    let packet = ip_packet(server.into(), client.into(), 64, IpProtocol::UDP, &datagram);
    EthernetHeader { eth_type: EtherType::IPV6, ..*ethernet }.frame(&packet)
}

/// The identifier that follows from a MAC alone: DUID-LL over Ethernet (RFC 8415 §11.4).
#[must_use]
pub fn duid_of(mac: Mac) -> [u8; 10] {
    let [a, b, c, d, e, f] = mac.0;
    [0, 3, 0, 1, a, b, c, d, e, f]
}

/// The MAC an identifier was made from: of DUID-LLT and DUID-LL over Ethernet (RFC 8415 §11.2,
/// §11.4).
#[must_use]
pub fn mac_of(duid: &[u8]) -> Option<Mac> {
    let link_layer = match duid {
        [0, 1, 0, 1, _, _, _, _, rest @ ..] | [0, 3, 0, 1, rest @ ..] => rest,
        _ => return None,
    };
    link_layer.try_into().ok().map(Mac)
}

/// Code and length of two octets each (RFC 8415 §21.1).
struct V6;

impl Form for V6 {
    type Code = OptionCode;

    fn take(octets: &[u8]) -> Result<Option<Taken<'_, OptionCode>>, WireError> {
        if octets.is_empty() {
            return Ok(None);
        }
        let (&[c0, c1, l0, l1], rest) = take::<4>(octets, "DHCPv6 option")?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let (data, rest) = take_len(rest, len, "DHCPv6 option")?;
        Ok(Some(((OptionCode(u16::from_be_bytes([c0, c1])), data), rest)))
    }
}

#[cfg(test)]
mod tests;
