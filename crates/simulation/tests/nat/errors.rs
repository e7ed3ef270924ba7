//! ICMP errors through translations (RFC 5508 §4).

use mn_flow::{DropCause, Expiry};
use mn_packet::{IcmpHeader, IpProtocol, Layers, checksum, transport_checksum};
use mn_testkit::{Lab, named};

use crate::stories::{addr, world};
use crate::traffic::{Ends, back, only, quoted, sets_source};

#[test]
fn an_error_from_outside_reaches_the_machine_and_quotes_what_that_had_sent() {
    let mut lab = world(
        "rev-snat to 203.0.113.2/32\n rev-snat to 2001:db8:1::2/128",
        "snat 203.0.113.2@1024-65535,2001:db8:1::2@1024-65535 out-port edge.street",
    );
    for what in ["tcp 80", "udp 33434", "icmp", "tcp 80 v6", "udp 9 v6", "icmp v6"] {
        let sent = lab.send(&format!("vm1 > out {what}"));
        let (asked, arrived) = (Ends::of(&sent.built.key), only(&sent));
        let effects = sent.buffers.effects.clone();
        lab.tables.learn(&effects);
        let seen = Ends::of(&arrived.headers);
        // A router further on says so.
        let from = if seen.src.is_ipv4() { "192.0.2.77" } else { "2001:db8::77" };
        let error = back(&lab, &arrived, &seen.error(addr(from)));
        error.arrives("vm1", 1).lasts(Expiry::None);
        let headers = only(&error).headers;
        assert_eq!((Ends::of(&headers).src, Ends::of(&headers).dst), (addr(from), asked.src));
        assert_eq!(quoted(seen, &error.buffers.actions), asked, "{what}");
    }
}

#[test]
fn an_error_from_inside_leaves_with_the_public_address_and_quotes_what_came() {
    let mut lab =
        world("rev-snat to 203.0.113.2/32", "snat 203.0.113.2@1024-65535 out-port edge.street");
    for what in ["tcp 80", "udp 9", "icmp"] {
        let sent = lab.send(&format!("vm1 > out {what}"));
        let arrived = only(&sent);
        let effects = sent.buffers.effects.clone();
        lab.tables.learn(&effects);
        let answer = Ends::of(&arrived.headers).answer();
        let came = back(&lab, &arrived, &answer.packet(64));
        let (at, seen) = (only(&came), Ends::of(&only(&came).headers));
        let error = back(&lab, &at, &seen.error(addr("10.0.1.5")));
        error.arrives("out", 1);
        assert!(sets_source(&error.buffers.actions, "203.0.113.2"));
        assert_eq!(quoted(seen, &error.buffers.actions), answer, "{what}");
    }
}

#[test]
fn errors_about_a_forwarded_port_are_translated_both_ways() {
    let pre = "dnat 10.0.1.5-10.0.1.6@8080-8089 to 203.0.113.7/32 unfragmented";
    let mut lab = world(pre, "rev-dnat");
    for what in ["tcp 80", "udp 80", "icmp"] {
        let sent = lab.send(&format!("out > 203.0.113.7 {what}"));
        let (asked, at) = (Ends::of(&sent.built.key), only(&sent));
        let effects = sent.buffers.effects.clone();
        lab.tables.learn(&effects);
        let seen = Ends::of(&at.headers);
        // From the machine: to the outside it is the public address that speaks.
        let error = back(&lab, &at, &seen.error(seen.dst));
        error.arrives("out", 1);
        assert!(sets_source(&error.buffers.actions, "203.0.113.7"));
        assert_eq!(quoted(seen, &error.buffers.actions), asked, "{what}");
        // From outside, about the machine's answer.
        let came = back(&lab, &at, &seen.answer().packet(64));
        let (outside, said) = (only(&came), Ends::of(&only(&came).headers));
        let error = back(&lab, &outside, &said.error(addr("198.51.100.9")));
        assert_eq!(Ends::of(&only(&error).headers).dst, seen.dst, "{what}");
        assert_eq!(quoted(said, &error.buffers.actions), seen.answer(), "{what}");
    }
}

#[test]
fn errors_about_a_floating_address_are_translated_without_memory() {
    let lab = world(
        "dnat 10.0.1.5 to 203.0.113.5/32",
        "snat 203.0.113.5 from 10.0.1.5/32 out-port edge.street",
    );
    for what in ["tcp 80", "udp 9", "icmp", "proto 47"] {
        let sent = lab.send(&format!("vm1 > out {what}"));
        let (asked, at) = (Ends::of(&sent.built.key), only(&sent));
        let seen = Ends::of(&at.headers);
        let error = back(&lab, &at, &seen.error(addr("192.0.2.77")));
        error.arrives("vm1", 1);
        assert_eq!(quoted(seen, &error.buffers.actions), asked, "{what}");
        let sent = lab.send(&format!("out > 203.0.113.5 {what}"));
        let (asked, at) = (Ends::of(&sent.built.key), only(&sent));
        let seen = Ends::of(&at.headers);
        let error = back(&lab, &at, &seen.error(seen.dst));
        assert!(sets_source(&error.buffers.actions, "203.0.113.5"));
        assert_eq!(quoted(seen, &error.buffers.actions), asked, "{what}");
    }
}

