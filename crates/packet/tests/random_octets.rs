//! Random and mutated octets: no parser panics, and what one takes it gives back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mn_packet::dhcpv4::{DhcpHeader, DhcpMessage, DhcpOption, MessageType};
use mn_packet::ndp::{self, NdMessage, PrefixInformation, RouterAdvertisement};
use mn_packet::{
    Arp, EthernetHeader, IcmpError, IcmpHeader, IpProtocol, Ipv4Header, Ipv6Header, Layers, Mac,
    TcpFlags, TcpHeader, UdpHeader, VlanTag, VxlanHeader, echo_reply, eth_type_of, ip_packet,
    reset_frame, walk_extensions,
};

const ROUNDS: u64 = 100_000;
const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// SplitMix64: numbers that follow from a seed.
struct Rng(u64);

impl Rng {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    /// The octets with some changed, some lost and some more.
    fn mutate(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut octets = octets.to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(octets.len());
            octets[at] = match self.below(3) {
                0 => octets[at] ^ 1 << self.below(8),
                1 => [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                _ => self.draw() as u8,
            };
        }
        match self.below(4) {
            0 => octets.truncate(self.below(octets.len() + 1)),
            1 => octets.extend((0..self.below(20)).map(|n| n as u8)),
            _ => {}
        }
        octets
    }
}

/// Gives mutations of these seeds to a check.
fn mutated(seed: u64, seeds: &[Vec<u8>], mut check: impl FnMut(&[u8])) {
    let mut rng = Rng(seed);
    for _ in 0..ROUNDS {
        let which = rng.below(seeds.len());
        let octets = rng.mutate(&seeds[which]);
        check(&octets);
    }
}

fn ends() -> [(IpAddr, IpAddr); 2] {
    let v6 = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    [([10, 0, 0, 1].into(), [10, 0, 0, 2].into()), (v6(1), v6(2))]
}

fn frames() -> Vec<Vec<u8>> {
    let mut frames = vec![Arp::request(A, [10, 0, 0, 1].into(), [10, 0, 0, 2].into()).frame()];
    for (src, dst) in ends() {
        let tcp = TcpHeader { src: 1, dst: 2, flags: TcpFlags::SYN, ..TcpHeader::default() };
        let echo = IcmpHeader { ty: if src.is_ipv4() { 8 } else { 128 }, code: 0, rest: [1; 4] };
        let icmp = if src.is_ipv4() { IpProtocol::ICMP } else { IpProtocol::ICMPV6 };
        for (protocol, message) in [
            (IpProtocol::TCP, tcp.segment(src, dst, b"data")),
            (IpProtocol::UDP, UdpHeader { src: 1, dst: 2 }.datagram(src, dst, b"data")),
            (icmp, echo.message(src, dst, b"data")),
            (IpProtocol::FRAGMENT, [&[6, 0, 0, 1, 0, 0, 0, 9][..], &[0; 20]].concat()),
            (IpProtocol::HOP_BY_HOP, [&[44, 0, 0, 0, 0, 0, 0, 0][..], &[17; 16]].concat()),
        ] {
            let packet = ip_packet(src, dst, 64, protocol, &message);
            let header = EthernetHeader::untagged(A, B, eth_type_of(src));
            let tagged = EthernetHeader { vlan: VlanTag::from_wire(5), ..header };
            frames.extend([header.frame(&packet), tagged.frame(&packet)]);
        }
    }
    frames
}

#[test]
fn no_frame_makes_a_parser_or_an_answer_panic() {
    mutated(1, &frames(), |frame| {
        let _ = echo_reply(frame, B);
        let Ok(layers) = Layers::of(frame) else { return };
        if let Some(ip) = layers.ip() {
            assert!(frame[layers.network_at..].starts_with(ip.packet));
            assert!(frame[ip.transport_at..].starts_with(ip.payload));
            let ethernet = layers.ethernet.reply_from(B);
            let _ = reset_frame(&ethernet, ip);
            let error = IcmpError::TooBig { mtu: 1280 };
            let _ = error.may_answer(ip, layers.ethernet.dst);
            let answer = error.frame(&ethernet, ip.dst, ip);
            assert!(Layers::of(&answer).unwrap().ip().unwrap().packet.len() <= 1280);
        }
    });
}

#[test]
fn ethernet_headers_that_are_taken_are_given_back() {
    mutated(2, &frames(), |frame| {
        let Ok((header, payload)) = EthernetHeader::split(frame) else { return };
        assert_eq!(EthernetHeader::split(&header.frame(payload)), Ok((header, payload)));
    });
}

