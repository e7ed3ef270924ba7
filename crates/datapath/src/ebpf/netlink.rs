//! Devices of our own, by rtnetlink.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mn_datapath_abi::limits::TUNNEL_SOURCE_PORTS;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto,
    socket,
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_VIA: u16 = 18;
/// Where the attributes of a route are: behind `nlmsghdr` and `rtmsg`, whose last octet but four
/// is the type.
const ROUTE_ATTRIBUTES_AT: usize = 28;
const ROUTE_TYPE_AT: usize = 23;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT_RANGE: u16 = 10;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_UDP_ZERO_CSUM6_TX: u16 = 19;
const IFLA_VXLAN_UDP_ZERO_CSUM6_RX: u16 = 20;
const IFLA_VXLAN_COLLECT_METADATA: u16 = 25;
const IFF_UP: u32 = 1;

/// A socket to the kernel's tables of devices, of the namespace it was opened in.
pub struct Netlink(OwnedFd);

impl Netlink {
    pub fn open() -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self(fd))
    }

    /// Makes a VXLAN device without a key of its own, down: packets say theirs.
    pub fn add_vxlan(&self, name: &str, port: u16) -> io::Result<()> {
        let [low, high] = TUNNEL_SOURCE_PORTS.map(u16::to_be_bytes);
        let range = [low, high].concat();
        let mut message = Message::link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, 0);
        message.text(IFLA_IFNAME, name);
        message.nest(IFLA_LINKINFO, |message| {
            message.text(IFLA_INFO_KIND, "vxlan");
            message.nest(IFLA_INFO_DATA, |message| {
                message.attribute(IFLA_VXLAN_COLLECT_METADATA, &[1]);
                message.attribute(IFLA_VXLAN_LEARNING, &[0]);
                message.attribute(IFLA_VXLAN_PORT, &port.to_be_bytes());
                message.attribute(IFLA_VXLAN_PORT_RANGE, &range);
                message.attribute(IFLA_VXLAN_UDP_ZERO_CSUM6_TX, &[1]);
                message.attribute(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, &[1]);
            });
        });
        self.ask(message)
    }

    /// Makes a pair of veths, down.
    pub fn add_veth(&self, name: &str, peer: &str, mtu: u32) -> io::Result<()> {
        let mut message = Message::link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, 0);
        message.text(IFLA_IFNAME, name);
        message.attribute(IFLA_MTU, &mtu.to_ne_bytes());
        message.nest(IFLA_LINKINFO, |message| {
            message.text(IFLA_INFO_KIND, "veth");
            message.nest(IFLA_INFO_DATA, |message| {
                message.nest(VETH_INFO_PEER, |message| {
                    message.ifinfo(0, 0);
                    message.text(IFLA_IFNAME, peer);
                    message.attribute(IFLA_MTU, &mtu.to_ne_bytes());
                });
            });
        });
        self.ask(message)
    }

    pub fn set_up(&self, ifindex: u32) -> io::Result<()> {
        self.ask(Message::link(RTM_NEWLINK, 0, ifindex, IFF_UP))
    }

    pub fn set_mtu(&self, ifindex: u32, mtu: u32) -> io::Result<()> {
        let mut message = Message::link(RTM_NEWLINK, 0, ifindex, 0);
        message.attribute(IFLA_MTU, &mtu.to_ne_bytes());
        self.ask(message)
    }

    /// Removes a device.
    pub fn delete(&self, ifindex: u32) -> io::Result<()> {
        self.ask(Message::link(RTM_DELLINK, 0, ifindex, 0))
    }

    /// Where a packet from and to these addresses goes next; `None` if it goes nowhere, or to this
    /// host itself.
    pub fn next_hop(&self, local: IpAddr, remote: IpAddr) -> io::Result<Option<NextHop>> {
        let answer = self.exchange(Message::route(local, remote))?;
        let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
        if kind != Some(RTM_NEWROUTE) || answer.get(ROUTE_TYPE_AT) != Some(&RTN_UNICAST) {
            return Ok(None);
        }
        let (mut ifindex, mut addr) = (None, remote);
        for (kind, value) in attributes(answer.get(ROUTE_ATTRIBUTES_AT..).unwrap_or_default()) {
            match kind {
                RTA_OIF => ifindex = value.try_into().ok().map(u32::from_ne_bytes),
                RTA_GATEWAY => addr = address(value).unwrap_or(addr),
                // A family of 2 octets stands before.
                RTA_VIA => addr = value.get(2..).and_then(address).unwrap_or(addr),
                _ => {}
            }
        }
        Ok(ifindex.map(|ifindex| NextHop { ifindex, addr }))
    }

    /// Sends a request; the first message of the answer.
    fn exchange(&self, message: Message) -> io::Result<Vec<u8>> {
        let octets = message.finish();
        sendto(self.0.as_raw_fd(), &octets, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = vec![0; 4096];
        let len = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        answer.truncate(len);
        Ok(answer)
    }

    /// Sends a request and waits for its acknowledgement.
    fn ask(&self, message: Message) -> io::Result<()> {
        let answer = self.exchange(message)?;
        let (Some(kind), Some(code)) = (answer.get(4..6), answer.get(16..20)) else {
            return Err(io::Error::other("a netlink answer cut short"));
        };
        let kind = u16::from_ne_bytes(kind.try_into().map_err(io::Error::other)?);
        let code = i32::from_ne_bytes(code.try_into().map_err(io::Error::other)?);
        match (kind, code) {
            (NLMSG_ERROR, 0) => Ok(()),
            (NLMSG_ERROR, code) => Err(io::Error::from_raw_os_error(-code)),
            _ => Err(io::Error::other("a netlink answer that is no acknowledgement")),
        }
    }
}

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NextHop {
    pub ifindex: u32,
    pub addr: IpAddr,
}

