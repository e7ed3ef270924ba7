//! DHCP for IPv4 (RFC 2131, RFC 2132).

use core::net::Ipv4Addr;

use crate::options::{Form, Options, Taken, check};
use crate::wire::{take, take_len};
use crate::{
    EtherType, EthernetHeader, IpPrefix, IpProtocol, Mac, UdpHeader, WireError, ip_packet,
};

/// The port servers listen on.
pub const SERVER_PORT: u16 = 67;
/// The port clients listen on.
pub const CLIENT_PORT: u16 = 68;

/// What a message is for (option 53).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageType(pub u8);

impl MessageType {
    pub const DISCOVER: Self = Self(1);
    pub const OFFER: Self = Self(2);
    pub const REQUEST: Self = Self(3);
    pub const DECLINE: Self = Self(4);
    pub const ACK: Self = Self(5);
    pub const NAK: Self = Self(6);
    pub const RELEASE: Self = Self(7);
    pub const INFORM: Self = Self(8);
}

/// The number of an option (RFC 2132; 121: RFC 3442).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct OptionCode(pub u8);

impl OptionCode {
    pub const PAD: Self = Self(0);
    pub const SUBNET_MASK: Self = Self(1);
    pub const ROUTER: Self = Self(3);
    pub const DNS: Self = Self(6);
    pub const MTU: Self = Self(26);
    pub const BROADCAST: Self = Self(28);
    pub const REQUESTED_ADDRESS: Self = Self(50);
    pub const LEASE_TIME: Self = Self(51);
    pub const OVERLOAD: Self = Self(52);
    pub const MESSAGE_TYPE: Self = Self(53);
    pub const SERVER_ID: Self = Self(54);
    pub const CLASSLESS_ROUTES: Self = Self(121);
    pub const END: Self = Self(255);
}

/// The fixed part of a message.
///
/// ```text
/// |     op (1)    |   htype (1)   |   hlen (1)    |   hops (1)    |
/// |                            xid (4)                            |
/// |           secs (2)            |           flags (2)           |
/// | ciaddr (4), yiaddr (4), siaddr (4), giaddr (4)                |
/// | chaddr (16), sname (64), file (128), cookie (4), options      |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DhcpHeader {
    /// A message of a client (BOOTREQUEST) and not of a server.
    pub from_client: bool,
    pub xid: u32,
    pub secs: u16,
    /// The client cannot take unicast yet.
    pub broadcast: bool,
    /// The client's own address, where it has one.
    pub ciaddr: Ipv4Addr,
    /// The address the client gets.
    pub yiaddr: Ipv4Addr,
    /// The server of the next step of booting.
    pub siaddr: Ipv4Addr,
    /// The relay.
    pub giaddr: Ipv4Addr,
    pub chaddr: Mac,
}

/// A message as it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DhcpMessage<'a> {
    pub header: DhcpHeader,
    options: &'a [u8],
    /// Options in the fields `file` and `sname`, where option 52 says so.
    overload: [&'a [u8]; 2],
}

/// An option as octets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DhcpOption {
    pub code: OptionCode,
    /// Longer than 255 octets it goes out in pieces (RFC 3396).
    pub data: Vec<u8>,
}

impl<'a> DhcpMessage<'a> {
    const FIXED: usize = 44;
    const COOKIE: [u8; 4] = [99, 130, 83, 99];
    const HEADER: &'static str = "DHCP message";

