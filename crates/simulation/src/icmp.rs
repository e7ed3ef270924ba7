//! What a router says of itself with ICMP: errors, echo replies (agent-facts §11).
//!
//! Such a packet leaves by the port by which the packet that it answers came, to the MAC that sent
//! that one: whatever the routes say, the way it came is a way back. It begins at the egress of that
//! port (contracts §3), so it passes the port's outbound filter and whatever is beyond; it does not
//! pass the router's own outbound chain, which filters what the router forwards. It makes no flow and
//! counts as return traffic.

use std::borrow::Cow;

use mn_flow::{DropCause, Fragment};
use mn_packet::{
    EtherType, EthernetHeader, IcmpError, IcmpHeader, IpPacket, IpProtocol, Layers, echo_reply,
    ip_packet,
};
use mn_topology::PortKind;
use mn_topology::snapshot::Lookup;

use crate::branch::Branch;
use crate::next_hop::{is_broadcast_of, own_address};
use crate::router::Inside;
use crate::simulate::{Sim, Stop};
use crate::walk::Step;
use crate::{Limit, StateView};

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// Tells the source of the packet what is wrong, from the router's port it entered by. Nothing
    /// happens where RFC 1812 §4.3.2.7 and RFC 4443 §2.4 forbid it, and in bridges, which do not
    /// speak IP.
    pub(crate) fn icmp_error(&mut self, branch: &mut Branch, error: IcmpError) {
        let Some(id) = branch.in_port else { return };
        let Lookup::Loaded(port) = self.snapshot.port(id) else { return };
        let PortKind::Router(kind) = &port.kind else { return };
        let Some(frame) = self.answerable(branch, error) else { return };
        let Some(ip) = ip_of(&frame) else { return };
        let to_broadcast = matches!(ip.dst, std::net::IpAddr::V4(v4) if is_broadcast_of(kind, v4));
        let Some(from) = own_address(kind, ip.src).filter(|_| !to_broadcast) else { return };
        let frame = error.frame(&branch.entered.reply_from(kind.mac), from, &ip);
        self.note(|| Step::Answered { device: port.device(), with: format!("ICMP {error:?}") });
        self.emit(id, frame, Limit::Error);
    }

    /// The frame as it entered the device, where an error about it may be sent. Everything that
    /// decides that is read.
    pub(crate) fn answerable(
        &mut self,
        branch: &mut Branch,
        error: IcmpError,
    ) -> Option<Cow<'a, [u8]>> {
        let packet = &mut branch.packet;
        let eth_type = packet.eth_type();
        if !matches!(eth_type, EtherType::IPV4 | EtherType::IPV6) {
            return None;
        }
        packet.eth_dst();
        packet.fragment();
        packet.nw_src();
        packet.nw_dst();
        if packet.nw_proto().is_icmp() {
            packet.tp_src();
        }
        let frame = self.frame_at_entry(branch);
        let Some(ip) = ip_of(&frame) else {
            // Keys are made of frames that can be read. Should one not be, no flow follows.
            self.once = true;
            return None;
        };
        // Its flow is that of the first fragment, which may be answered where this one is not.
        self.once |= ip.is_later_fragment() && branch.packet.fragment() == Fragment::First;
        error.may_answer(&ip, branch.entered.dst).then_some(frame)
    }

    /// Takes a packet to one of the router's own addresses.
    pub(crate) fn local(&mut self, branch: &mut Branch, inside: Inside<'a>) -> Result<(), Stop> {
        let v4 = branch.packet.eth_type() == EtherType::IPV4;
        match branch.packet.nw_proto() {
            IpProtocol::ICMP if v4 => self.echo(branch, inside, IcmpHeader::ECHO_REQUEST),
            IpProtocol::ICMPV6 if !v4 => self.echo(branch, inside, IcmpHeader::V6_ECHO_REQUEST),
            IpProtocol::UDP => {
                self.renew_dhcp(branch)?;
                // Traceroute asks with UDP and ends with this.
                self.icmp_error(branch, IcmpError::PortUnreachable);
            }
            IpProtocol::TCP => self.reset(branch),
            // The routing daemons' sessions come here.
            _ => {}
        }
        Err(DropCause::Consumed.into())
    }

    /// Answers an echo request the way it came.
    fn echo(&mut self, branch: &mut Branch, inside: Inside<'a>, request: u8) {
        if (branch.packet.tp_src() >> 8) as u8 != request {
            return;
        }
        let Some(frame) = self.frame_as_entered(branch) else { return };
        if let Some(reply) = echo_reply(&frame, inside.port.mac) {
            let device = mn_topology::DeviceId::Router(inside.port.router_id);
            self.note(|| Step::Answered { device, with: "echo reply".to_owned() });
            self.emit(inside.id, reply, Limit::Answer);
        }
    }

    /// The frame with the Ethernet header it entered the present device with.
    pub(crate) fn frame_as_entered(&self, branch: &Branch) -> Option<Vec<u8>> {
        let frame = self.frame_at_entry(branch);
        let (_, payload) = EthernetHeader::split(&frame).ok()?;
        Some(branch.entered.frame(payload))
    }

    /// The length of the packet on the wire: of the largest segment, where it is yet to be cut.
    pub(crate) fn largest_packet(&self) -> Option<usize> {
        let layers = Layers::of(self.packet.frame).ok()?;
        let ip = layers.ip()?;
        if self.packet.gso_size == 0 {
            return Some(ip.packet.len());
        }
        let network = ip.packet.len() - ip.payload.len();
        let transport = match ip.protocol {
            IpProtocol::TCP => usize::from(ip.payload.get(12)? >> 4) * 4,
            _ => mn_packet::UdpHeader::LEN,
        };
        Some((network + transport + usize::from(self.packet.gso_size)).min(ip.packet.len()))
    }

    /// Refuses a TCP segment with a reset from the address it was for (RFC 9293 §3.10.7.1).
    pub(crate) fn reset(&mut self, branch: &mut Branch) {
        let Some(id) = branch.in_port else { return };
        let Lookup::Loaded(port) = self.snapshot.port(id) else { return };
        // A reset is never answered.
        branch.packet.tcp();
        let Some(frame) = self.answerable(branch, IcmpError::Prohibited) else { return };
        let Some(ip) = ip_of(&frame) else { return };
        if ip.fragment.is_some() {
            return;
        }
        let Ok((header, data)) = mn_packet::TcpHeader::split(ip.payload) else {
            self.once = true;
            return;
        };
        let Some(reset) = header.reset(data.len()) else { return };
        let mac = match &port.kind {
            PortKind::Router(kind) => kind.mac,
            PortKind::Bridge { .. } => branch.entered.dst,
        };
        let segment = reset.segment(ip.dst, ip.src, &[]);
        let packet =
            ip_packet(ip.dst, ip.src, mn_packet::Ipv4Header::TTL, IpProtocol::TCP, &segment);
        let reply = branch.entered.reply_from(mac).frame(&packet);
        self.note(|| Step::Answered { device: port.device(), with: "TCP reset".to_owned() });
        self.emit(id, reply, Limit::Error);
    }

    /// Tells the sender of a packet that a rule rejects it: TCP with a reset, the rest with ICMP
    /// (contracts, first paragraph). On a bridge the answer has the destination's addresses.
    pub(crate) fn reject(&mut self, branch: &mut Branch) {
        let Some(id) = branch.in_port else { return };
        let Lookup::Loaded(port) = self.snapshot.port(id) else { return };
        let eth_type = branch.packet.eth_type();
        if !matches!(eth_type, EtherType::IPV4 | EtherType::IPV6) {
            return;
        }
        if branch.packet.nw_proto() == IpProtocol::TCP {
            return self.reset(branch);
        }
        if matches!(port.kind, PortKind::Router(_)) {
            return self.icmp_error(branch, IcmpError::Prohibited);
        }
        let Some(entered) = self.answerable(branch, IcmpError::Prohibited) else { return };
        let Some(ip) = ip_of(&entered) else { return };
        let from = ip.dst;
        let ethernet = branch.entered.reply_from(branch.entered.dst);
        let frame = IcmpError::Prohibited.frame(&ethernet, from, &ip);
        self.note(|| Step::Answered { device: port.device(), with: "ICMP Prohibited".to_owned() });
        self.emit(id, frame, Limit::Error);
    }
}

/// The IP packet of a frame.
fn ip_of(frame: &[u8]) -> Option<IpPacket<'_>> {
    Layers::of(frame).ok()?.ip().copied()
}