/// The attributes that follow one another in a message.
fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d] = *octets.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = octets.get(4..len)?;
        octets = octets.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]), value))
    })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// News of links, addresses, routes and the rules that choose them. What they say is not read.
pub struct News(OwnedFd);

impl News {
    pub fn open() -> io::Result<Self> {
        // RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV6_IFADDR, _IPV6_ROUTE, _IPV6_RULE
        let groups =
            [1, 5, 7, 8, 9, 11, 19].iter().fold(0, |groups, group| groups | 1 << (group - 1));
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self(fd))
    }

    /// Forgets what was heard.
    pub fn drain(&self) {
        let mut octets = [0; 4096];
        // Lost messages are an error, and news too.
        while !matches!(
            recv(self.0.as_raw_fd(), &mut octets, MsgFlags::empty()),
            Err(Errno::EAGAIN)
        ) {}
    }
}

impl AsFd for News {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A request under construction.
struct Message(Vec<u8>);

impl Message {
    /// `nlmsghdr`, whose length comes last.
    fn new(kind: u16, flags: u16) -> Self {
        let mut message = Self(Vec::with_capacity(256));
        message.0.extend_from_slice(&[0; 4]);
        message.0.extend_from_slice(&kind.to_ne_bytes());
        message.0.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        message.0.extend_from_slice(&[0; 8]);
        message
    }

    /// A request about a link: `nlmsghdr` and `ifinfomsg`.
    fn link(kind: u16, flags: u16, ifindex: u32, up: u32) -> Self {
        let mut message = Self::new(kind, flags | NLM_F_ACK);
        message.ifinfo(ifindex, up);
        message
    }

    /// A question for the route between two addresses: `nlmsghdr` and `rtmsg`.
    fn route(local: IpAddr, remote: IpAddr) -> Self {
        let octets = |addr: IpAddr| match addr {
            IpAddr::V4(addr) => addr.octets().to_vec(),
            IpAddr::V6(addr) => addr.octets().to_vec(),
        };
        let (family, len) = match remote {
            IpAddr::V4(_) => (libc::AF_INET, 32),
            IpAddr::V6(_) => (libc::AF_INET6, 128),
        };
        let mut message = Self::new(RTM_GETROUTE, 0);
        let family = u8::try_from(family).unwrap_or(0);
        message.0.extend_from_slice(&[family, len, len, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        message.attribute(RTA_DST, &octets(remote));
        message.attribute(RTA_SRC, &octets(local));
        message
    }

    /// `struct ifinfomsg`.
    fn ifinfo(&mut self, ifindex: u32, up: u32) {
        let family = u8::try_from(libc::AF_UNSPEC).unwrap_or(0);
        self.0.extend_from_slice(&[family, 0, 0, 0]);
        self.0.extend_from_slice(&ifindex.to_ne_bytes());
        self.0.extend_from_slice(&up.to_ne_bytes());
        self.0.extend_from_slice(&up.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.pad();
    }

    fn text(&mut self, kind: u16, value: &str) {
        let mut octets = value.as_bytes().to_vec();
        octets.push(0);
        self.attribute(kind, &octets);
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        let len = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0
    }
}
