//! DHCPv6 for the ports of bridges (RFC 8415): addresses for the clients that have an entry, name
//! servers for all (stateless DHCPv6, §18.3.6).

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use mn_flow::{DropCause, Fragment, Tag};
use mn_packet::dhcpv6::{
    CLIENT_PORT, DhcpV6Message, MessageType, MessageWriter, OptionCode, SERVER_PORT, SERVERS,
    Status, duid_of, reply_frame,
};
use mn_packet::{EtherType, EthernetHeader, IpProtocol, Layers, Mac, UdpHeader};
use mn_topology::snapshot::BridgeView;
use mn_topology::{DeviceId, DhcpV6Subnet, Port, PortKind};

use crate::branch::Branch;
use crate::dhcp::SERVER_MAC;
use crate::simulate::{Sim, Stop};
use crate::walk::Step;
use crate::{Entry, Limit, StateView};

/// Seconds an address is valid, and may be used for new connections. Addresses are fixed, so it
/// only says how often a client asks again.
const VALID_SECONDS: u32 = 86_400;
/// When to renew and when to ask any server: half and four fifths of it (RFC 8415 §21.4).
const TIMES: [u32; 4] = [VALID_SECONDS / 2, VALID_SECONDS / 5 * 4, VALID_SECONDS, VALID_SECONDS];
/// What clients of stateless DHCPv6 ask again after (RFC 8415 §21.23).
const REFRESH_SECONDS: u32 = 86_400;
/// The Ethernet group of [`SERVERS`] (RFC 2464 §7).
const SERVERS_MAC: Mac = Mac([0x33, 0x33, 0, 1, 0, 2]);

/// A message that is ours to answer.
struct Request<'a> {
    message: DhcpV6Message<'a>,
    client_id: &'a [u8],
    mac: Mac,
    addr: Ipv6Addr,
}

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// Answers a client behind an exterior port of a bridge, before any filter, as DHCPv4 does.
    pub(crate) fn serve_dhcp_v6(&mut self, branch: &mut Branch, port: &Port) -> Result<(), Stop> {
        let PortKind::Bridge { bridge_id, .. } = port.kind else { return Ok(()) };
        if !branch.in_exterior || self.inputs.entry != Entry::Ingress(port.id) {
            return Ok(());
        }
        self.tag(Tag::Dhcp(bridge_id));
        let bridge = self.found(self.snapshot.bridge(bridge_id), bridge_id)?;
        if bridge.dhcp_v6_subnets().is_empty() || !is_request(branch) {
            return Ok(());
        }
        // What the message says is in no key.
        self.once = true;
        let Some(request) = request(self.packet.frame) else { return Ok(()) };
        let Some((message, with)) = answer(&request, bridge) else { return Ok(()) };
        let ethernet =
            EthernetHeader { dst: request.mac, src: SERVER_MAC, ..self.packet_ethernet(branch) };
        let frame = reply_frame(&ethernet, request.addr, &message);
        self.note(|| Step::Answered { device: DeviceId::Bridge(bridge_id), with });
        self.emit(port.id, frame, Limit::Answer);
        Err(DropCause::Consumed.into())
    }
}

/// Whether it goes from a client's port to all servers. Clients ask a server alone only where it
/// said so (RFC 8415 §21.12); we never do.
fn is_request(branch: &mut Branch) -> bool {
    let packet = &mut branch.packet;
    packet.eth_dst() == SERVERS_MAC
        && packet.eth_type() == EtherType::IPV6
        && packet.nw_proto() == IpProtocol::UDP
        && packet.fragment() == Fragment::None
        && packet.tp_dst() == SERVER_PORT
        && packet.tp_src() == CLIENT_PORT
}

/// The client's message. Without a client identifier nobody asks for an address (RFC 8415 §16).
fn request(frame: &[u8]) -> Option<Request<'_>> {
    let layers = Layers::of(frame).ok()?;
    let ip = layers.ip()?;
    let (IpAddr::V6(addr), IpAddr::V6(SERVERS)) = (ip.src, ip.dst) else { return None };
    let (_, payload) = UdpHeader::split(ip.payload).ok()?;
    let message = DhcpV6Message::parse(payload).ok()?;
    let client_id = message.option(OptionCode::CLIENT_ID).unwrap_or_default();
    let mac = layers.ethernet.src;
    let known = addr.is_unicast_link_local()
        && (!client_id.is_empty() || message.message_type == MessageType::INFORMATION_REQUEST);
    known.then_some(Request { message, client_id, mac, addr })
}

