//! From the one REST call that makes a VM's port usable to its first answered packet.
//!
//! Two hosts. Each try has a VM, an address and a port that were never there before; everything is
//! in place but the binding. Then the port is bound, and the time runs from that request's first
//! octet. A probe goes every millisecond, past the asking guest's stack: first the question for its
//! neighbour, then echo requests. The answering guest is a stack as it is, which asks for a
//! neighbour once a second: a question of its that is lost shows as a second.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use mn_testbed::{Attachment, Contact, Lab, LabError, Outcome, Plan, Route, Vm, finish, wait_for};
use serde_json::{Value, json};

/// The bounds, in milliseconds: p50 and p99 that must be, and that are aimed at.
const MUST: (f64, f64) = (10.0, 50.0);
const AIM: (f64, f64) = (5.0, 15.0);
/// How long the probes go before the call.
const BEFORE: Duration = Duration::from_millis(20);
/// How long the host has been quiet when a try begins.
const CALM: Duration = Duration::from_millis(60);
const PATIENCE: Duration = Duration::from_secs(10);

/// What is between the two stations, and which of them asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Way {
    pub name: &'static str,
    routed: bool,
    /// The VM whose port is bound asks the one that is there; else the other way round.
    outward: bool,
}

/// Everything that is measured. The first of each pair is what counts.
pub const WAYS: [Way; 4] = [
    Way { name: "first contact: bridge, from the new VM", routed: false, outward: true },
    Way { name: "first contact: bridge, to the new VM", routed: false, outward: false },
    Way { name: "first contact: router, from the new VM", routed: true, outward: true },
    Way { name: "first contact: router, to the new VM", routed: true, outward: false },
];

/// One way's tries, in milliseconds since the call was sent.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    /// The first answer of the other station.
    pub contact: Vec<f64>,
    /// The API's own answer.
    pub call: Vec<f64>,
    /// Tries without an answer.
    pub failed: usize,
}

impl Tries {
    /// The value that `share` of the tries do not exceed; a try without an answer exceeds all.
    pub fn quantile(&self, share: f64) -> f64 {
        quantile(&self.contact, self.failed, share)
    }
}

