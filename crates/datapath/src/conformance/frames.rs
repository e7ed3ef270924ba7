//! Frames that the cases give to engines, and what they look for in frames that come out.

use std::net::IpAddr;

use mn_packet::{
    EthernetHeader, IpPacket, IpProtocol, Layers, Mac, TcpFlags, TcpHeader, UdpHeader, VlanTag,
    checksum, eth_type_of, ip_packet, transport_checksum,
};

/// The MACs of the frames' ends.
pub const MAC_A: Mac = Mac([0x02, 0xaa, 0, 0, 0, 1]);
pub const MAC_B: Mac = Mac([0x02, 0xbb, 0, 0, 0, 2]);
/// Addresses of the frames' ends, of both versions.
pub const ENDS: [(&str, &str); 2] = [("10.0.0.1", "192.168.7.9"), ("2001:db8::1", "2001:db8:7::9")];

/// Reads an address of the case's text.
///
/// # Panics
///
/// Where it is none.
#[must_use]
pub fn addr(text: &str) -> IpAddr {
    text.parse().expect("an address in a case is one")
}

/// An untagged frame from A to B with one transport message.
#[must_use]
pub fn frame(ends: (&str, &str), hops: u8, protocol: IpProtocol, message: &[u8]) -> Vec<u8> {
    let (src, dst) = (addr(ends.0), addr(ends.1));
    let packet = ip_packet(src, dst, hops, protocol, message);
    EthernetHeader::untagged(MAC_A, MAC_B, eth_type_of(src)).frame(&packet)
}

/// A UDP frame with so much payload, hop limit 64.
#[must_use]
pub fn udp(ends: (&str, &str), ports: (u16, u16), len: usize) -> Vec<u8> {
    let header = UdpHeader { src: ports.0, dst: ports.1 };
    let datagram = header.datagram(addr(ends.0), addr(ends.1), &vec![0x5a; len]);
    frame(ends, 64, IpProtocol::UDP, &datagram)
}

/// A TCP frame with so much payload, hop limit 64.
#[must_use]
pub fn tcp(ends: (&str, &str), ports: (u16, u16), flags: TcpFlags, len: usize) -> Vec<u8> {
    let header = TcpHeader { src: ports.0, dst: ports.1, seq: 7, ack: 9, flags, window: 500 };
    let segment = header.segment(addr(ends.0), addr(ends.1), &vec![0xa5; len]);
    frame(ends, 64, IpProtocol::TCP, &segment)
}

/// The frame with this hop limit; an IPv4 header's checksum is made right.
#[must_use]
pub fn with_hops(mut frame: Vec<u8>, hops: u8) -> Vec<u8> {
    if frame[14] >> 4 == 4 {
        frame[22] = hops;
        frame[24..26].copy_from_slice(&[0, 0]);
        let header_len = usize::from(frame[14] & 0xf) * 4;
        let sum = checksum(&frame[14..14 + header_len]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    } else {
        frame[21] = hops;
    }
    frame
}

/// The frame with this tag in front.
#[must_use]
pub fn tagged(mut frame: Vec<u8>, tag: VlanTag) -> Vec<u8> {
    let [a, b] = tag.wire().to_be_bytes();
    frame.splice(12..12, [0x81, 0, a, b]);
    frame
}

/// The IP packet in a frame.
///
/// # Panics
///
/// Where there is none.
#[must_use]
pub fn ip_of(frame: &[u8]) -> IpPacket<'_> {
    *Layers::of(frame).expect("the frame is whole").ip().expect("the frame has an IP packet")
}

/// Asserts that every checksum of a frame is right.
///
/// # Panics
///
/// Where one is not.
pub fn assert_checksums(frame: &[u8]) {
    let ip = ip_of(frame);
    if ip.src.is_ipv4() {
        let header = ip.packet.len() - ip.payload.len();
        assert_eq!(checksum(&ip.packet[..header]), 0, "IPv4 header checksum of {frame:02x?}");
    }
    let right = match ip.protocol {
        IpProtocol::ICMP => checksum(ip.payload) == 0,
        IpProtocol::UDP if ip.payload[6..8] == [0, 0] => ip.src.is_ipv4(),
        protocol => transport_checksum(ip.src, ip.dst, protocol, ip.payload) == 0,
    };
    assert!(right, "transport checksum of {frame:02x?}");
}
