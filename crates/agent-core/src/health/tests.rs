use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use mn_ids::{Id, RouterId};
use mn_packet::{
    EthernetHeader, IpProtocol, Layers, Mac, TcpFlags, TcpHeader, UdpHeader, eth_type_of, ip_packet,
};
use mn_simulation::{CHECK_PORT_FIRST, CheckKey};
use mn_time::{Duration, Instant};
use mn_topology::{Check, Health};

use super::{Assigned, Awaited, Checker, Checkers, MemberKey, Tally, Target, Told, Whereabouts};
use crate::{LocalView, StateTables, TableName};

const SECOND: Duration = Duration::from_secs(1);

fn times(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn http(codes: &str) -> Check {
    Check::Http { url_path: "/alive".parse().unwrap(), expected_codes: codes.parse().unwrap() }
}

fn target(check: Check) -> Target {
    Target {
        router: RouterId::from_uuid(uuid::Uuid::from_u128(9)),
        own: "10.0.0.1".parse().unwrap(),
        address: "10.0.0.2".parse().unwrap(),
        port: NonZeroU16::new(80).unwrap(),
        check,
        delay: 5 * SECOND,
        timeout: 2 * SECOND,
        max_retries: times(3),
    }
}

/// A checker of one member, every 5 s, 2 s each, dead after 3 that fail.
struct Story {
    checker: Checker,
    awaited: Arc<Awaited>,
    member: MemberKey,
    told: Told,
    now: Instant,
}

/// What the member is sent.
struct Sent {
    key: CheckKey,
    tcp: Option<TcpHeader>,
    data: Vec<u8>,
}

impl Story {
    fn of(check: Check) -> Self {
        let awaited = Arc::<Awaited>::default();
        let mut story = Self {
            checker: Checker::new(Arc::clone(&awaited), 7),
            awaited,
            member: (Id::random(), Id::random()),
            told: Told::default(),
            now: at(0),
        };
        story.assign(Some(check), None);
        story
    }

    fn assign(&mut self, check: Option<Check>, before: Option<Health>) {
        let target = check.map(target);
        let assigned: BTreeMap<_, _> =
            target.map(|target| (self.member, Assigned { target, before })).into_iter().collect();
        self.checker.assign(&assigned, self.now, &mut self.told);
        self.checker.tick(self.now, &mut self.told);
    }

    /// Lets time pass, and does everything in its time.
    fn until(&mut self, millis: u64) {
        while let Some(due) = self.checker.due_at().filter(|due| *due <= at(millis)) {
            self.now = self.now.max(due);
            self.checker.tick(self.now, &mut self.told);
        }
        self.now = at(millis);
    }

    fn sent(&mut self) -> Vec<Sent> {
        let frames = std::mem::take(&mut self.told.frames);
        frames.into_iter().map(|(router, frame)| sent(router, &frame)).collect()
    }

    /// The one thing that was sent.
    #[track_caller]
    fn one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1);
        sent.pop().unwrap()
    }

    /// The member says this over TCP.
    fn says(&mut self, to: &Sent, seq: u32, ack: u32, flags: TcpFlags, data: &[u8]) {
        let (own, member) = (to.key.own, to.key.member);
        let header = TcpHeader { src: member.port, dst: own.port, seq, ack, flags, window: 1000 };
        let (src, dst) = (addr(member.addr), addr(own.addr));
        let frame = frame(src, dst, IpProtocol::TCP, &header.segment(src, dst, data));
        self.checker.hear(&to.key, &frame, &mut self.told);
    }

    /// The member accepts the connection.
    fn accepts(&mut self, syn: &Sent) {
        let ack = syn.tcp.unwrap().seq.wrapping_add(1);
        self.says(syn, 1000, ack, TcpFlags::SYN | TcpFlags::ACK, &[]);
    }

    fn verdicts(&mut self) -> Vec<Health> {
        std::mem::take(&mut self.told.verdicts).into_iter().map(|(_, health)| health).collect()
    }
}

fn addr(addr: std::net::Ipv6Addr) -> IpAddr {
    mn_packet::from_v6(addr)
}

fn frame(src: IpAddr, dst: IpAddr, protocol: IpProtocol, message: &[u8]) -> Vec<u8> {
    let packet = ip_packet(src, dst, 64, protocol, message);
    EthernetHeader::untagged(Mac::ZERO, Mac::ZERO, eth_type_of(src)).frame(&packet)
}

