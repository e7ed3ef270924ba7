//! Questions for neighbours, answered by flows.

use mn_flow::{Action, DropCause, Rewrite, extract};
use mn_packet::ndp::{self, NdMessage};
use mn_packet::{Arp, EtherType, EthernetHeader, IpProtocol, Mac, VlanTag, ip_packet};

use super::bench::{A, B, Bench, Case, quiet};
use super::frames::{ENDS, MAC_A, MAC_B, assert_checksums, tagged, udp};
use crate::software::Sent;
use crate::{Offload, Output, UpcallReason};

pub const CASES: &[Case] = &[
    ("an ARP request is turned into its reply, which goes back", arp_is_answered),
    (
        "a solicitation is turned into its advertisement, which goes back",
        solicitations_are_answered,
    ),
    ("a question is answered while no agent lives", answered_without_an_agent),
    ("the headers of an answer are those that are foretold", headers_are_foretold),
    ("what a flow cannot answer goes up and through no action", others_go_up),
    ("an answer that does not fit drops the agent's own frame", misfit),
];

/// Who answers.
const MAC: Mac = Mac([0xac, 0xca, 0xba, 1, 2, 3]);
const ARP_ENDS: ([u8; 4], [u8; 4]) = ([10, 0, 0, 9], [10, 0, 0, 1]);

fn answer(router: bool) -> Action {
    Action::Rewrite(Rewrite::Answer { mac: MAC, router })
}

fn request() -> Arp {
    Arp::request(MAC_A, ARP_ENDS.0.into(), ARP_ENDS.1.into())
}

fn v6(text: &str) -> std::net::Ipv6Addr {
    text.parse().expect("an address in a case is one")
}

/// What a host asks for `target`, and how it would be answered.
fn solicited(asker: &str, target: &str, router: bool) -> [Vec<u8>; 2] {
    let (asker, target) = (v6(asker), v6(target));
    let question = ndp::solicit(MAC_A, asker, target);
    let asked = EthernetHeader::untagged(MAC_A, Mac::BROADCAST, EtherType::IPV6);
    [question, ndp::advertise(&asked, asker, target, MAC, router)]
}

fn back(frame: Vec<u8>) -> Sent {
    Sent { to: Output::Port(A), frame, offload: Offload::default(), mark: false }
}

fn arp_is_answered(bench: &mut dyn Bench) {
    bench.three_ports();
    let question = request().frame();
    let asked = EthernetHeader::untagged(MAC_A, Mac::BROADCAST, EtherType::ARP);
    let reply = request().reply(MAC).frame_in(&asked.reply_from(MAC));
    bench.port_flow(A, &question, &[answer(true), Action::Output(A)]);
    assert_eq!(bench.give(A, &question), [back(reply.clone())]);
    // What follows the packet, and tags, stay as they are.
    let padded = |frame: &[u8]| [frame, &[7; 18]].concat();
    assert_eq!(bench.give(A, &padded(&question)), [back(padded(&reply))]);
    let tag = |frame| tagged(frame, VlanTag::from_wire(0x2005));
    assert_eq!(bench.give(A, &tag(question)), [back(tag(reply))]);
}

fn solicitations_are_answered(bench: &mut dyn Bench) {
    bench.three_ports();
    for (asker, target, router) in [
        ("2001:db8::9", "2001:db8::1", true),
        ("fe80::9", "fe80::aeca:baff:fe01:203", true),
        ("2001:db8::9", "2001:db8::7", false),
    ] {
        let [question, told] = solicited(asker, target, router);
        let flow = bench.exact(A, &question, &[answer(router), Action::Output(A)]);
        let sent = bench.give(A, &question);
        assert_eq!(sent, [back(told)], "{asker} asks for {target}");
        assert_checksums(&sent[0].frame);
        bench.datapath().remove(&flow).expect("it is there");
    }
    // To the one that is asked alone, as when it is asked whether it is there still.
    let (asker, target) = (v6("fe80::9"), v6("fe80::1"));
    let ethernet = EthernetHeader::untagged(MAC_A, MAC, EtherType::IPV6);
    let question = NdMessage::NeighborSolicitation { target, source_mac: Some(MAC_A) };
    let question = question.frame(&ethernet, asker, target);
    bench.port_flow(A, &question, &[answer(true), Action::Output(A)]);
    let told = ndp::advertise(&ethernet, asker, target, MAC, true);
    assert_eq!(bench.give(A, &question), [back(told)]);
}

