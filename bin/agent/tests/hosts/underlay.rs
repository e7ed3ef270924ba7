//! What happens between the hosts.

use std::net::IpAddr;

use mn_datapath::PeerAddresses;
use mn_flow::{Action, Cookie};
use mn_packet::{EtherType, EthernetHeader, IcmpHeader, IpProtocol, Layers, Mac, ip_packet};
use mn_topology::AnyObject;

use crate::lab::{Lab, SETTLE_FOR, Seen, until};

impl Lab {
    /// A host gets another address in the underlay, and its tunnel zone says so.
    async fn renumbers(&self, host: usize, addr: IpAddr) {
        self.addresses.lock().expect("no panic")[host] = addr;
        self.hosts[host].links.send_modify(|links| {
            let eth0 = links.get_mut("eth0").expect("every host has it");
            eth0.interface.addresses = vec![addr];
        });
        let id = self.hosts[host].id;
        self.change(self.zone.into(), |object| {
            if let AnyObject::TunnelZone(zone) = object {
                let member = zone.members.iter_mut().find(|member| member.host_id == id);
                member.expect("every host is a member").addr = addr;
            }
        })
        .await;
    }

    /// The MTU of a host's interface in the underlay.
    fn set_mtu(&self, host: usize, mtu: u32) {
        self.hosts[host].links.send_modify(|links| {
            links.get_mut("eth0").expect("every host has it").interface.mtu = mtu;
        });
    }

    async fn offers(&self, host: usize, mtu: u32) {
        until(&format!("an IP packet of {mtu} fits"), || async {
            self.status(host).await.tunnel_mtu == Some(mtu)
        })
        .await;
    }

    /// The flows of a host that send into a tunnel.
    fn tunnelling(&self, host: usize) -> Vec<Cookie> {
        let flows = self.flows(host).into_iter();
        let tunnels = |action: &Action| matches!(action, Action::Tunnel { .. });
        let mut cookies: Vec<Cookie> = flows
            .filter(|flow| flow.spec.actions.iter().any(tunnels))
            .map(|flow| flow.spec.cookie)
            .collect();
        cookies.sort();
        cookies
    }

    /// The addresses that a host's tunnel flows send from and to, where there is one peer.
    fn tunnel_ends(&self, host: usize) -> PeerAddresses {
        let flows = self.flows(host).into_iter();
        let peer = flows.flat_map(|flow| flow.spec.actions).find_map(|action| match action {
            Action::Tunnel { peer, .. } => Some(peer),
            _ => None,
        });
        let peer = peer.expect("a flow that tunnels");
        self.hosts[host].datapath.peer(peer).expect("a peer with addresses")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_members_new_tunnel_address_is_sent_to_and_accepted_without_any_flow_rewritten() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    // A MAC that the other host has just learned takes the flood's flow away when it is heard of.
    for sequence in 0..3 {
        assert!(lab.pings(&one, two.mac, "10.0.1.2", sequence).await);
        lab.settled().await;
    }
    let before = (lab.tunnelling(0), lab.tunnelling(1));
    assert!(!before.0.is_empty() && !before.1.is_empty());

    let new: IpAddr = "192.168.200.77".parse().unwrap();
    lab.renumbers(1, new).await;
    // Each hears of it by itself, and an answer from the old address is nobody's.
    until("both ends are the new ones", || async {
        lab.tunnel_ends(0).remote == new && lab.tunnel_ends(1).local == new
    })
    .await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 9).await, "there and back again");
    assert_eq!((lab.tunnelling(0), lab.tunnelling(1)), before, "the flows are the same ones");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_leaves_the_tunnel_zone_is_not_listened_to_any_more() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    assert!(lab.pings(&one, two.mac, "10.0.1.2", 0).await);
    let gone = lab.hosts[1].id;
    lab.change(lab.zone.into(), |object| {
        if let AnyObject::TunnelZone(zone) = object {
            zone.members.retain(|member| member.host_id != gone);
        }
    })
    .await;
    until("no peer is left", || async { lab.status(0).await.peers == 0 }).await;
    tokio::time::sleep(SETTLE_FOR).await;
    assert!(lab.tunnelling(0).is_empty(), "flows to it have left");
    lab.take_seen();
    lab.send(&two, &two.echo(one.mac, "10.0.1.1".parse().unwrap(), 1));
    tokio::time::sleep(SETTLE_FOR).await;
    let arrived = |seen: &Seen| matches!(seen, Seen::At { host: 0, .. });
    assert!(!lab.take_seen().iter().any(arrived), "nothing of it is delivered");
    lab.stop().await;
}

/// The size that an ICMPv6 "packet too big" names (RFC 4443 §3.2).
fn too_big(frame: &[u8]) -> Option<u32> {
    let layers = Layers::of(frame).ok()?;
    match layers.ip()?.payload {
        [2, 0, _, _, mtu @ ..] => Some(u32::from_be_bytes(*mtu.first_chunk()?)),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_mtu_of_the_zone_holds_on_every_host_and_for_flows_that_are_there() {
    let mut lab = Lab::new(2).await;
    let (left, right) = (lab.bridge().await, lab.bridge().await);
    let router = lab.router().await;
    lab.link(router, left, 1, &["2001:db8:1::fe/64"]).await;
    lab.link(router, right, 2, &["2001:db8:2::fe/64"]).await;
    let (one, _) = lab.station(0, left, 1, &["2001:db8:1::1"]).await;
    let _two = lab.station(1, right, 2, &["2001:db8:2::2"]).await;
    let gateway = Mac([2, 0, 0, 0, 1, 1]);
    let to: IpAddr = "2001:db8:2::2".parse().unwrap();
    for sequence in 0..3 {
        assert!(lab.pings(&one, gateway, "2001:db8:2::2", sequence).await);
    }
    let flows = lab.tunnelling(0);
    lab.offers(0, 1450).await;

    lab.set_mtu(1, 1400);
    for host in 0..2 {
        lab.offers(host, 1350).await;
    }
    tokio::time::sleep(SETTLE_FOR).await;
    let header = IcmpHeader { ty: 128, code: 0, rest: [0, 7, 0, 9] };
    let message = header.message(one.addrs[0], to, &[0; 1400 - 48]);
    let packet = ip_packet(one.addrs[0], to, 64, IpProtocol::ICMPV6, &message);
    lab.send(&one, &EthernetHeader::untagged(one.mac, gateway, EtherType::IPV6).frame(&packet));
    let refused = lab.arrives("tap1", |frame| too_big(frame).is_some()).await;
    assert_eq!(refused.and_then(|(frame, _)| too_big(&frame)), Some(1350));
    assert_eq!(lab.tunnelling(0), flows, "the flows are the same ones");

    // Its datapath goes on without the agent, with the same interface.
    lab.stop_agent(1).await;
    tokio::time::sleep(SETTLE_FOR).await;
    lab.offers(0, 1350).await;
    lab.set_mtu(1, 1500);
    lab.start(1);
    lab.offers(0, 1450).await;
    lab.stop().await;
}
