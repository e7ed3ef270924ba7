//! Topologies and packets as text, for tests that read as stories.
//!
//! # A lab
//!
//! A line that begins with a kind of object opens it; the lines after it belong to it. `#` begins a
//! comment.
//!
//! ```text
//! bridge blue
//!   vm1  02::01  10.0.1.5 fd01::5        a machine on its own bound port: name, MAC, addresses
//!   vm2  02::02  10.0.1.6  in web        with filters: `in CHAIN`, `out CHAIN`; `down`; `loose` (not bound); `vlan N`
//!   link green vlan 7                    a link to another bridge; its end here carries a VLAN
//!   dhcp 10.0.1.0/24 gateway 10.0.1.1 server 10.0.1.2 dns 9.9.9.9 mtu 1400 route 10.9.0.0/16 10.0.1.9
//!   out plain                            a filter of the bridge itself; `down` likewise
//! router edge
//!   blue  02::a1  10.0.1.1/24  fd01::1/64  ra slaac     a port linked with the bridge or router of that name
//!   up    02::b1  192.0.2.1/24  peer 02::99 192.0.2.254 a bound port, and who is behind it
//!   route 0.0.0.0/0 via up 192.0.2.254 weight 5 from 10.0.0.0/8
//!   route 10.9.0.0/16 blackhole
//! chain web
//!   drop tcp dport 22
//!   jump plain
//! qos gold                              policies: `policy gold` at machines, ports, bridges
//!   mark 46
//!   sends 1000 800                       kilobits a second, and at once; `gets` likewise
//! balancer lb edge                       a load balancer; the router says `balanced by lb`
//! pool web lb udp least                  its pool: `udp`, `least` or `hash`, `monitored`, `down`
//!   vip 203.0.113.2@80 sticky limit 9    `down` likewise
//!   member 10.0.1.5@8080 weight 3
//! insertion ids of vm1 02::01 by probe vlan 10 at 1 open heartbeat
//! addresses friends 10.0.1.5 fd01::5
//! ports servers vm1 vm2
//! ```
//!
//! A router's port brings the route to its subnets, as an operator would draw it; machines behind a
//! device are known to it (MACs, neighbours) until [`Lab::forget`] says otherwise. The port of a
//! machine has its name; the two ends of a link are `blue.edge` (at blue) and `edge.blue`; other
//! ports of routers are `edge.up`. A rule's conditions are in [`rule`], packets in [`packet`].

#![expect(
    clippy::unwrap_used,
    reason = "a text that cannot be read is a wrong test, which is to fail where it is read"
)]

mod balancing;
mod cloud;
mod insertions;
mod lab;
mod names;
pub mod packet;
mod qos;
mod random;
mod reader;
pub mod rule;
mod sent;
mod tables;
mod translations;

pub use cloud::CLOUD;
pub use lab::{Lab, Station};
pub use names::{mac, named};
pub use random::Random;
pub use sent::{Arrival, Sent};
pub use tables::Tables;
pub use translations::Translations;