    /// Reads the payload of a UDP datagram.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] where it ends before the options do, or inside one (a missing end
    /// option alone is let pass); [`WireError::Malformed`] where it is not DHCP over Ethernet.
    pub fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let malformed = |what| WireError::malformed(Self::HEADER, what);
        let (fixed, rest) = take::<{ DhcpMessage::FIXED }>(payload, Self::HEADER)?;
        let (sname, rest) = take::<64>(rest, Self::HEADER)?;
        let (file, rest) = take::<128>(rest, Self::HEADER)?;
        let (cookie, options) = take::<4>(rest, Self::HEADER)?;
        let [op, hardware @ .., _] = *fixed.first_chunk::<4>().expect("44 octets begin with 4");
        if !matches!(op, 1 | 2) || hardware != [1, 6] || *cookie != Self::COOKIE {
            return Err(malformed("not DHCP over Ethernet"));
        }
        check::<V4>(options)?;
        let mut message = Self { header: DhcpHeader::read(fixed), options, overload: [&[], &[]] };
        let overload = message.option(OptionCode::OVERLOAD).and_then(|data| data.first());
        match overload {
            Some(1) => message.overload = [file, &[]],
            Some(2) => message.overload = [&[], sname],
            Some(3) => message.overload = [file, sname],
            _ => {}
        }
        message.overload.iter().try_for_each(|octets| check::<V4>(octets))?;
        Ok(message)
    }

    /// Its options in order, pads and ends left out.
    pub fn options(&self) -> impl Iterator<Item = (OptionCode, &'a [u8])> {
        let [file, sname] = self.overload;
        [self.options, file, sname].into_iter().flat_map(Options::<V4>::of)
    }

    /// The data of the first option with this code.
    #[must_use]
    pub fn option(&self, code: OptionCode) -> Option<&'a [u8]> {
        self.options().find(|(it, _)| *it == code).map(|(_, data)| data)
    }

    /// What the message is for; `None` for plain BOOTP.
    #[must_use]
    pub fn message_type(&self) -> Option<MessageType> {
        match self.option(OptionCode::MESSAGE_TYPE)? {
            [ty] => Some(MessageType(*ty)),
            _ => None,
        }
    }

    /// The address in an option that holds one.
    #[must_use]
    pub fn address(&self, code: OptionCode) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.option(code)?.try_into().ok()?;
        Some(octets.into())
    }
}

impl DhcpHeader {
    /// Reads the octets before `sname`.
    fn read(fixed: &[u8; DhcpMessage::FIXED]) -> Self {
        let [op, _, _, _, x0, x1, x2, x3, s0, s1, flags, _, rest @ ..] = *fixed;
        let [c0, c1, c2, c3, y0, y1, y2, y3, n0, n1, n2, n3, g0, g1, g2, g3, h @ ..] = rest;
        let [h0, h1, h2, h3, h4, h5, ..] = h;
        Self {
            from_client: op == 1,
            xid: u32::from_be_bytes([x0, x1, x2, x3]),
            secs: u16::from_be_bytes([s0, s1]),
            broadcast: flags & 0x80 != 0,
            ciaddr: Ipv4Addr::new(c0, c1, c2, c3),
            yiaddr: Ipv4Addr::new(y0, y1, y2, y3),
            siaddr: Ipv4Addr::new(n0, n1, n2, n3),
            giaddr: Ipv4Addr::new(g0, g1, g2, g3),
            chaddr: Mac([h0, h1, h2, h3, h4, h5]),
        }
    }

    /// The message with these options, an end after them. Padded to the 300 octets that BOOTP
    /// relays and old clients ask for (RFC 1542 §2.1).
    #[must_use]
    pub fn message(&self, options: &[DhcpOption]) -> Vec<u8> {
        const LEN_MIN: usize = 300;
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(&[if self.from_client { 1 } else { 2 }, 1, 6, 0]);
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.extend_from_slice(&self.secs.to_be_bytes());
        out.extend_from_slice(&[if self.broadcast { 0x80 } else { 0 }, 0]);
        for addr in [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr] {
            out.extend_from_slice(&addr.octets());
        }
        out.extend_from_slice(&self.chaddr.0);
        // The rest of chaddr, and sname and file, which we leave empty.
        out.extend_from_slice(&[0; 10 + 64 + 128]);
        out.extend_from_slice(&DhcpMessage::COOKIE);
        for option in options {
            option.emit(&mut out);
        }
        out.push(OptionCode::END.0);
        out.resize(out.len().max(LEN_MIN), 0);
        out
    }

    /// The header of the answer to this message: the client gets `yiaddr` (unspecified in a NAK).
    #[must_use]
    pub const fn reply(&self, yiaddr: Ipv4Addr) -> Self {
        Self { from_client: false, secs: 0, yiaddr, siaddr: Ipv4Addr::UNSPECIFIED, ..*self }
    }
}