fn sent(router: RouterId, frame: &[u8]) -> Sent {
    let layers = Layers::of(frame).unwrap();
    let ip = layers.ip().unwrap();
    let (src, dst) = ip.ports().unwrap();
    let end = |addr, port| mn_simulation::nat::Endpoint { addr: mn_packet::to_v6(addr), port };
    let key =
        CheckKey { router, protocol: ip.protocol, own: end(ip.src, src), member: end(ip.dst, dst) };
    match ip.protocol {
        IpProtocol::TCP => {
            let (tcp, data) = TcpHeader::split(ip.payload).unwrap();
            Sent { key, tcp: Some(tcp), data: data.to_vec() }
        }
        _ => Sent { key, tcp: None, data: UdpHeader::split(ip.payload).unwrap().1.to_vec() },
    }
}

#[test]
fn one_check_that_passes_makes_a_member_active_and_as_many_as_allowed_in_a_row_inactive() {
    let mut tally = Tally::default();
    assert_eq!(tally.count(false, times(2)), None);
    assert_eq!(tally.count(true, times(2)), Some(Health::Active));
    assert_eq!(tally.count(false, times(2)), None, "one may fail");
    assert_eq!(tally.count(true, times(2)), None, "it is as before");
    assert_eq!(tally.count(false, times(2)), None, "the count began anew");
    assert_eq!(tally.count(false, times(2)), Some(Health::Inactive));
    assert_eq!(tally.count(false, times(2)), None);
    assert_eq!(tally.count(true, times(2)), Some(Health::Active));
}

#[test]
fn an_accepted_connection_is_reset_and_the_member_is_active_at_once() {
    let mut story = Story::of(Check::Tcp);
    let syn = story.one();
    assert_eq!(syn.tcp.unwrap().flags, TcpFlags::SYN);
    assert!(story.awaited.has(&syn.key));
    story.accepts(&syn);
    assert_eq!(story.verdicts(), [Health::Active]);
    let reset = story.one().tcp.unwrap();
    assert_eq!((reset.flags, reset.seq), (TcpFlags::RST, syn.tcp.unwrap().seq.wrapping_add(1)));
    assert!(!story.awaited.has(&syn.key), "nothing more is waited for");
    // The next check has another port, an interval after the first.
    story.until(4999);
    assert!(story.sent().is_empty());
    story.until(5000);
    assert_ne!(story.one().key, syn.key);
}

#[test]
fn a_member_that_is_silent_is_asked_again_in_vain_and_dead_after_as_many_checks_as_allowed() {
    let mut story = Story::of(Check::Tcp);
    story.until(1999);
    let asked = story.sent();
    assert_eq!(asked.len(), 2, "a SYN is sent again after a second");
    assert_eq!(asked[0].tcp, asked[1].tcp);
    story.until(11_999);
    assert_eq!(story.verdicts(), [], "two checks have failed");
    story.until(12_000);
    assert_eq!(story.verdicts(), [Health::Inactive]);
    assert_eq!((story.told.passed, story.told.failed), (0, 3));
    // An answer that comes too late is no answer.
    story.accepts(&asked[0]);
    assert_eq!(story.verdicts(), []);
}

#[test]
fn a_refusal_fails_at_once_and_one_that_was_forged_does_not() {
    let mut story = Story::of(Check::Tcp);
    let syn = story.one();
    let ack = syn.tcp.unwrap().seq.wrapping_add(1);
    let refuse = TcpFlags::RST | TcpFlags::ACK;
    story.says(&syn, 0, ack.wrapping_add(1), refuse, &[]);
    story.says(&syn, 1000, ack.wrapping_sub(9), TcpFlags::SYN | TcpFlags::ACK, &[]);
    assert_eq!((story.told.passed, story.told.failed), (0, 0), "both do not know our number");
    story.says(&syn, 0, ack, refuse, &[]);
    assert_eq!((story.told.passed, story.told.failed), (0, 1));
}

#[test]
fn a_page_counts_by_its_status_however_the_answer_is_cut() {
    for (status, codes, passes) in
        [("200", "200", true), ("302", "200,301-304", true), ("500", "200", false)]
    {
        let mut story = Story::of(http(codes));
        let syn = story.one();
        story.accepts(&syn);
        let request = story.one();
        assert!(request.data.starts_with(b"GET /alive HTTP/1.1\r\nHost: 10.0.0.2:80\r\n"));
        let acked = request.tcp.unwrap().seq.wrapping_add(request.data.len() as u32);
        let answer = format!("HTTP/1.0 {status} So\r\n\r\n");
        let (first, rest) = answer.as_bytes().split_at(10);
        story.says(&syn, 1001, acked, TcpFlags::ACK, first);
        // Once more, and what comes too early.
        story.says(&syn, 1001, acked, TcpFlags::ACK, first);
        story.says(&syn, 1015, acked, TcpFlags::ACK, b"early");
        assert_eq!((story.told.passed, story.told.failed), (0, 0));
        story.says(&syn, 1011, acked, TcpFlags::ACK, rest);
        let passed = (story.told.passed, story.told.failed);
        assert_eq!(passed, if passes { (1, 0) } else { (0, 1) }, "{status} of {codes}");
        let last = story.sent().pop().unwrap().tcp.unwrap();
        assert!(last.flags.has(TcpFlags::RST), "the member need not keep the connection");
    }
}

