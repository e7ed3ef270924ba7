//! A datapath as an agent of ABI version 1 has left it.
//!
//! Its programs and maps are built from `tests/version1/version1.bpf.c`, which is frozen; what that
//! agent wrote is written here through the frozen layouts of `mn_datapath_abi::v1`. So neither side
//! of what is taken over changes with today's datapath. (The whole of version 1 would be 2,000 more
//! lines that nobody may touch, to prove the same: a hand-over reads maps and replaces programs.)

use std::path::{Path, PathBuf};

use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData};
use aya::programs::links::FdLink;
use aya::programs::tc::{self, NlOptions, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use mn_datapath_abi::{Plain, v1};

use crate::lab::{Dir, Vm, run};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/version1.bpf.o"));

/// The one mask: port, type and both MACs.
const MASK: u16 = 3;

/// See the module.
pub struct Version1 {
    programs: Ebpf,
    dir: PathBuf,
    tcx: bool,
    flows: u32,
}

impl Version1 {
    /// Makes one in a directory, with everything but ports and flows.
    pub fn new(dir: &Dir, tcx: bool) -> Self {
        let root = dir.path().join("bpf");
        std::fs::create_dir_all(&root).unwrap();
        run("mount", &format!("-t bpf bpf {}", root.display()));
        let dir = root.join("v1");
        std::fs::create_dir_all(dir.join("links")).unwrap();
        let programs = EbpfLoader::new().default_map_pin_directory(&dir).load(OBJECT).unwrap();
        let mut this = Self { programs, dir, tcx, flows: 0 };
        for name in ["port_ingress", "tunnel_ingress", "inject_egress"] {
            this.program(name).load().unwrap();
        }
        this.put_inside("mn_chunks", "first_chunk");
        this.put_inside("mn_rings", "first_ring");
        let mut config = v1::Config { heartbeat_at: 1, mtu_min: 1500, ..v1::Config::default() };
        let mask = v1::FlowKey {
            in_port: u32::MAX,
            eth_dst: [0xff; 6],
            eth_type: [0xff; 2],
            eth_src: [0xff; 6],
            ..v1::FlowKey::default()
        };
        config.mask[usize::from(MASK)] = words(&mask);
        (config.order[0][0], config.order_len) = (MASK, [1, 0]);
        this.array::<11912, _>("mn_config", 0, &config);
        this
    }

    fn program(&mut self, name: &str) -> &mut SchedClassifier {
        self.programs.program_mut(name).unwrap().try_into().unwrap()
    }

    fn put_inside(&mut self, outer: &str, inner: &str) {
        let inner = match self.programs.take_map(inner).unwrap() {
            Map::Array(data) | Map::RingBuf(data) => data,
            other => panic!("{other:?}"),
        };
        let outer = self.programs.map_mut(outer).unwrap();
        let mut outer: ArrayOfMaps<_, MapData> = outer.try_into().unwrap();
        outer.set(0, &inner, 0).unwrap();
    }

    /// Writes a value of an array.
    pub fn array<const LEN: usize, T: Plain>(&mut self, map: &str, index: u32, value: &T) {
        let octets: [u8; LEN] = value.octets().try_into().unwrap();
        let map = self.programs.map_mut(map).unwrap();
        let mut map: Array<_, [u8; LEN]> = map.try_into().unwrap();
        map.set(index, octets, 0).unwrap();
    }

    /// Writes a value of a hash table.
    pub fn hash<const KEY: usize, const LEN: usize>(
        &mut self,
        map: &str,
        key: [u8; KEY],
        value: [u8; LEN],
    ) {
        let map = self.programs.map_mut(map).unwrap();
        let mut map: HashMap<_, [u8; KEY], [u8; LEN]> = map.try_into().unwrap();
        map.insert(key, value, 0).unwrap();
    }

    /// Attaches a VM's interface as its port, as an agent did.
    pub fn attach(&mut self, vm: &Vm) {
        let ifindex = vm.interface.ifindex;
        let port = v1::Port {
            ifindex,
            flags: 0,
            mtu: vm.interface.mtu,
            rate: 1_000,
            burst_ns: 1_000_000_000,
            arrival_at: 0,
        };
        self.array::<32, _>("mn_ports", vm.port.0, &port);
        let iface = v1::Delivery { kind: ifindex, index: vm.port.0 };
        self.array::<8, _>("mn_ifaces", ifindex % 4096, &iface);
        let name = nix::net::if_::if_indextoname(ifindex).unwrap().into_string().unwrap();
        let pin = self.dir.join("links").join(format!("port_ingress-{ifindex}"));
        let tcx = self.tcx;
        let program = self.program("port_ingress");
        if tcx {
            let options = TcAttachOptions::TcxOrder(LinkOrder::first());
            let id = program.attach_with_options(&name, TcAttachType::Ingress, options).unwrap();
            let link = FdLink::try_from(program.take_link(id).unwrap()).unwrap();
            link.pin(pin).unwrap();
        } else {
            let _ = tc::qdisc_add_clsact(&name);
            let options = TcAttachOptions::Netlink(NlOptions {
                priority: 1,
                handle: tc::TcHandle::new(0, 1),
                ..NlOptions::default()
            });
            let id = program.attach_with_options(&name, TcAttachType::Ingress, options).unwrap();
            std::mem::forget(program.take_link(id).unwrap());
            std::fs::create_dir(pin).unwrap();
        }
    }

    /// A flow of IPv4 packets from one VM to another; its key is that of a ping.
    pub fn flow(&mut self, from: &Vm, to: &Vm, cookie: u64, counted: (u64, u64)) {
        let masked = v1::FlowKey {
            in_port: from.port.0,
            eth_dst: to.mac.0,
            eth_type: [8, 0],
            eth_src: from.mac.0,
            ..v1::FlowKey::default()
        };
        let mapped = |last| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last];
        let first = v1::FlowKey {
            nw_src: mapped(from.mac.0[5]),
            nw_dst: mapped(to.mac.0[5]),
            nw_proto: 1,
            class: 4,
            tp_src: [8, 0],
            ..masked
        };
        let [b0, b1, b2, b3] = to.port.0.to_ne_bytes();
        let output = v1::ActionSlot { op: 1, slots: 1, argument: [0, 0, b0, b1, b2, b3] };
        let mut flow = v1::Flow {
            state: v1::FLOW_LIVE,
            mask: MASK,
            slots: 1,
            packets: counted.0,
            octets: counted.1,
            used_at: 1,
            cookie,
            key: words(&masked),
            first: words(&first),
            ..v1::Flow::default()
        };
        flow.actions[0] = output;
        let place = self.flows;
        self.flows += 1;
        let chunks = self.programs.map_mut("mn_chunks").unwrap();
        let chunks: ArrayOfMaps<_, Array<MapData, [u8; 384]>> = chunks.try_into().unwrap();
        let octets: [u8; 384] = flow.octets().try_into().unwrap();
        chunks.get(&0, 0).unwrap().set(place, octets, 0).unwrap();
        let mut bucket = v1::Bucket::default();
        bucket.entry[5] = 0xabcd << 32 | u64::from(place + 1);
        self.array::<64, _>("mn_buckets", place, &bucket);
    }

    /// Everything pinned, once more in another directory of the same bpffs.
    pub fn pin_again(&mut self, name: &str) -> PathBuf {
        let other = self.dir.with_file_name(name);
        std::fs::create_dir_all(other.join("links")).unwrap();
        for entry in std::fs::read_dir(&self.dir).unwrap().flatten() {
            if !entry.file_type().unwrap().is_dir() {
                let map = MapData::from_pin(entry.path()).unwrap();
                map.pin(other.join(entry.file_name())).unwrap();
            }
        }
        other
    }

    /// Where the link of a VM is pinned.
    pub fn link_of(&self, vm: &Vm) -> PathBuf {
        link_in(&self.dir, vm)
    }
}

/// Where the link of a VM is in a directory of pins.
pub fn link_in(dir: &Path, vm: &Vm) -> PathBuf {
    dir.join("links").join(format!("port_ingress-{}", vm.interface.ifindex))
}

fn words(key: &v1::FlowKey) -> [u64; v1::limits::KEY_WORDS] {
    let mut words = [0; v1::limits::KEY_WORDS];
    for (word, octets) in words.iter_mut().zip(key.octets().chunks_exact(8)) {
        *word = u64::from_ne_bytes(octets.try_into().unwrap());
    }
    words
}
