//! What a translation takes of memory.

use mn_agent_core::{Block, Lease, NatOwner, NatTable};
use mn_ids::{ChainId, Id, RouterId, RuleId};
use mn_packet::IpProtocol;
use mn_simulation::nat::{
    NatBinding, NatKey, NatKind, NatOrigin, NatTuple, SourceChoice, SourceWanted,
};
use mn_time::Instant;
use mn_topology::{DeviceId, NatTarget};

use crate::count::octets;

/// Connections of one machine; so many of them to each place outside.
fn connect(table: &mut NatTable, count: u32, to_each: u32) {
    let device = DeviceId::Router(RouterId::from_uuid(uuid::Uuid::from_u128(1)));
    let (chain, rule): (ChainId, RuleId) = (Id::random(), Id::random());
    let public = "203.0.113.2".parse().expect("an address");
    let targets =
        [NatTarget { addr_from: public, addr_to: public, port_from: 1024, port_to: 65535 }];
    let addr = mn_packet::to_v6(public);
    let blocks = (16..1024).map(|number| Block { addr, number }).collect();
    table.ports.add(&Lease { device, blocks }, Instant::ZERO);
    for nth in 0..count {
        let tuple = NatTuple {
            protocol: IpProtocol::TCP,
            src: mn_packet::to_v6([10, 0, 0, (nth % 100) as u8].into()),
            dst: mn_packet::to_v6((0xc633_6400 + nth / to_each).to_be_bytes().into()),
            src_port: (nth % to_each) as u16,
            dst_port: 443,
        };
        let key = NatKey { kind: NatKind::Source, device, tuple };
        let wanted = SourceWanted { key, rule, targets: &targets, seed: nth.into() };
        let SourceChoice::Is(to) = table.free_source(&wanted) else { panic!("{nth} has no port") };
        let binding = NatBinding { key, to, by: NatOrigin::Rule { chain, rule } };
        table.insert(binding, NatOwner::Own, Instant::ZERO, &mut Vec::new());
    }
}

#[test]
fn a_translation_takes_at_most_four_hundred_octets() {
    // Right after lists have grown they have the most room to spare.
    for count in [70_000, 100_000, 132_000] {
        for to_each in [1, 50, 50_000] {
            let (table, taken) = octets(|| {
                let mut table = NatTable::default();
                connect(&mut table, count, to_each);
                table
            });
            let each = taken / i64::from(count);
            println!("{count} translations, {to_each} to each place: {each} octets each");
            assert_eq!(table.len(), count as usize);
            assert!(each <= 400, "{each} octets for each of {count}, {to_each} to each place");
        }
    }
}
