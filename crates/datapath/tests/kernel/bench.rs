//! The kernel's datapath in a bench: taps as interfaces, a tap as the underlay.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mn_datapath::conformance::{Asked, Bench};
use mn_datapath::ebpf::{Ebpf, Options, Tap};
use mn_datapath::software::Sent;
use mn_datapath::{Datapath, Followed, Interface, Offload, Output, Upcalls};
use mn_flow::{Action, PortNo, TunnelKey, TunnelOrigin};
use mn_packet::{
    EtherType, EthernetHeader, IpProtocol, Ipv4Header, Layers, Mac, UdpHeader, ip_packet,
};

use crate::lab::{Dir, now, ours, run};
use crate::recorder::Recorder;

const UNDERLAY_MAC: Mac = Mac([2, 0, 0, 0, 0xff, 1]);
const NEXT_HOP_MAC: Mac = Mac([2, 0, 0, 0, 0xff, 2]);
const VNET_LEN: usize = 10;

/// See the module.
pub struct KernelBench {
    datapath: Recorder,
    engine: Arc<Ebpf>,
    taps: BTreeMap<PortNo, Tap>,
    underlay: Tap,
    upcalls: Box<dyn Upcalls>,
    /// Whether the last packet from the underlay had a checksum.
    checksum: bool,
    /// Taken down last.
    dir: Dir,
}

impl KernelBench {
    /// A fresh datapath in this thread's network namespace. Devices of an earlier bench are gone
    /// with their files.
    pub fn new() -> Self {
        Self::with(|options| options)
    }

    /// One that is opened in another way.
    pub fn with(how: impl FnOnce(Options) -> Options) -> Self {
        let dir = Dir::new();
        let underlay = Tap::open("under").unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/under/accept_dad", "0").unwrap();
        run("ip", &format!("link set under address {UNDERLAY_MAC} mtu 9000 up"));
        run("ip", "addr add 172.16.0.1/24 dev under");
        run("ip", "-6 addr add fd00::1/64 dev under nodad");
        for member in ["172.16.0.9", "172.16.0.10", "fd00::9"] {
            run("ip", &format!("neigh add {member} lladdr {NEXT_HOP_MAC} dev under"));
        }
        let engine = Arc::new(Ebpf::open(&how(dir.options())).unwrap());
        engine.heartbeat(now()).unwrap();
        let ifindex = nix::net::if_::if_nametoindex("under").unwrap();
        engine.set_underlays(&[ifindex]).unwrap();
        let upcalls = engine.upcalls(0).unwrap();
        let datapath = Recorder::new(engine.clone());
        Self { datapath, engine, taps: BTreeMap::new(), underlay, upcalls, checksum: true, dir }
    }

    /// What goes out on the underlay because of a frame, outer headers and all.
    pub fn on_the_wire(&mut self, port: PortNo, frame: &[u8], offload: Offload) -> Vec<Vec<u8>> {
        self.drain();
        Self::write(&self.taps[&port], frame, offload);
        let frames = std::iter::from_fn(|| read(&self.underlay)).map(|(frame, _)| frame);
        frames.filter(|frame| self.decapsulate(frame, Offload::default()).is_some()).collect()
    }

    /// Gives a frame to a tap as if its far end had sent it.
    fn write(tap: &Tap, frame: &[u8], offload: Offload) {
        let mut octets = header(frame, offload).to_vec();
        octets.extend_from_slice(frame);
        nix::unistd::write(tap.as_fd(), &octets).unwrap();
    }

    /// What has come out since. The kernel carries a frame through within the call that gives it.
    fn collect(&mut self) -> Vec<Sent> {
        self.drain()
    }

    fn drain(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for (port, tap) in &self.taps {
            while let Some((frame, offload)) = read(tap) {
                sent.push(Sent { to: Output::Port(*port), frame, offload, mark: false });
            }
        }
        while let Some((frame, offload)) = read(&self.underlay) {
            sent.extend(self.decapsulate(&frame, offload));
        }
        sent
    }

