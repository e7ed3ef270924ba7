//! DHCPv4 for the ports of bridges (agent-facts §19; RFC 2131).

mod options;

use std::net::{IpAddr, Ipv4Addr};

use mn_flow::{DropCause, Fragment, Tag};
use mn_ids::PortId;
use mn_packet::dhcpv4::{
    CLIENT_PORT, DhcpMessage, MessageType, OptionCode, SERVER_PORT, reply_frame,
};
use mn_packet::{EtherType, EthernetHeader, IpProtocol, Layers, Mac, UdpHeader};
use mn_topology::snapshot::BridgeView;
use mn_topology::{DeviceId, DhcpHost, DhcpSubnet, Port, PortKind};

use crate::branch::Branch;
use crate::simulate::{Sim, Stop};
use crate::walk::Step;
use crate::{Entry, Limit, StateView};

/// The MAC that answers come from, where no router has the server's address.
pub const SERVER_MAC: Mac = Mac([0x02, 0xa8, 0x9c, 0xde, 0x39, 0x27]);

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// Answers a client behind an exterior port of a bridge, before any filter: what a client must
    /// have to begin with is not for its tenant's rules.
    pub(crate) fn serve_dhcp(&mut self, branch: &mut Branch, port: &Port) -> Result<(), Stop> {
        let PortKind::Bridge { bridge_id, .. } = port.kind else { return Ok(()) };
        if !branch.in_exterior || self.inputs.entry != Entry::Ingress(port.id) {
            return Ok(());
        }
        self.tag(Tag::Dhcp(bridge_id));
        let bridge = self.found(self.snapshot.bridge(bridge_id), bridge_id)?;
        let serves = bridge.dhcp_subnets().iter().any(|subnet| subnet.enabled);
        if !serves {
            return Ok(());
        }
        let dst = branch.packet.eth_dst();
        if (dst.is_broadcast() || dst == SERVER_MAC) && is_request(branch) {
            return self.answer(branch, bridge, port.id);
        }
        Ok(())
    }

    /// Answers a client that renews its lease by asking the server itself, whose address a router
    /// has: the packet has been found to be for that router.
    pub(crate) fn renew_dhcp(&mut self, branch: &mut Branch) -> Result<(), Stop> {
        let Entry::Ingress(client) = self.inputs.entry else { return Ok(()) };
        let client = self.port(client)?;
        let PortKind::Bridge { bridge_id, .. } = client.kind else { return Ok(()) };
        if client.binding().is_none() || !is_request(branch) {
            return Ok(());
        }
        self.tag(Tag::Dhcp(bridge_id));
        let bridge = self.found(self.snapshot.bridge(bridge_id), bridge_id)?;
        self.answer(branch, bridge, client.id)
    }

    /// Answers, if the client is one of the bridge's; else the packet goes on.
    fn answer(
        &mut self,
        branch: &mut Branch,
        bridge: &BridgeView,
        client: PortId,
    ) -> Result<(), Stop> {
        // What the message says is in no key.
        self.once = true;
        let Some(request) = request(self.packet.frame) else { return Ok(()) };
        let known =
            bridge.dhcp_subnets().iter().filter(|subnet| subnet.enabled).find_map(|subnet| {
                let host = subnet.hosts.iter().find(|host| host.mac == request.header.chaddr)?;
                Some((subnet, host))
            });
        let Some((subnet, host)) = known else { return Ok(()) };
        let Some(kind) = kind_of_answer(&request, host) else {
            return Err(DropCause::Consumed.into());
        };
        let server = server_addr(subnet).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let refused = kind == MessageType::NAK;
        let options = if refused {
            options::refusal(server)
        } else {
            options::offer(kind, subnet, host, server, self.inputs.mtu)
        };
        let addr = if refused { Ipv4Addr::UNSPECIFIED } else { host.addr };
        let message = request.header.reply(addr).message(&options);
        let ethernet = EthernetHeader {
            dst: request.header.chaddr,
            src: SERVER_MAC,
            ..self.packet_ethernet(branch)
        };
        let frame = reply_frame(&ethernet, server, Ipv4Addr::BROADCAST, &message);
        let with = match kind {
            MessageType::OFFER => format!("DHCP offer of {addr}"),
            MessageType::ACK => format!("DHCP lease of {addr}"),
            _ => "DHCP refusal".to_owned(),
        };
        self.note(|| Step::Answered { device: DeviceId::Bridge(bridge.id), with });
        self.emit(client, frame, Limit::Answer);
        Err(DropCause::Consumed.into())
    }

    /// The Ethernet header the packet arrived with.
    pub(crate) fn packet_ethernet(&self, branch: &Branch) -> EthernetHeader {
        EthernetHeader::split(self.packet.frame).map_or(branch.entered, |(header, _)| header)
    }
}

/// Whether it goes from a client's to a server's port.
fn is_request(branch: &mut Branch) -> bool {
    let packet = &mut branch.packet;
    packet.eth_type() == EtherType::IPV4
        && packet.nw_proto() == IpProtocol::UDP
        && packet.fragment() == Fragment::None
        && packet.tp_dst() == SERVER_PORT
        && packet.tp_src() == CLIENT_PORT
}

/// The client's message; relayed ones are not ours to answer.
fn request(frame: &[u8]) -> Option<DhcpMessage<'_>> {
    let layers = Layers::of(frame).ok()?;
    let (_, payload) = UdpHeader::split(layers.ip()?.payload).ok()?;
    let message = DhcpMessage::parse(payload).ok()?;
    let own = message.header.from_client
        && message.header.giaddr.is_unspecified()
        && message.header.chaddr == layers.ethernet.src;
    own.then_some(message)
}

/// What to answer; `None`: nothing (RFC 2131 §4.3).
fn kind_of_answer(request: &DhcpMessage<'_>, host: &DhcpHost) -> Option<MessageType> {
    match request.message_type()? {
        MessageType::DISCOVER => Some(MessageType::OFFER),
        MessageType::REQUEST => {
            // A client that renews names its address in ciaddr.
            let wanted = request
                .address(OptionCode::REQUESTED_ADDRESS)
                .or(Some(request.header.ciaddr).filter(|addr| !addr.is_unspecified()));
            let right = wanted.is_none_or(|addr| addr == host.addr);
            Some(if right { MessageType::ACK } else { MessageType::NAK })
        }
        _ => None,
    }
}

/// The address a subnet's server answers from.
fn server_addr(subnet: &DhcpSubnet) -> Option<Ipv4Addr> {
    subnet.server_addr.or(subnet.default_gateway)
}

/// The MAC to answer ARP with for a server's address that no router has.
pub(crate) fn server_mac(bridge: &BridgeView, addr: IpAddr) -> Option<Mac> {
    let is_server =
        |subnet: &DhcpSubnet| subnet.enabled && subnet.server_addr.map(IpAddr::V4) == Some(addr);
    bridge.dhcp_subnets().iter().any(|subnet| is_server(subnet)).then_some(SERVER_MAC)
}
