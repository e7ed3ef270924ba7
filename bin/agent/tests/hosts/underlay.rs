//! What happens between the hosts.

use std::net::IpAddr;

use mn_flow::{Action, Cookie};
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

    /// The address a host's tunnel flows send to, where there is one peer.
    fn sends_to(&self, host: usize) -> IpAddr {
        let flows = self.flows(host).into_iter();
        let peer = flows.flat_map(|flow| flow.spec.actions).find_map(|action| match action {
            Action::Tunnel { peer, .. } => Some(peer),
            _ => None,
        });
        let peer = peer.expect("a flow that tunnels");
        self.hosts[host].datapath.peer(peer).expect("a peer with addresses").remote
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_members_new_tunnel_address_is_sent_to_and_accepted_without_any_flow_rewritten() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    for sequence in 0..3 {
        assert!(lab.pings(&one, two.mac, "10.0.1.2", sequence).await);
    }
    let before = (lab.tunnelling(0), lab.tunnelling(1));
    assert!(!before.0.is_empty() && !before.1.is_empty());

    let new: IpAddr = "192.168.200.77".parse().unwrap();
    lab.renumbers(1, new).await;
    tokio::time::sleep(SETTLE_FOR).await;
    assert_eq!(lab.sends_to(0), new);
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