    /// The frame in a tunnelled packet, and by what output it went; nothing for other packets.
    fn decapsulate(&self, frame: &[u8], offload: Offload) -> Option<Sent> {
        let layers = Layers::of(frame).ok()?;
        let ip = layers.ip()?;
        if ip.protocol != IpProtocol::UDP || ip.ports()?.1 != 6677 {
            return None;
        }
        assert!(ip.dont_fragment, "tunnelled packets are never fragmented");
        let vxlan = ip.payload.get(UdpHeader::LEN..)?;
        let vni = u32::from_be_bytes([0, vxlan[4], vxlan[5], vxlan[6]]);
        let peer = self.datapath.peer_of(ip.dst)?;
        let (key, mark) = TunnelKey::from_vni(vni)?;
        Some(Sent { to: Output::Tunnel { peer, key }, frame: vxlan[8..].to_vec(), offload, mark })
    }
}

/// The next frame that has come out of an interface. Frames the host makes by itself are left out.
fn read(tap: &Tap) -> Option<(Vec<u8>, Offload)> {
    let mut octets = vec![0; 70_000];
    let len = nix::unistd::read(tap.as_fd(), &mut octets).ok()?;
    let [flags, gso, ..] = octets[..] else { return None };
    let gso_size = if gso == 0 { 0 } else { u16::from_ne_bytes([octets[4], octets[5]]) };
    // To be segmented includes to be summed; the frames of cases are whole.
    let checksum_partial = flags & 1 != 0;
    let offload = Offload { gso_size, checksum_partial };
    Some((octets[VNET_LEN..len].to_vec(), offload))
}

/// `struct virtio_net_hdr` of a frame.
fn header(frame: &[u8], offload: Offload) -> [u8; VNET_LEN] {
    let mut out = [0; VNET_LEN];
    if offload == Offload::default() {
        return out;
    }
    let layers = Layers::of(frame).unwrap();
    let ip = layers.ip().unwrap();
    let (at, len) = if ip.protocol == IpProtocol::TCP { (16_u16, 20) } else { (6, 8) };
    let transport = u16::try_from(ip.transport_at).unwrap();
    out[0] = 1;
    out[6..8].copy_from_slice(&transport.to_ne_bytes());
    out[8..].copy_from_slice(&at.to_ne_bytes());
    if offload.gso_size > 0 {
        out[1] = match (ip.protocol, ip.src) {
            (IpProtocol::UDP, _) => 5,
            (_, IpAddr::V4(_)) => 1,
            _ => 4,
        };
        out[2..4].copy_from_slice(&(transport + len).to_ne_bytes());
        out[4..6].copy_from_slice(&offload.gso_size.to_ne_bytes());
    }
    out
}

/// A VXLAN packet of another host. With a checksum the kernel's device takes it, without one our
/// program does: what becomes of it must be the same.
fn encapsulate(origin: TunnelOrigin, frame: &[u8], checksum: bool) -> Vec<u8> {
    let [_, a, b, c] = origin.vni.to_be_bytes();
    let payload = [&[8, 0, 0, 0, a, b, c, 0], frame].concat();
    let dst: IpAddr = if origin.src.is_ipv4() { "172.16.0.1" } else { "fd00::1" }.parse().unwrap();
    let header = UdpHeader { src: 40000, dst: 6677 };
    let mut datagram = header.datagram(origin.src, dst, &payload);
    if !checksum {
        datagram[6..8].fill(0);
    }
    let packet = ip_packet(origin.src, dst, Ipv4Header::TTL, IpProtocol::UDP, &datagram);
    let eth_type = if dst.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
    EthernetHeader::untagged(NEXT_HOP_MAC, UNDERLAY_MAC, eth_type).frame(&packet)
}

impl Bench for KernelBench {
    fn datapath(&self) -> &dyn Datapath {
        &self.datapath
    }