fn answered_without_an_agent(bench: &mut dyn Bench) {
    bench.three_ports();
    let questions = [request().frame(), solicited("2001:db8::9", "2001:db8::1", true)[0].clone()];
    for question in &questions {
        let actions = [Action::Copy { one_in: 1 }, answer(true), Action::Output(A)];
        bench.exact(A, question, &actions);
        assert_eq!(bench.give(A, question).len(), 1);
        let asked = bench.asked();
        assert_eq!((asked.len(), &asked[0].frame), (1, question), "a copy goes up as it came");
    }
    bench.pass(std::time::Duration::from_millis(1200));
    for question in &questions {
        assert_eq!(bench.give(A, question).len(), 1);
    }
    assert_eq!(bench.dropped(A, DropCause::AgentDown), 0, "a lost copy is no drop");
}

fn headers_are_foretold(bench: &mut dyn Bench) {
    bench.three_ports();
    for question in [request().frame(), solicited("2001:db8::9", "2001:db8::1", true)[0].clone()] {
        let rewrite = Rewrite::Answer { mac: MAC, router: true };
        bench.exact(A, &question, &[Action::Rewrite(rewrite), Action::Output(A)]);
        let sent = bench.give(A, &question);
        let mut foretold = extract(&question, A, None).expect("the question is whole");
        rewrite.apply(&mut foretold);
        assert_eq!(extract(&sent[0].frame, A, None), Ok(foretold));
    }
}

fn others_go_up(bench: &mut dyn Bench) {
    bench.three_ports();
    let [question, _] = solicited("2001:db8::9", "2001:db8::1", true);
    let mut reply = request();
    reply.op = mn_packet::ArpOp::REPLY;
    let (asker, target) = (v6("2001:db8::9"), v6("2001:db8::1"));
    let ethernet = EthernetHeader::untagged(MAC_A, MAC_B, EtherType::IPV6);
    let bare = NdMessage::NeighborSolicitation { target, source_mac: None };
    let with_nonce = {
        let mut message = NdMessage::NeighborSolicitation { target, source_mac: Some(MAC_A) }
            .message(asker, target);
        message.extend([14, 1, 1, 2, 3, 4, 5, 6]);
        let packet =
            ip_packet(asker.into(), target.into(), ndp::HOP_LIMIT, IpProtocol::ICMPV6, &message);
        ethernet.frame(&packet)
    };
    let checks_for_duplicates = bare.frame(&ethernet, std::net::Ipv6Addr::UNSPECIFIED, target);
    let far = {
        let mut frame = question.clone();
        frame[21] = 254;
        frame
    };
    for frame in [
        reply.frame(),
        bare.frame(&ethernet, asker, target),
        with_nonce,
        checks_for_duplicates,
        far,
        udp(ENDS[0], (1, 2), 10),
        udp(ENDS[1], (1, 2), 10),
    ] {
        let actions = [Action::Meter(3), Action::Output(B), answer(true), Action::Output(A)];
        let flow = bench.exact(A, &frame, &actions);
        assert_eq!(bench.give(A, &frame), []);
        let asked = bench.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].reason, &asked[0].frame), (UpcallReason::Answer, &frame));
        let flow = bench.datapath().remove(&flow).expect("removable").expect("it is there");
        assert_eq!(flow.counters.packets, 0);
    }
    assert_eq!(bench.datapath().meter(3).expect("readable").packets, 0);
}

fn misfit(bench: &mut dyn Bench) {
    bench.three_ports();
    let frame = udp(ENDS[1], (1, 2), 10);
    let sent = bench.execute(&frame, &[answer(true), Action::Output(B)]);
    quiet(bench, &sent);
    assert_eq!(bench.dropped(mn_flow::PortNo::NONE, DropCause::ActionFailed), 1);
    let [question, told] = solicited("2001:db8::9", "2001:db8::1", false);
    let sent = bench.execute(&question, &[answer(false), Action::Output(B)]);
    assert_eq!(sent, [Sent { to: Output::Port(B), ..back(told) }]);
}