#[test]
fn arp_packets_that_are_taken_are_given_back() {
    mutated(3, &frames()[..1], |frame| {
        let Some(Ok(arp)) = frame.get(14..).map(Arp::parse) else { return };
        assert_eq!(Arp::parse(&arp.frame()[14..]), Ok(arp));
    });
}

#[test]
fn ip_headers_that_are_taken_are_given_back() {
    mutated(4, &frames(), |frame| {
        let Some(octets) = frame.get(14..) else { return };
        if let Ok(parts) = Ipv4Header::split(octets) {
            let packet = [&parts.header.emit(parts.payload.len())[..], parts.payload].concat();
            let again = Ipv4Header::split(&packet).unwrap();
            assert_eq!((again.header, again.payload), (parts.header, parts.payload));
        }
        if let Ok((header, payload)) = Ipv6Header::split(octets) {
            let packet = [&header.emit(payload.len())[..], payload].concat();
            assert_eq!(Ipv6Header::split(&packet), Ok((header, payload)));
            if let Ok(upper) = walk_extensions(header.next_header, payload) {
                assert!(payload.ends_with(upper.payload));
            }
        }
    });
}

#[test]
fn transport_headers_that_are_taken_are_given_back() {
    let [(src, dst), _] = ends();
    let tcp = TcpHeader { src: 1, dst: 2, seq: 3, ack: 4, flags: TcpFlags::ACK, window: 5 };
    let seeds = [
        tcp.segment(src, dst, b"0123456789"),
        UdpHeader { src: 1, dst: 2 }.datagram(src, dst, b"0123456789"),
        [&VxlanHeader { vni: 7 }.emit()[..], b"inner"].concat(),
    ];
    mutated(5, &seeds, |octets| {
        if let Ok((header, data)) = TcpHeader::split(octets) {
            assert_eq!(TcpHeader::split(&header.segment(src, dst, data)), Ok((header, data)));
            let _ = header.reset(data.len());
        }
        if let Ok((header, data)) = UdpHeader::split(octets) {
            assert_eq!(UdpHeader::split(&header.datagram(src, dst, data)), Ok((header, data)));
        }
        if let Ok((header, body)) = IcmpHeader::split(octets) {
            assert_eq!(IcmpHeader::split(&header.message(src, dst, body)), Ok((header, body)));
        }
        if let Ok((header, inner)) = VxlanHeader::split(octets) {
            let again = [&header.emit()[..], inner].concat();
            assert_eq!(VxlanHeader::split(&again), Ok((header, inner)));
        }
    });
}

#[test]
fn neighbour_discovery_that_is_taken_is_given_back() {
    let (src, dst) = (ndp::link_local(A), ndp::ALL_NODES);
    let prefix = PrefixInformation {
        prefix: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        len: 64,
        on_link: true,
        autonomous: true,
        valid: 9,
        preferred: 8,
    };
    let advertisement = RouterAdvertisement {
        source_mac: Some(A),
        mtu: Some(1430),
        prefixes: vec![prefix],
        ..RouterAdvertisement::default()
    };
    let seeds = [
        NdMessage::RouterAdvertisement(advertisement).message(src, dst),
        NdMessage::RouterSolicitation { source_mac: Some(A) }.message(src, dst),
        NdMessage::NeighborSolicitation { target: src, source_mac: Some(A) }.message(src, dst),
        ndp::announce(A, src, true)[54..].to_vec(),
    ];
    mutated(6, &seeds, |octets| {
        let Ok(Some(message)) = NdMessage::parse(octets) else { return };
        assert_eq!(NdMessage::parse(&message.message(src, dst)), Ok(Some(message)));
    });
}

#[test]
fn dhcp_messages_that_are_taken_are_given_back() {
    let header = DhcpHeader {
        from_client: true,
        xid: 1,
        secs: 2,
        broadcast: false,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        chaddr: A,
    };
    let seed = header.message(&[DhcpOption::message_type(MessageType::DISCOVER)]);
    // Mutations of the fixed part are rarer to be taken: of the options there are as many.
    mutated(7, &[seed.clone(), seed[..247].to_vec()], |octets| {
        let Ok(message) = DhcpMessage::parse(octets) else { return };
        let options: Vec<_> = message
            .options()
            .filter(|(code, _)| *code != mn_packet::dhcpv4::OptionCode::OVERLOAD)
            .map(|(code, data)| DhcpOption { code, data: data.to_vec() })
            .collect();
        let emitted = message.header.message(&options);
        let again = DhcpMessage::parse(&emitted).unwrap();
        assert_eq!(again.header, message.header);
        let given: Vec<_> =
            again.options().map(|(code, data)| DhcpOption { code, data: data.to_vec() }).collect();
        assert_eq!(given, options);
    });
}