/// The frame with a server's message: from port 67 to port 68, in a frame with this Ethernet header
/// (its type is set here).
#[must_use]
pub fn reply_frame(
    ethernet: &EthernetHeader,
    server: Ipv4Addr,
    dst: Ipv4Addr,
    message: &[u8],
) -> Vec<u8> {
    let ports = UdpHeader { src: SERVER_PORT, dst: CLIENT_PORT };
    let datagram = ports.datagram(server.into(), dst.into(), message);
    let packet = ip_packet(server.into(), dst.into(), 64, IpProtocol::UDP, &datagram);
    EthernetHeader { eth_type: EtherType::IPV4, ..*ethernet }.frame(&packet)
}

impl DhcpOption {
    /// An option of one octet.
    #[must_use]
    pub fn octet(code: OptionCode, value: u8) -> Self {
        Self { code, data: vec![value] }
    }

    /// An option of one 16-bit number, e.g. the MTU.
    #[must_use]
    pub fn u16(code: OptionCode, value: u16) -> Self {
        Self { code, data: value.to_be_bytes().into() }
    }

    /// An option of one 32-bit number, e.g. a time in seconds.
    #[must_use]
    pub fn u32(code: OptionCode, value: u32) -> Self {
        Self { code, data: value.to_be_bytes().into() }
    }

    /// An option of one address or several, e.g. routers.
    #[must_use]
    pub fn addresses(code: OptionCode, addrs: &[Ipv4Addr]) -> Self {
        Self { code, data: addrs.iter().flat_map(Ipv4Addr::octets).collect() }
    }

    /// What the message is for.
    #[must_use]
    pub fn message_type(ty: MessageType) -> Self {
        Self::octet(OptionCode::MESSAGE_TYPE, ty.0)
    }

    /// The mask of a subnet; of an IPv6 one all ones.
    #[must_use]
    pub fn subnet_mask(subnet: IpPrefix) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(subnet.len().min(32))).unwrap_or(0);
        Self::u32(OptionCode::SUBNET_MASK, mask)
    }

    /// Routes, each a destination and its gateway, in the packed form of RFC 3442: a length, as
    /// many octets as it has significant ones, the gateway. IPv6 destinations are left out.
    #[must_use]
    pub fn classless_routes(routes: impl IntoIterator<Item = (IpPrefix, Ipv4Addr)>) -> Self {
        let mut data = Vec::new();
        for (destination, gateway) in routes {
            if let core::net::IpAddr::V4(network) = destination.network() {
                data.push(destination.len());
                let significant = usize::from(destination.len().div_ceil(8));
                data.extend_from_slice(&network.octets()[..significant]);
                data.extend_from_slice(&gateway.octets());
            }
        }
        Self { code: OptionCode::CLASSLESS_ROUTES, data }
    }

    /// Appends the option; one above 255 octets as several with one code (RFC 3396 §5), an empty
    /// one as one.
    fn emit(&self, out: &mut Vec<u8>) {
        if self.data.is_empty() {
            out.extend_from_slice(&[self.code.0, 0]);
        }
        for piece in self.data.chunks(usize::from(u8::MAX)) {
            out.extend_from_slice(&[self.code.0, piece.len() as u8]);
            out.extend_from_slice(piece);
        }
    }
}

/// Octets of code and length, pads between them, an end after the last (RFC 2132 §2).
struct V4;

impl Form for V4 {
    type Code = OptionCode;

    fn take(mut octets: &[u8]) -> Result<Option<Taken<'_, OptionCode>>, WireError> {
        loop {
            let Some((&code, rest)) = octets.split_first() else { return Ok(None) };
            octets = rest;
            match OptionCode(code) {
                OptionCode::PAD => {}
                OptionCode::END => return Ok(None),
                code => {
                    let (&[len], rest) = take::<1>(octets, "DHCP option")?;
                    let (data, rest) = take_len(rest, usize::from(len), "DHCP option")?;
                    return Ok(Some(((code, data), rest)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