#[test]
fn a_rule_about_quoted_addresses_changes_the_quotation_alone() {
    let post = "snat 203.0.113.5 quoted-to 10.0.1.5/32";
    let lab = world("dnat 10.0.1.5 to 203.0.113.5/32", post);
    let sent = lab.send("out > 203.0.113.5 udp 9");
    let (asked, at) = (Ends::of(&sent.built.key), only(&sent));
    // A router behind the translating one, whose own address is not translated.
    let error = back(&lab, &at, &Ends::of(&at.headers).error(addr("10.0.1.99")));
    assert_eq!(Ends::of(&only(&error).headers).src, addr("10.0.1.99"));
    assert_eq!(quoted(Ends::of(&at.headers), &error.buffers.actions), asked);
}

#[test]
fn an_error_about_nothing_that_is_known_is_not_translated() {
    let lab = world("rev-snat", "snat 203.0.113.2@1000-1999 then-continue\n drop");
    let at = only(&world("", "").send("out > vm1 udp 9"));
    let error = back(&lab, &at, &Ends::of(&at.headers).error(addr("10.0.1.5")));
    error.drops_by("post", 1);
}

/// `tenant` translates; `edge` beyond it answers for itself.
const TWO_ROUTERS: &str = "
    bridge blue
      vm1  02::01  10.0.1.5
    router tenant
      blue  02::a1  10.0.1.1/24
      edge  02::a2  10.9.0.1/30
      route 0.0.0.0/0 via edge 10.9.0.2
      in pre
      out post
    router edge
      tenant  02::b1  10.9.0.2/30
      up      02::b2  192.0.2.1/24  peer 02::99 192.0.2.254
      route 203.0.113.0/24 via tenant 10.9.0.1
    chain pre
      rev-snat
    chain post
      snat 203.0.113.2@2000-2999 out-port tenant.edge
";

#[test]
fn a_router_behind_the_translation_quotes_the_packet_as_it_came_to_it() {
    for what in ["udp 33434", "tcp 80", "icmp"] {
        let mut lab = Lab::read(TWO_ROUTERS);
        // The connection exists: the first hops were answered.
        let sent = lab.send(&format!("vm1 > 192.0.2.254 {what}"));
        let asked = Ends::of(&sent.built.key);
        let effects = sent.buffers.effects.clone();
        lab.tables.learn(&effects);
        let sent = lab.send(&format!("vm1 > 192.0.2.254 {what} ttl 2"));
        let frame = sent.drops(DropCause::TtlExpired).answered_at("edge.tenant");
        let layers = Layers::of(&frame).unwrap();
        let ip = layers.ip().unwrap();
        assert_eq!((ip.src, ip.dst), (addr("10.9.0.2"), addr("203.0.113.2")));
        let (_, quote) = IcmpHeader::split(ip.payload).unwrap();
        let inner = mn_packet::IpPacket::v4(quote, 0).unwrap();
        assert_eq!(inner.src, addr("203.0.113.2"), "{what}");
        let sum = match inner.protocol {
            IpProtocol::ICMP => checksum(inner.payload),
            other => transport_checksum(inner.src, inner.dst, other, inner.payload),
        };
        assert_eq!(sum, 0, "{what}: the quoted checksum is right");
        // On its way back it is translated like any error from outside.
        let home = lab.emit(named("edge.tenant"), &frame);
        home.arrives("vm1", 1);
        let to = lab.tables.translations.all[0].to;
        let seen = Ends { src: mn_packet::from_v6(to.addr), src_port: to.port, ..asked };
        assert_eq!(quoted(seen, &home.buffers.actions), asked, "{what}");
    }
}

#[test]
fn a_router_behind_the_translation_answers_a_ping_to_whom_it_saw() {
    let mut lab = Lab::read(TWO_ROUTERS);
    let sent = lab.send("vm1 > 10.9.0.2 icmp");
    let asked = Ends::of(&sent.built.key);
    let reply = sent.drops(DropCause::Consumed).answered_at("edge.tenant");
    // What was answered makes no flow, but the answer must find its way.
    let effects = sent.buffers.effects.clone();
    lab.tables.learn(&effects);
    let home = lab.emit(named("edge.tenant"), &reply);
    home.arrives("vm1", 1);
    assert_eq!(Ends::of(&only(&home).headers), asked.answer());
}
