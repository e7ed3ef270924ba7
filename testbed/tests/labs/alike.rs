//! A machine behind a filter that tracks connections, and a router that translates: it is all the
//! same whether both ends are on one host, and on which host a connection's first packet enters.

use std::time::Duration;

use mn_testbed::{Outcome, wait_for};
use serde_json::json;

use crate::cloud::{BACK0, BACK1, Cloud, FRONT0, FRONT1};
use crate::connections::guard_port;
use crate::street::{SHARED, translating};
use crate::talk::{IMPATIENCE, Server, addr, comes_back, dial, is_answered, socket};

/// What a machine of the front is known as to whoever speaks to it, by its host.
const FLOATING: [[&str; 2]; 2] =
    [["203.0.113.11", "2001:db8:1::11"], ["203.0.113.12", "2001:db8:1::12"]];
/// Open in the machines' filters; and one that is not.
const OPEN: u16 = 80;
const SHUT: u16 = 81;

/// Machines of the front have one address towards the back, and each one that stands for it.
fn translate(cloud: &Cloud) -> Outcome {
    let control = cloud.control();
    let (pre, post) = (control.chain("pre")?, control.chain("post")?);
    for (version, family) in [0x0800, 0x86dd].into_iter().enumerate() {
        let shared = SHARED[version];
        let back = json!({ "type": "rev_snat", "nwDstAddress": shared, "flowAction": "accept" });
        control.rule(&pre, &back)?;
        let forth = json!({ "type": "snat", "outPorts": [cloud.uplinks[1]], "dlType": family,
            "flowAction": "accept" });
        control.rule(&post, &translating(forth, &[(shared, shared, 1024, 65535)]))?;
        for (host, own) in
            [FRONT0, FRONT1].map(|vm| [cloud.v4(vm), cloud.v6(vm)]).iter().enumerate()
        {
            let own = &own[version];
            for port in [OPEN, SHUT] {
                let inward = json!({ "type": "dnat", "nwDstAddress": FLOATING[host][version],
                    "nwProto": 6, "tpDst": { "start": port, "end": port }, "flowAction": "accept" });
                control.rule(&pre, &translating(inward, &[(own, own, port, port)]))?;
            }
            // Before the rule that shares an address: an answer keeps the one that was asked.
            let outward = json!({ "type": "rev_dnat", "dlType": family, "nwSrcAddress": own,
                "nwProto": 6, "tpSrc": { "start": OPEN, "end": SHUT }, "flowAction": "accept" });
            control.rule(&post, &outward)?;
        }
    }
    let filters = json!({ "inboundFilterId": pre, "outboundFilterId": post });
    control.change(&format!("/routers/{}", cloud.router), &filters)
}

/// A machine of the front, behind its filter, and one of the back.
struct Pair<'a> {
    cloud: &'a Cloud,
    front: usize,
    back: usize,
    /// What serves at each.
    served: [&'a Server; 2],
}

impl Pair<'_> {
    fn name(&self) -> String {
        let [front, back] = [self.front, self.back].map(|vm| &self.cloud.vms[vm].name);
        format!("{front} and {back}")
    }

    /// The front speaks first: what it sends goes out by the shared address, answers come in.
    fn out(&self, version: usize) -> Outcome {
        let (cloud, name) = (self.cloud, self.name());
        let front = &cloud.vms[self.front];
        let to = [cloud.v4(self.back), cloud.v6(self.back)][version].clone();
        wait_for(&format!("{name}: {to} answers"), Duration::from_secs(10), || {
            Ok(front.ping(&to, 1)?.is_whole())
        })?;
        assert!(front.ping(&to, 3)?.is_whole(), "{name}: echoes of {to}");
        let before = self.served[1].peers().len();
        assert!(comes_back(&mut dial(&front.namespace, &to, 7000)?, 20_000), "{name}: TCP to {to}");
        assert!(is_answered(&socket(&front.namespace, 0, &to, 7000)?), "{name}: UDP to {to}");
        let peers = self.served[1].peers().split_off(before);
        assert_eq!(peers.len(), 2, "{name}: nothing is sent twice: {peers:?}");
        assert!(peers.iter().all(|peer| peer.ip() == addr(SHARED[version])), "{name}: {peers:?}");
        Ok(())
    }

    /// The back speaks first, to the address that stands for the front: the filter lets one port
    /// in, and what is answered is what was asked.
    fn inward(&self, version: usize) -> Outcome {
        let (cloud, name) = (self.cloud, self.name());
        let back = &cloud.vms[self.back];
        let to = FLOATING[self.front - FRONT0][version];
        let own = addr(&[cloud.v4(self.back), cloud.v6(self.back)][version]);
        let before = self.served[0].peers().len();
        assert!(comes_back(&mut dial(&back.namespace, to, OPEN)?, 20_000), "{name}: TCP to {to}");
        let peers = self.served[0].peers().split_off(before);
        assert!(peers.len() == 1 && peers[0].ip() == own, "{name}: {peers:?}");
        assert!(!back.connects(addr(to), SHUT, IMPATIENCE)?, "{name}: it is shut at {to}");
        // The filter shuts out what speaks to the machine by its own address, too.
        let own = [cloud.v4(self.front), cloud.v6(self.front)][version].clone();
        assert_eq!(back.ping(&own, 1)?.received, 0, "{name}: an echo nobody asked for");
        assert!(!back.connects(addr(SHARED[version]), OPEN, IMPATIENCE)?, "{name}: no answer");
        Ok(())
    }
}

#[test]
fn translation_and_tracking_are_alike_on_one_host_and_on_two_whichever_the_first_packet_enters_by()
-> Outcome {
    let cloud = Cloud::start("alike")?;
    translate(&cloud)?;
    let at = |vm: usize, port: u16| Server::start(&cloud.vms[vm].namespace, port);
    let (mut open, mut shut, mut backs) = (Vec::new(), Vec::new(), Vec::new());
    for front in [FRONT0, FRONT1] {
        guard_port(cloud.control(), &cloud.ports[front])?;
        open.push(at(front, OPEN)?);
        shut.push(at(front, SHUT)?);
    }
    for back in [BACK0, BACK1] {
        backs.push(at(back, 7000)?);
    }
    // Rules and neighbours are known once this passes; then each place is to be the same.
    for (front, back) in [(FRONT0, BACK0), (FRONT0, BACK1), (FRONT1, BACK0), (FRONT1, BACK1)] {
        let served = [&open[front - FRONT0], &backs[back - BACK0]];
        let pair = Pair { cloud: &cloud, front, back, served };
        for version in 0..2 {
            pair.out(version)?;
            pair.inward(version)?;
        }
    }
    assert!(shut.iter().all(|server| server.peers().is_empty()), "nothing came to what is shut");
    Ok(())
}