#[test]
fn what_speaks_no_http_or_hangs_up_fails() {
    for (data, flags) in [
        (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], TcpFlags::ACK),
        (b"HTTP/1.1", TcpFlags::ACK | TcpFlags::FIN),
        (b"HTTP/1.1 2x0 OK", TcpFlags::ACK),
    ] {
        let mut story = Story::of(http("200"));
        let syn = story.one();
        story.accepts(&syn);
        let request = story.one();
        let acked = request.tcp.unwrap().seq.wrapping_add(request.data.len() as u32);
        story.says(&syn, 1001, acked, flags, data);
        assert_eq!((story.told.passed, story.told.failed), (0, 1), "{data:?}");
    }
}

#[test]
fn any_datagram_back_is_a_good_answer_and_none_is_a_bad_one() {
    let mut story = Story::of(Check::Udp);
    let asked = story.one();
    let (src, dst) = (addr(asked.key.member.addr), addr(asked.key.own.addr));
    let header = UdpHeader { src: asked.key.member.port, dst: asked.key.own.port };
    let answer = frame(src, dst, IpProtocol::UDP, &header.datagram(src, dst, b"!"));
    story.checker.hear(&asked.key, &answer, &mut story.told);
    assert_eq!(story.verdicts(), [Health::Active]);
    story.until(17_000);
    assert_eq!(story.verdicts(), [Health::Inactive]);
}

#[test]
fn a_live_edit_is_felt_at_once_and_the_verdict_holds_meanwhile() {
    let mut story = Story::of(Check::Tcp);
    let syn = story.one();
    story.accepts(&syn);
    assert_eq!(story.verdicts(), [Health::Active]);
    story.sent();
    story.until(2000);
    story.assign(Some(Check::Udp), None);
    assert_eq!(story.one().key.protocol, IpProtocol::UDP, "before its interval is over");
    story.until(3000);
    assert_eq!(story.verdicts(), []);
    story.assign(None, None);
    assert_eq!((story.checker.members(), story.checker.due_at()), (0, None));
    // Who takes over from another goes on with what that said.
    story.sent();
    story.assign(Some(Check::Tcp), Some(Health::Active));
    let syn = story.one();
    story.accepts(&syn);
    assert_eq!(story.verdicts(), [], "it is no news");
}

#[test]
fn a_check_that_finds_no_free_conversation_is_left_out() {
    let awaited = Arc::<Awaited>::default();
    let mut checker = Checker::new(awaited, 7);
    let one = |_| {
        let key: MemberKey = (Id::random(), Id::random());
        (key, Assigned { target: target(Check::Udp), before: None })
    };
    let ports = u32::from(u16::MAX - CHECK_PORT_FIRST) + 1;
    let assigned: BTreeMap<_, _> = (0..=ports).map(one).collect();
    let mut told = Told::default();
    checker.assign(&assigned, at(0), &mut told);
    // All of them are due by now.
    let now = at(u64::from(ports) + 1);
    checker.tick(now, &mut told);
    assert!(told.frames.len() <= ports as usize, "one conversation has one port");
    assert!(checker.due_at().is_some_and(|due| due > now), "the rest is tried later");
}

#[test]
fn nobody_is_said_to_check_before_it_is_known_where_all_ports_are() {
    let (member, here, away) = (Id::random(), Id::random(), Id::random());
    let mut local = LocalView::new(Id::random(), 1450);
    local.add_port(here, mn_flow::PortNo(1));
    let mut tables = StateTables::default();
    let of = |tables: &StateTables, at| Checkers { tables, local: &local }.of(member, &at);
    assert_eq!(of(&tables, Whereabouts::At(here)), Ok(Some(local.host)));
    assert_eq!(of(&tables, Whereabouts::At(away)), Err(vec![away]));
    assert_eq!(of(&tables, Whereabouts::Among(vec![here, away])), Err(vec![away]));
    tables.complete(TableName::Location(away));
    assert_eq!(of(&tables, Whereabouts::At(away)), Ok(None));
    assert_eq!(of(&tables, Whereabouts::Among(vec![here, away])), Ok(Some(local.host)));
}
