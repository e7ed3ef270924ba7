//! Where the datapath is kept, and how it is set up and taken away.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::EbpfLoader;
use aya::maps::Map;
use mn_datapath_abi::limits::{KEY_WORDS, RINGS_MAX};
use mn_datapath_abi::{Config, Plain};
use nix::mount::{MntFlags, umount2};

use super::netlink::Netlink;
use super::pins::{Pins, is_bpffs};
use super::sys::{self, Shared};
use crate::DatapathError;

/// How a datapath is opened. The sizes matter only to the one who makes it; who comes after finds
/// them as they are.
#[derive(Clone, Debug)]
pub struct Options {
    /// The agent's directory. The datapath is kept in a bpffs mounted at `bpf` in it.
    pub dir: PathBuf,
    /// How many threads take upcalls, 1 to 64.
    pub workers: usize,
    /// The most flows.
    pub flows_max: usize,
    /// The most tracked connections. Each takes 128 octets of the kernel's memory while it is
    /// there, and 16 always.
    pub connections_max: usize,
    /// Octets of each worker's ring; a power of two.
    pub ring_bytes: u32,
    /// The UDP port of tunnels.
    pub tunnel_port: u16,
    /// Tunnelled packets go through the host's own IP stack, where its firewall and IPsec see them.
    pub tunnels_through_host: bool,
    /// Programs are attached by tcx links; by the clsact qdisc otherwise.
    pub tcx: bool,
}

impl Options {
    /// The usual sizes: 262,144 flows, 1,048,576 connections, 4 MiB for each worker: a quarter of a second of 50,000 small
    /// packets a second. (Its pages are mapped twice and count as the agent's.) tcx where the kernel
    /// has it.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, workers: usize) -> Self {
        Self {
            dir: dir.into(),
            workers,
            flows_max: 1 << 18,
            connections_max: 1 << 20,
            ring_bytes: 4 << 20,
            tunnel_port: 6677,
            tunnels_through_host: false,
            tcx: has_tcx(),
        }
    }
}

/// The tunnel device of a network namespace.
pub const TUNNEL_DEVICE: &str = "mn-vxlan";
/// What frames of ours are sent on.
pub const INJECT_DEVICE: &str = "mn-inject";
const INJECT_PEER: &str = "mn-inject-x";
/// Above every packet that is ever tunnelled or injected; what the kernel allows a VXLAN device.
const DEVICE_MTU: u32 = 65_485;
/// Octets of the ring that a worker's flows tell of segments by: 10,922 of them.
const FOLLOWED_BYTES: u32 = 256 << 10;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/datapath.bpf.o"));

pub(super) fn system(call: &'static str) -> impl Fn(io::Error) -> DatapathError {
    move |source| DatapathError::System { call, source }
}

/// The directories of pins, the programs, and the numbers of our devices.
pub(super) struct Opened {
    pub pins: Pins,
    pub programs: aya::Ebpf,
    pub tunnel: u32,
    pub inject: u32,
}

/// Finds or makes everything but what is attached.
pub(super) fn open(options: &Options) -> Result<Opened, DatapathError> {
    if !(1..=RINGS_MAX).contains(&options.workers) {
        return Err(DatapathError::Invalid(format!("{} workers", options.workers)));
    }
    let pins = Pins::open(&options.dir)?;
    let tunnel = ensure_device(TUNNEL_DEVICE, |netlink| {
        netlink.add_vxlan(TUNNEL_DEVICE, options.tunnel_port)
    })?;
    let inject = ensure_device(INJECT_DEVICE, |netlink| {
        netlink.add_veth(INJECT_DEVICE, INJECT_PEER, DEVICE_MTU)
    })?;
    super::handover::share(&pins)?;
    let programs = load(&pins.ours(), options)?;
    let config = Shared::<Config>::map(map_fd(&programs, "mn_config")?)
        .map_err(system("mmap of the configuration"))?;
    let buckets = sys::map_info(map_fd(&programs, "mn_buckets")?).map_err(system("bpf"))?;
    let guesses = sys::map_info(map_fd(&programs, "mn_guesses")?).map_err(system("bpf"))?;
    configure(&config, buckets.max_entries, guesses.max_entries)?;
    ensure_rings(map_fd(&programs, "mn_rings")?, options.workers, options.ring_bytes)?;
    ensure_rings(map_fd(&programs, "mn_followed")?, options.workers, FOLLOWED_BYTES)?;
    let rings = u32::try_from(options.workers).unwrap_or(1);
    let (rings_at, tunnel_at) = (Config::RINGS_AT, Config::TUNNEL_IFINDEX_AT);
    config.half(0, rings_at).store(rings, std::sync::atomic::Ordering::Release);
    config.half(0, tunnel_at).store(tunnel, std::sync::atomic::Ordering::Release);
    Ok(Opened { pins, programs, tunnel, inject })
}

