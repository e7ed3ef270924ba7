//! Devices of our own, by rtnetlink.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
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
        let mut message = Message::link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, 0);
        message.text(IFLA_IFNAME, name);
        message.nest(IFLA_LINKINFO, |message| {
            message.text(IFLA_INFO_KIND, "vxlan");
            message.nest(IFLA_INFO_DATA, |message| {
                message.attribute(IFLA_VXLAN_COLLECT_METADATA, &[1]);
                message.attribute(IFLA_VXLAN_LEARNING, &[0]);
                message.attribute(IFLA_VXLAN_PORT, &port.to_be_bytes());
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

    /// Sends a request and waits for its acknowledgement.
    fn ask(&self, message: Message) -> io::Result<()> {
        let octets = message.finish();
        sendto(self.0.as_raw_fd(), &octets, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = [0; 4096];
        let len = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        let answer = answer.get(..len).unwrap_or_default();
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

/// A request under construction.
struct Message(Vec<u8>);

impl Message {
    /// A request about a link: `nlmsghdr` and `ifinfomsg`.
    fn link(kind: u16, flags: u16, ifindex: u32, up: u32) -> Self {
        let mut message = Self(Vec::with_capacity(256));
        message.0.extend_from_slice(&[0; 4]);
        message.0.extend_from_slice(&kind.to_ne_bytes());
        message.0.extend_from_slice(&(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        message.0.extend_from_slice(&[0; 8]);
        message.ifinfo(ifindex, up);
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