    fn interface(&mut self, port: PortNo, mtu: u32) -> Interface {
        let name = format!("tap{}", port.0);
        self.taps.entry(port).or_insert_with(|| {
            let tap = Tap::open(&name).unwrap();
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").unwrap();
            run("ip", &format!("link set {name} up"));
            tap
        });
        let ifindex = nix::net::if_::if_nametoindex(name.as_str()).unwrap();
        Interface { ifindex, peer_redirect: false, mtu }
    }

    /// The kernel takes the outer tag off before any program, and throws frames away that end
    /// within two octets of it (`skb_vlan_untag`). Its VXLAN looks through any number of tags for
    /// an IP header that is whole (`skb_vlan_inet_prepare`), we through two.
    fn takes(&self, frame: &[u8]) -> bool {
        let is_tag = |at: usize| {
            let ty =
                frame.get(at..at + 2).and_then(|ty| ty.try_into().ok()).map(u16::from_be_bytes);
            ty.is_some_and(|ty| EtherType(ty).is_tag())
        };
        let three_tags = is_tag(12) && is_tag(16) && is_tag(20);
        (!is_tag(12) || frame.len() >= 20) && (!three_tags || frame.len() >= 80)
    }

    /// VXLAN throws frames away whose source is no host's.
    fn takes_tunnelled(&self, frame: &[u8]) -> bool {
        let src = Mac([frame[6], frame[7], frame[8], frame[9], frame[10], frame[11]]);
        self.takes(frame) && !src.is_multicast() && src != Mac::ZERO
    }

    fn receive(&mut self, port: PortNo, frame: &[u8], offload: Offload) -> Vec<Sent> {
        self.drain();
        Self::write(&self.taps[&port], frame, offload);
        self.collect()
    }

    fn receive_tunnelled(
        &mut self,
        origin: TunnelOrigin,
        frame: &[u8],
        offload: Offload,
    ) -> Vec<Sent> {
        assert_eq!(offload, Offload::default(), "whole frames only");
        self.drain();
        self.checksum = !self.checksum;
        let packet = encapsulate(origin, frame, self.checksum);
        Self::write(&self.underlay, &packet, Offload::default());
        self.collect()
    }

    fn execute(&mut self, frame: &[u8], actions: &[Action]) -> Vec<Sent> {
        self.drain();
        self.engine.execute(frame, Offload::default(), actions).unwrap();
        self.collect()
    }

    fn asked(&mut self) -> Vec<Asked> {
        let mut asked = Vec::new();
        let each = &mut |upcall: mn_datapath::Upcall<'_>| {
            asked.push(Asked {
                reason: upcall.reason,
                key: upcall.key,
                frame: upcall.frame.to_vec(),
                offload: upcall.offload,
            });
        };
        self.upcalls.poll(usize::MAX, Duration::ZERO, each).unwrap();
        asked
    }

    fn followed(&mut self) -> Vec<Followed> {
        let mut all = Vec::new();
        self.upcalls.followed(&mut |followed| all.push(followed));
        all
    }

    fn beat(&mut self) {
        self.engine.heartbeat(now()).unwrap();
    }

    fn now(&self) -> mn_time::Instant {
        now()
    }

    fn pass(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn forget_fragments(&mut self) -> usize {
        let pin = ours(&self.dir).join("mn_fragments");
        let map = aya::maps::MapData::from_pin(pin).unwrap();
        let map = aya::maps::Map::LruHashMap(map);
        // As long as abi.h says that keys and values are.
        let mut map: aya::maps::HashMap<_, [u8; 48], [u8; 16]> = map.try_into().unwrap();
        let keys: Vec<[u8; 48]> = map.keys().map(Result::unwrap).collect();
        keys.iter().for_each(|key| map.remove(key).unwrap());
        keys.len()
    }

    fn takes_gso(&self) -> bool {
        true
    }

    fn takes_partial_checksums(&self) -> bool {
        true
    }
}