/// The number of a device of ours; makes it, quiet and up, where it is not there.
fn ensure_device(
    name: &str,
    make: impl Fn(&Netlink) -> io::Result<()>,
) -> Result<u32, DatapathError> {
    let netlink = Netlink::open().map_err(system("netlink"))?;
    let ifindex = match nix::net::if_::if_nametoindex(name) {
        Ok(ifindex) => ifindex,
        Err(_) => {
            make(&netlink).map_err(system("making a device"))?;
            nix::net::if_::if_nametoindex(name)
                .map_err(|error| system("if_nametoindex")(error.into()))?
        }
    };
    silence(name);
    netlink.set_mtu(ifindex, DEVICE_MTU).map_err(system("setting an MTU"))?;
    netlink.set_up(ifindex).map_err(system("setting a device up"))?;
    if name == INJECT_DEVICE
        && let Ok(peer) = nix::net::if_::if_nametoindex(INJECT_PEER)
    {
        silence(INJECT_PEER);
        netlink.set_up(peer).map_err(system("setting a device up"))?;
    }
    Ok(ifindex)
}

/// Keeps the host's IPv6 off a device: no address, no router solicitation, no listener report.
/// Without IPv6 in the kernel there is nothing to keep off.
pub(super) fn silence(name: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    if let Err(error) = std::fs::write(&path, "1")
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path, "cannot keep the host's IPv6 off an interface");
    }
}

fn load(pins: &Path, options: &Options) -> Result<aya::Ebpf, DatapathError> {
    // A bucket of seven entries for two to four flows.
    let buckets = options.flows_max.div_ceil(4).next_power_of_two().max(64);
    let guesses = (options.flows_max / 2).next_power_of_two().clamp(64, 1 << 19);
    let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
    EbpfLoader::new()
        .default_map_pin_directory(pins)
        .map_max_entries("mn_buckets", count(buckets))
        .map_max_entries("mn_guesses", count(guesses))
        .map_max_entries("mn_connections", count(options.connections_max.max(1)))
        .load(OBJECT)
        .map_err(|error| DatapathError::Load(chain(&error)))
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The descriptor of a map of the programs.
pub(super) fn map_fd<'a>(
    programs: &'a aya::Ebpf,
    name: &'static str,
) -> Result<BorrowedFd<'a>, DatapathError> {
    let data = match programs.map(name) {
        Some(
            Map::Array(data)
            | Map::PerCpuArray(data)
            | Map::HashMap(data)
            | Map::ArrayOfMaps(data)
            | Map::Unsupported(data),
        ) => data,
        _ => return Err(DatapathError::Load(format!("no map {name}"))),
    };
    Ok(data.fd().as_fd())
}

/// Whether the kernel has tcx links (6.6).
fn has_tcx() -> bool {
    let Ok(name) = nix::sys::utsname::uname() else { return false };
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor)))
        if (major, minor) >= (6, 6))
}

/// Writes what never changes after, once.
fn configure(config: &Shared<Config>, buckets: u32, guesses: u32) -> Result<(), DatapathError> {
    let now = config.read(0);
    if now.bucket_mask == buckets - 1 && now.seed[0] != 0 {
        return Ok(());
    }
    let mut octets = [0; 8 * (KEY_WORDS + 1)];
    let mut random = std::fs::File::open("/dev/urandom").map_err(system("open of urandom"))?;
    io::Read::read_exact(&mut random, &mut octets).map_err(system("read of urandom"))?;
    let mut first = Config { mtu_min: u32::MAX, guess_mask: guesses - 1, ..Config::default() };
    for (seed, octets) in first.seed.iter_mut().zip(octets.chunks_exact(8)) {
        *seed = octets.iter().fold(0, |seed, octet| seed << 8 | u64::from(*octet)) | 1;
    }
    first.bucket_mask = buckets - 1;
    config.write(0, &first);
    Ok(())
}

/// Makes the rings that are missing.
fn ensure_rings(rings: BorrowedFd<'_>, workers: usize, octets: u32) -> Result<(), DatapathError> {
    for worker in 0..u32::try_from(workers).unwrap_or(0) {
        let mut id = [0; 4];
        let there = sys::map_lookup(rings, worker.octets(), &mut id).map_err(system("bpf"))?;
        if there {
            continue;
        }
        let ring = sys::map_create(sys::BPF_MAP_TYPE_RINGBUF, 0, octets, 0)
            .map_err(system("making a ring"))?;
        let fd = u32::try_from(ring.as_fd().as_raw_fd()).unwrap_or(u32::MAX);
        sys::map_update(rings, worker.octets(), fd.octets()).map_err(system("bpf"))?;
    }
    Ok(())
}

/// Takes a datapath away: what is attached, every pin, the devices, the mount. What is not there
/// is no error.
///
/// # Errors
///
/// [`DatapathError::System`] for what could not be removed; the rest is removed all the same.
pub fn remove_datapath(dir: &Path) -> Result<(), DatapathError> {
    let root = dir.join("bpf");
    let mut result = Ok(());
    if is_bpffs(&root) {
        for entry in std::fs::read_dir(&root).map_err(system("readdir"))?.flatten() {
            super::links::detach_clsact(&entry.path());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                result = result
                    .and(std::fs::remove_dir_all(entry.path()).map_err(system("removing pins")));
            }
        }
        result = result.and(
            umount2(&root, MntFlags::MNT_DETACH)
                .map_err(|error| system("umount of bpffs")(error.into())),
        );
    }
    let netlink = Netlink::open().map_err(system("netlink"))?;
    for name in [TUNNEL_DEVICE, INJECT_DEVICE] {
        if let Ok(ifindex) = nix::net::if_::if_nametoindex(name) {
            result = result.and(netlink.delete(ifindex).map_err(system("removing a device")));
        }
    }
    let _ = std::fs::remove_dir(&root);
    result
}