/// By nearest rank.
fn quantile(values: &[f64], failed: usize, share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.extend(std::iter::repeat_n(f64::INFINITY, failed));
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Two hosts, two networks with a router between, a VM of each on the second host.
pub struct Stage {
    lab: Lab,
    hosts: [String; 2],
    near: String,
    peers: [Vm; 2],
    made: u8,
}

impl Stage {
    /// Sets everything up.
    pub fn start() -> Outcome<Self> {
        let mut lab = Lab::start(&Plan::new("bench-contact"))?;
        let control = lab.control.clone();
        let (near, far) = (control.bridge("near")?, control.bridge("far")?);
        let router = control.router("between")?;
        control.uplink(&near, &router, &["10.6.1.1/24"])?;
        control.uplink(&far, &router, &["10.6.2.1/24"])?;
        let mut peer = |name: &str, bridge: &str, net: u8| -> Outcome<Vm> {
            let vm = lab.add_vm(name, 1, Attachment::Veth)?;
            vm.address(&format!("10.6.{net}.2/24"))?;
            vm.gateway(&format!("10.6.{net}.1"))?;
            let port = lab.plug(&vm, 1, bridge)?;
            control.wait_active(&[&port])?;
            Ok(vm)
        };
        let peers = [peer("near", &near, 1)?, peer("far", &far, 2)?];
        // They are running systems: their gateway knows them.
        finish(peers[0].namespace.command("ping").args(["-c", "3", "-i", "0.2", "10.6.2.2"]))?;
        let hosts = [lab.host_id("hv0")?, lab.host_id("hv1")?];
        Ok(Self { lab, hosts, near, peers, made: 0 })
    }

    /// One try. The time from the call to the first answer, and to the call's own.
    pub fn once(&mut self, way: Way) -> Outcome<(f64, f64)> {
        // Addresses .10 to .249 come in turns: each is a stranger again by then, with its own MAC.
        self.made = (self.made + 1) % 240;
        let address = format!("10.6.1.{}", 10 + self.made);
        let name = format!("n{}", self.made);
        let vm = self.lab.add_vm(&name, 0, Attachment::Veth)?;
        let tried = self.with(way, &vm, &address);
        let removed = self.lab.remove_vm(&vm);
        tried.and_then(|times| removed.map(|()| times))
    }

    fn with(&self, way: Way, vm: &Vm, address: &str) -> Outcome<(f64, f64)> {
        vm.address(&format!("{address}/24"))?;
        vm.gateway("10.6.1.1")?;
        let control = &self.lab.control;
        let port = control.bridge_port(&self.near)?;
        let interfaces = format!("/hosts/{}/interfaces", self.hosts[0]);
        wait_for("the host shows the interface", PATIENCE, || {
            let shown = control.rest().get(&interfaces)?;
            let names = shown.as_array().into_iter().flatten().map(|it| &it["name"]);
            Ok(names.into_iter().any(|name| *name == vm.interface.as_str()))
        })?;
        sleep(CALM);
        let asking = Contact::start(self.asker(way, vm), self.route(way, vm, address)?);
        let measured = asking.and_then(|asking| self.call(&asking, &port, vm));
        let unbound = control.unbind(&port, &self.hosts[0]);
        control.rest().delete(&format!("/ports/{port}"))?;
        unbound.and(measured)
    }

    fn asker<'s>(&'s self, way: Way, vm: &'s Vm) -> &'s mn_testbed::Namespace {
        if way.outward { &vm.namespace } else { &self.peers[usize::from(way.routed)].namespace }
    }

    fn route(&self, way: Way, vm: &Vm, address: &str) -> Outcome<Route> {
        let peer = &self.peers[usize::from(way.routed)];
        let net = 1 + u8::from(way.routed);
        let there = format!("10.6.{net}.2");
        let (asker, from, to) = match way.outward {
            true => (vm, address, there.as_str()),
            false => (peer, there.as_str(), address),
        };
        let gateway = format!("10.6.{}.1", if way.outward { 1 } else { net });
        let wrong = |what: &str| LabError::unexpected(what.to_owned(), "cannot be read");
        Ok(Route {
            mac: asker.mac.parse().map_err(|_| wrong(&asker.mac))?,
            from: from.parse().map_err(|_| wrong(from))?,
            via: if way.routed { &gateway } else { to }.parse().map_err(|_| wrong(to))?,
            to: to.parse().map_err(|_| wrong(to))?,
        })
    }

    /// Binds the port while the station asks.
    fn call(&self, asking: &Contact, port: &str, vm: &Vm) -> Outcome<(f64, f64)> {
        let body = json!({ "portId": port, "interfaceName": vm.interface });
        let path = format!("/hosts/{}/ports", self.hosts[0]);
        let call = self.lab.control.rest().ready("POST", &path, Some(&body))?;
        sleep(BEFORE);
        if asking.met().answered.is_some() {
            return Err(LabError::unexpected("the port is not bound", "and answers"));
        }
        let sent_at = Instant::now();
        let answer = call.send()?;
        let called = sent_at.elapsed();
        if answer.status != 201 {
            return Err(LabError::unexpected("binding the port", answer.body));
        }
        let answered_at = asking.answered(PATIENCE)?;
        Ok((milliseconds(answered_at - sent_at), milliseconds(called)))
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Measures every way that is wanted so often, in turns.
pub fn measure(
    stage: &mut Stage,
    tries: usize,
    wanted: impl Fn(&Way) -> bool,
) -> Vec<(Way, Tries)> {
    let chosen = WAYS.iter().filter(|way| wanted(way));
    let mut all: Vec<(Way, Tries)> = chosen.map(|way| (*way, Tries::default())).collect();
    for number in 0..tries {
        for (way, tries) in &mut all {
            match stage.once(*way) {
                Ok((contact, call)) => {
                    tries.contact.push(contact);
                    tries.call.push(call);
                }
                Err(error) => {
                    eprintln!("  {}, try {number}: {error}", way.name);
                    tries.failed += 1;
                }
            }
        }
    }
    all
}

/// A table, the verdicts, and whether all that must be is: with fewer than fifty tries nothing
/// fails.
pub fn report(all: &[(Way, Tries)]) -> (String, bool) {
    let mut text = String::from("First contact (ms after the call; the call's own answer)\n");
    let mut reached = true;
    for (way, tries) in all {
        let (p50, p99) = (tries.quantile(0.5), tries.quantile(0.99));
        let call = quantile(&tries.call, 0, 0.5);
        let count = tries.contact.len() + tries.failed;
        let fits = p50 <= MUST.0 && p99 <= MUST.1;
        let word = match fits {
            true if p50 <= AIM.0 && p99 <= AIM.1 => "aim",
            true => "reached",
            false if count < 50 => "open",
            false => "missed",
        };
        reached &= word != "missed";
        writeln!(
            text,
            "  {word:8} {}: p50 {p50:.1}, p99 {p99:.1} of {count} (call {call:.1}); \
             at most {}, {}; aim {}, {}",
            way.name, MUST.0, MUST.1, AIM.0, AIM.1
        )
        .expect("a String");
    }
    (text, reached)
}

/// The rows of the document.
pub fn rows(all: &[(Way, Tries)]) -> Vec<Value> {
    let row = |(way, tries): &(Way, Tries)| {
        json!({
            "layout": way.name, "metric": "first contact", "unit": "ms",
            "values": tries.contact, "call": tries.call, "failed": tries.failed,
            "p50": tries.quantile(0.5), "p99": tries.quantile(0.99),
            "must": { "p50": MUST.0, "p99": MUST.1 }, "aim": { "p50": AIM.0, "p99": AIM.1 },
        })
    };
    all.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_without_an_answer_is_slower_than_every_other() {
        let mut tries = Tries { contact: (1..=49).map(f64::from).collect(), ..Tries::default() };
        tries.failed = 1;
        assert_eq!((tries.quantile(0.5), tries.quantile(0.98)), (25.0, 49.0));
        assert_eq!(tries.quantile(0.99), f64::INFINITY);
        let (text, reached) = report(&[(WAYS[0], tries.clone())]);
        assert!(!reached && text.contains("missed"), "{text}");
        tries.contact.truncate(5);
        assert!(report(&[(WAYS[0], tries)]).1, "a few tries fail nothing");
    }

    #[test]
    fn what_is_fast_enough_reaches_its_aim_and_what_is_nearly_so_only_its_must() {
        let tries = |value| Tries { contact: vec![value; 50], ..Tries::default() };
        for (value, word) in [(4.0, "aim "), (9.0, "reached "), (11.0, "missed ")] {
            let (text, _) = report(&[(WAYS[0], tries(value))]);
            assert!(text.contains(word), "{value}: {text}");
        }
    }
}
