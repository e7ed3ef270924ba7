//! Insertions of inspecting machines.

use mn_packet::Mac;
use mn_topology::{AnyObject, L2Insertion};

use crate::mac;
use crate::names::named;
use crate::reader::{Block, Read};

impl Read {
    /// `insertion NAME of PORT MAC by PORT`, then `vlan N`, `at POSITION`, `open`, `heartbeat`.
    pub(crate) fn insertion(&mut self, block: &Block<'_>) {
        let ["of", port, machine, "by", service, ref rest @ ..] = block.rest[..] else {
            panic!("{:?} is no insertion", block.rest)
        };
        let mut insertion = L2Insertion {
            id: named(block.name),
            port_id: named(port),
            srv_port_id: named(service),
            mac: mac(machine) as Mac,
            vlan: 0,
            position: 0,
            fail_open: false,
            heartbeat: false,
        };
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            match *word {
                "vlan" => insertion.vlan = words.next().unwrap().parse().unwrap(),
                "at" => insertion.position = words.next().unwrap().parse().unwrap(),
                "open" => insertion.fail_open = true,
                "heartbeat" => insertion.heartbeat = true,
                other => panic!("{other:?} is nothing an insertion has"),
            }
        }
        self.objects.push(AnyObject::L2Insertion(insertion));
    }

    /// Has the ports of insertions name them.
    pub(crate) fn insert(&mut self) {
        let insertions: Vec<L2Insertion> = self
            .objects
            .iter()
            .filter_map(|object| match object {
                AnyObject::L2Insertion(insertion) => Some(insertion.clone()),
                _ => None,
            })
            .collect();
        for object in &mut self.objects {
            let AnyObject::Port(port) = object else { continue };
            let of = |insertion: &&L2Insertion| insertion.port_id == port.id;
            port.insertion_ids = insertions.iter().filter(of).map(|it| it.id).collect();
            let by = |insertion: &&L2Insertion| insertion.srv_port_id == port.id;
            port.srv_insertion_ids = insertions.iter().filter(by).map(|it| it.id).collect();
        }
    }
}