/// The answer and its name for people; `None`: it is not ours to answer.
fn answer(request: &Request<'_>, bridge: &BridgeView) -> Option<(Vec<u8>, String)> {
    let subnets = bridge.dhcp_v6_subnets();
    let own_id = duid_of(SERVER_MAC);
    let asked = request.message.option(OptionCode::SERVER_ID);
    let ours = asked == Some(&own_id[..]);
    match request.message.message_type {
        MessageType::INFORMATION_REQUEST if asked.is_none() || ours => {
            let dns = dns_servers(subnets);
            let known = !dns.is_empty();
            let refresh = REFRESH_SECONDS.to_be_bytes();
            let reply = reply(request, MessageType::REPLY, subnets);
            let reply = reply.option(OptionCode::REFRESH_TIME, &refresh).finish();
            known.then(|| (reply, "DHCPv6 configuration".to_owned()))
        }
        MessageType::SOLICIT if asked.is_none() => {
            let rapid = request.message.option(OptionCode::RAPID_COMMIT).is_some();
            let kind = if rapid { MessageType::REPLY } else { MessageType::ADVERTISE };
            let reply = leases(request, reply(request, kind, subnets), subnets)?;
            Some(if rapid {
                let (reply, addrs) = (reply.0.option(OptionCode::RAPID_COMMIT, &[]), reply.1);
                (reply.finish(), format!("DHCPv6 lease of {addrs}"))
            } else {
                // The only server there is: the client need not wait for others (§18.2.1).
                let (reply, addrs) = (reply.0.option(OptionCode::PREFERENCE, &[255]), reply.1);
                (reply.finish(), format!("DHCPv6 offer of {addrs}"))
            })
        }
        MessageType::REQUEST | MessageType::RENEW if ours => lease(request, subnets),
        MessageType::REBIND if asked.is_none() => lease(request, subnets),
        MessageType::CONFIRM if asked.is_none() => confirm(request, subnets),
        MessageType::RELEASE | MessageType::DECLINE if ours => {
            let known = addresses(request, subnets).next().is_some();
            // Addresses are fixed: there is nothing to give back.
            let reply = reply(request, MessageType::REPLY, &[]).status(Status::SUCCESS, "");
            known.then(|| (reply.finish(), "DHCPv6 release".to_owned()))
        }
        _ => None,
    }
}

/// What every answer begins with.
fn reply(request: &Request<'_>, kind: MessageType, subnets: &[Arc<DhcpV6Subnet>]) -> MessageWriter {
    let mut reply = MessageWriter::new(kind, request.message.transaction);
    if !request.client_id.is_empty() {
        reply = reply.option(OptionCode::CLIENT_ID, request.client_id);
    }
    reply = reply.option(OptionCode::SERVER_ID, &duid_of(SERVER_MAC));
    let dns = dns_servers(subnets);
    if dns.is_empty() { reply } else { reply.option(OptionCode::DNS, &dns) }
}

fn lease(request: &Request<'_>, subnets: &[Arc<DhcpV6Subnet>]) -> Option<(Vec<u8>, String)> {
    let reply = reply(request, MessageType::REPLY, subnets);
    let (reply, addrs) = leases(request, reply, subnets)?;
    Some((reply.finish(), format!("DHCPv6 lease of {addrs}")))
}

/// Gives each of the client's associations one of its addresses; `None`: it has none here.
fn leases(
    request: &Request<'_>,
    mut reply: MessageWriter,
    subnets: &[Arc<DhcpV6Subnet>],
) -> Option<(MessageWriter, String)> {
    let mut addrs = addresses(request, subnets).peekable();
    addrs.peek()?;
    let mut given = Vec::new();
    for association in request.message.associations() {
        reply = match addrs.next() {
            Some(addr) => {
                given.push(addr.to_string());
                reply.association(association.iaid, addr, TIMES)
            }
            None => reply.refused_association(
                association.iaid,
                Status::NO_ADDRESS,
                "this client has no more addresses",
            ),
        };
    }
    Some((reply, given.join(", ")))
}

/// Tells a client that came back whether its addresses are still of this link (RFC 8415 §18.3.3).
fn confirm(request: &Request<'_>, subnets: &[Arc<DhcpV6Subnet>]) -> Option<(Vec<u8>, String)> {
    addresses(request, subnets).next()?;
    let mut named = request.message.associations().flat_map(|it| it.addresses()).peekable();
    named.peek()?;
    let here = |addr: Ipv6Addr| subnets.iter().any(|subnet| subnet.prefix.contains(addr.into()));
    let (status, with) = if named.all(here) {
        (Status::SUCCESS, "DHCPv6 confirmation")
    } else {
        (Status::NOT_ON_LINK, "DHCPv6 refusal")
    };
    let reply = reply(request, MessageType::REPLY, &[]).status(status, "");
    Some((reply.finish(), with.to_owned()))
}

/// The addresses a client has here.
fn addresses(
    request: &Request<'_>,
    subnets: &[Arc<DhcpV6Subnet>],
) -> impl Iterator<Item = Ipv6Addr> {
    let hosts = subnets.iter().flat_map(|subnet| &subnet.hosts);
    let own = hosts.filter(|host| host.client_id.is_of(request.client_id, request.mac));
    own.map(|host| host.fixed_address)
}

/// The name servers of all subnets, as the option has them.
fn dns_servers(subnets: &[Arc<DhcpV6Subnet>]) -> Vec<u8> {
    let addrs = subnets.iter().flat_map(|subnet| &subnet.dns_server_addrs);
    addrs.flat_map(Ipv6Addr::octets).collect()
}
