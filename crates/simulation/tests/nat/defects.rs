//! Defects planted in rules, memory and what is done: conversations through a translation notice
//! each of them.

use std::collections::BTreeSet;

use mn_flow::{Rewrite, VirtualAction};
use mn_simulation::nat::{NatBinding, NatKind};
use mn_testkit::{Lab, named};
use mn_topology::DeviceId;

use crate::stories::{MASQUERADE, addr, world};
use crate::traffic::{Ends, back, quoted};

/// What is wrong.
struct Defect {
    name: &'static str,
    rules: (&'static str, &'static str),
    /// Done to what is remembered after each packet.
    remember: fn(&mut Vec<NatBinding>),
    /// Done to what is done with an error.
    act: fn(&mut Vec<VirtualAction>),
}

const NONE: Defect = Defect { name: "none", rules: MASQUERADE, remember: |_| {}, act: |_| {} };

fn newest(all: &mut [NatBinding], change: impl Fn(&mut NatBinding)) {
    all.last_mut().into_iter().for_each(change);
}

fn each(actions: &mut [VirtualAction], change: impl Fn(&mut Rewrite)) {
    for action in actions {
        if let VirtualAction::Rewrite(rewrite) = action {
            change(rewrite);
        }
    }
}

const DEFECTS: &[Defect] = &[
    Defect {
        name: "the translation is forgotten",
        remember: |all| all.truncate(all.len().saturating_sub(1)),
        ..NONE
    },
    Defect {
        name: "another port is remembered than was given",
        remember: |all| newest(all, |it| it.to.port ^= 1),
        ..NONE
    },
    Defect {
        name: "another address is remembered",
        remember: |all| newest(all, |it| it.to.addr = mn_packet::to_v6(addr("203.0.113.3"))),
        ..NONE
    },
    Defect {
        name: "it is remembered as one of the destination",
        remember: |all| newest(all, |it| it.key.kind = NatKind::Destination),
        ..NONE
    },
    Defect {
        name: "it is remembered as another device's",
        remember: |all| newest(all, |it| it.key.device = DeviceId::Router(named("other"))),
        ..NONE
    },
    Defect {
        name: "the machine's port is not remembered",
        remember: |all| newest(all, |it| it.key.tuple.src_port = 1),
        ..NONE
    },
    Defect {
        name: "two machines are taken for one",
        remember: |all| {
            newest(all, |it| {
                it.key.tuple.src = it.key.tuple.src.to_bits().saturating_add(1).into()
            });
        },
        ..NONE
    },
    Defect { name: "answers are not translated", rules: ("", MASQUERADE.1), ..NONE },
    Defect {
        name: "answers are translated too late",
        rules: ("", "rev-snat\n snat 203.0.113.2@1024-65535 out-port edge.street"),
        ..NONE
    },
    Defect { name: "nothing is translated", rules: (MASQUERADE.0, ""), ..NONE },
    Defect {
        name: "answers to IPv6 are not translated",
        rules: ("rev-snat to 203.0.113.2/32", MASQUERADE.1),
        ..NONE
    },
    Defect {
        name: "the quotation of an error stays as it came",
        act: |all| {
            all.retain(|it| !matches!(it, VirtualAction::Rewrite(Rewrite::InnerSrc(..))));
        },
        ..NONE
    },
    Defect {
        name: "the quoted port stays as it came",
        act: |all| {
            each(all, |it| {
                if let Rewrite::InnerSrc(_, port) = it {
                    *port = None;
                }
            });
        },
        ..NONE
    },
    Defect {
        name: "the other end of the quotation is translated",
        act: |all| {
            each(all, |it| {
                if let Rewrite::InnerSrc(addr, port) = *it {
                    *it = Rewrite::InnerDst(addr, port);
                }
            });
        },
        ..NONE
    },
];

const PACKETS: [&str; 8] = [
    "vm1 > out tcp 80",
    "vm2 > out tcp 80",
    "vm1 > out udp 53",
    "vm2 > out udp 53",
    "vm1 > out icmp",
    "vm2 > out icmp",
    "vm1 > out tcp 80 v6",
    "vm2 > out icmp v6",
];

/// Whether everybody hears what was said to them, and errors about it.
fn all_converse(lab: &mut Lab, defect: &Defect) -> bool {
    let mut seen_by_all = BTreeSet::new();
    for packet in PACKETS {
        let sent = lab.send(&format!("{packet} sport 5555 id 5555"));
        let (asked, arrivals) = (Ends::of(&sent.built.key), sent.arrivals());
        let effects = sent.buffers.effects.clone();
        let [at] = arrivals[..] else { return false };
        let seen = Ends::of(&at.headers);
        lab.tables.learn(&effects);
        (defect.remember)(&mut lab.tables.translations.all);
        let public = ["203.0.113.2", "2001:db8:1::2"][usize::from(seen.src.is_ipv6())];
        let alone = seen_by_all.insert((seen.protocol.0, seen.src, seen.src_port));
        if seen.src != addr(public) || !alone {
            return false;
        }
        let answer = back(lab, &at, &seen.answer().packet(64)).arrivals();
        if answer.len() != 1 || Ends::of(&answer[0].headers) != asked.answer() {
            return false;
        }
        let far = ["198.51.100.77", "2001:db8::77"][usize::from(seen.src.is_ipv6())];
        let mut error = back(lab, &at, &seen.error(addr(far)));
        let arrived = error.arrivals();
        (defect.act)(&mut error.buffers.actions);
        let whom = arrived.first().map(|it| Ends::of(&it.headers).dst);
        if whom != Some(asked.src) || quoted(seen, &error.buffers.actions) != asked {
            return false;
        }
    }
    true
}

#[test]
fn every_defect_planted_in_a_translation_is_noticed() {
    let conversation = |defect: &Defect| {
        let mut lab = world(defect.rules.0, defect.rules.1);
        all_converse(&mut lab, defect)
    };
    assert!(conversation(&NONE), "without a defect everybody is heard");
    let unnoticed = DEFECTS.iter().filter(|defect| conversation(defect));
    let unnoticed: Vec<&str> = unnoticed.map(|defect| defect.name).collect();
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}
