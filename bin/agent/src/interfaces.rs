//! The interfaces of this network namespace, by netlink.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use mn_agent_api::{Endpoint, Interface, InterfaceKind};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::sync::watch;

/// An interface and what the datapath wants to know of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    pub interface: Interface,
    /// A veth or netkit whose peer is in another namespace.
    pub peer_elsewhere: bool,
}

/// All interfaces by name.
pub type Links = BTreeMap<String, Link>;

/// After news came, how long more is waited for: they come in swarms.
const SETTLE_FOR: Duration = Duration::from_millis(2);
/// How often everything is read although nothing was heard.
const REREAD_EVERY: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The interfaces as they are, now and whenever they change. Every piece of news leads to all of
/// them being read: what was missed costs latency and never correctness.
///
/// # Errors
///
/// No netlink socket can be opened.
pub fn interfaces() -> io::Result<watch::Receiver<Links>> {
    let (sender, receiver) = watch::channel(Links::new());
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, mut messages) = new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    tokio::spawn(async move {
        loop {
            match read(&handle).await {
                Ok(links) => {
                    sender.send_if_modified(|now| {
                        let changed = *now != links;
                        if changed {
                            *now = links;
                        }
                        changed
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the interfaces cannot be read");
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
            }
            if sender.is_closed() {
                return;
            }
            // Elapsed or heard: read again either way.
            let heard = tokio::time::timeout(REREAD_EVERY, messages.next()).await;
            if matches!(heard, Ok(Some(_))) {
                tokio::time::sleep(SETTLE_FOR).await;
                while let Ok(Some(_)) = tokio::time::timeout(Duration::ZERO, messages.next()).await
                {
                }
            }
        }
    });
    Ok(receiver)
}

async fn read(handle: &Handle) -> Result<Links, rtnetlink::Error> {
    let mut by_index: BTreeMap<u32, Link> = BTreeMap::new();
    let mut links = handle.link().get().execute();
    while let Some(message) = links.try_next().await? {
        by_index.insert(message.header.index, link(&message));
    }
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await? {
        let Some(link) = by_index.get_mut(&message.header.index) else { continue };
        let own = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(addr) => Some(*addr),
            _ => None,
        });
        let any = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(addr) => Some(*addr),
            _ => None,
        });
        link.interface.addresses.extend(own.or(any));
    }
    for link in by_index.values_mut() {
        link.interface.addresses.sort_unstable();
        link.interface.addresses.dedup();
    }
    Ok(by_index.into_values().map(|link| (link.interface.name.clone(), link)).collect())
}

fn link(message: &LinkMessage) -> Link {
    let mut interface = Interface {
        name: String::new(),
        ifindex: message.header.index,
        mac: None,
        mtu: 1500,
        up: message.header.flags.contains(LinkFlags::Up),
        link: message.header.flags.contains(LinkFlags::LowerUp),
        kind: InterfaceKind::Physical,
        endpoint: Endpoint::Physical,
        addresses: Vec::<IpAddr>::new(),
    };
    let mut kind = None;
    let mut elsewhere = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::Address(octets) => interface.mac = mac(octets),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.clone()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let loopback = message.header.link_layer_type == LinkLayerType::Loopback;
    (interface.kind, interface.endpoint) = words(kind.as_ref(), loopback);
    let pair = matches!(kind, Some(InfoKind::Veth | InfoKind::Netkit));
    Link { interface, peer_elsewhere: pair && elsewhere }
}

/// The API's words for an interface.
fn words(kind: Option<&InfoKind>, loopback: bool) -> (InterfaceKind, Endpoint) {
    match kind {
        _ if loopback => (InterfaceKind::Virtual, Endpoint::Localhost),
        None => (InterfaceKind::Physical, Endpoint::Physical),
        Some(InfoKind::Tun) => (InterfaceKind::Virtual, Endpoint::TunTap),
        Some(InfoKind::Vxlan | InfoKind::GreTap | InfoKind::GreTun) => {
            (InterfaceKind::Tunnel, Endpoint::Unknown)
        }
        Some(_) => (InterfaceKind::Virtual, Endpoint::Unknown),
    }
}

fn mac(octets: &[u8]) -> Option<String> {
    let octets: [u8; 6] = octets.try_into().ok()?;
    Some(mn_packet::Mac(octets).to_string())
}
