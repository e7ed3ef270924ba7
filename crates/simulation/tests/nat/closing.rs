//! How translated TCP connections end.

use mn_flow::{DropCause, Expiry, Field, FlowKey, Tag, TcpClass};
use mn_packet::{TcpFlags, TcpHeader, ip_packet};
use mn_simulation::Effect;
use mn_simulation::nat::Way;
use mn_testkit::{Lab, Sent};

use crate::stories::{FLOATING, MASQUERADE, world};
use crate::traffic::{Ends, back, only};

/// The segments that a walk saw of a connection's end.
fn seen(sent: &Sent<'_>) -> Vec<(Way, TcpClass)> {
    let segment = |effect: &Effect| match effect {
        Effect::Segment { way, class, .. } => Some((*way, *class)),
        _ => None,
    };
    sent.buffers.effects.iter().filter_map(segment).collect()
}

/// A segment with these flags.
fn segment(ends: Ends, flags: TcpFlags) -> Vec<u8> {
    let header =
        TcpHeader { src: ends.src_port, dst: ends.dst_port, flags, ..TcpHeader::default() };
    let message = header.segment(ends.src, ends.dst, b"");
    ip_packet(ends.src, ends.dst, 64, ends.protocol, &message)
}

#[test]
fn one_flow_each_way_carries_a_translated_connection_from_its_beginning_to_its_end() {
    let mut lab = world(MASQUERADE.0, MASQUERADE.1);
    let syn = lab.send("vm1 > out tcp 80 syn");
    let (decision, at) = (syn.decision().unwrap(), only(&syn));
    assert!(!decision.mask.contains(Field::TcpEnds) && !decision.mask.contains(Field::Tcp));
    assert_eq!(decision.follows, Some(Way::Forward), "and the flow tells how it goes on");
    assert_eq!(seen(&syn), []);
    let effects = syn.buffers.effects.clone();
    lab.tables.learn(&effects);
    let said = lab.send("vm1 > out tcp 80 ack");
    assert_eq!(seen(&said), [(Way::Forward, TcpClass::Other)]);
    let fin = lab.send("vm1 > out tcp 80 fin");
    for later in [&said, &fin] {
        let mask = decision.mask;
        assert_eq!(mask.apply(&later.built.key), mask.apply(&syn_key(&lab)));
    }
    fin.arrives("out", 1).lasts(Expiry::Idle);
    assert_eq!(seen(&fin), [(Way::Forward, TcpClass::Fin)]);
    let answer = Ends::of(&at.headers).answer();
    for (flags, class) in [(TcpFlags::FIN, TcpClass::Fin), (TcpFlags::RST, TcpClass::Rst)] {
        let back = back(&lab, &at, &segment(answer, flags));
        back.arrives("vm1", 1).lasts(Expiry::Idle);
        assert_eq!(seen(&back), [(Way::Back, class)]);
        assert_eq!(back.decision().unwrap().follows, Some(Way::Back));
    }
}

fn syn_key(lab: &Lab) -> FlowKey {
    lab.send("vm1 > out tcp 80 syn").built.key
}

#[test]
fn what_comes_after_the_end_is_translated_as_before_and_looked_at_again_soon() {
    let mut lab = world(MASQUERADE.0, MASQUERADE.1);
    let sent = lab.send("vm1 > out tcp 80 syn");
    let (at, effects) = (only(&sent), sent.buffers.effects.clone());
    lab.tables.learn(&effects);
    let whom = Ends::of(&at.headers);
    let effects = lab.send("vm1 > out tcp 80 rst").buffers.effects.clone();
    lab.tables.learn(&effects);
    let late = lab.send("vm1 > out tcp 80 ack");
    late.arrives("out", 1).lasts(Expiry::Brief);
    assert_eq!(Ends::of(&only(&late).headers), whom);
    assert_eq!(seen(&late), [(Way::Forward, TcpClass::Other)]);
    let late = back(&lab, &at, &segment(whom.answer(), TcpFlags::ACK));
    late.arrives("vm1", 1).lasts(Expiry::Brief);
    // A SYN is told from it: it opens a new connection with the same port.
    let again = lab.send("vm1 > out tcp 80 syn");
    assert!(again.decision().unwrap().mask.contains(Field::Tcp));
    assert_eq!(seen(&again), [(Way::Forward, TcpClass::Syn)]);
    assert_eq!(Ends::of(&only(&again).headers), whom);
    let effects = again.buffers.effects.clone();
    lab.tables.learn(&effects);
    lab.send("vm1 > out tcp 80 ack").lasts(Expiry::Idle);
}

#[test]
fn an_end_that_a_filter_keeps_from_the_other_side_is_none() {
    let post = "snat 203.0.113.2@1024-65535 then-continue\n drop tcp dport 80";
    let mut lab = world(MASQUERADE.0, post);
    let fin = lab.send("vm1 > out tcp 80 fin");
    fin.drops_by("post", 1).lasts(Expiry::Idle);
    assert_eq!(seen(&fin), []);
    let effects = fin.buffers.effects.clone();
    lab.tables.learn(&effects);
    lab.send("vm1 > out tcp 80 syn").drops(DropCause::Rule);
}

#[test]
fn a_floating_address_asks_for_no_end() {
    let lab = world(FLOATING.0, FLOATING.1);
    let fin = lab.send("vm1 > out tcp 80 fin");
    fin.arrives("out", 1).lasts(Expiry::Idle);
    assert!(!fin.decision().unwrap().mask.contains(Field::TcpEnds));
    assert!(!fin.buffers.tags.iter().any(|tag| matches!(tag, Tag::Nat(_))));
}
