//! What a VM that floods its host with new flows costs its neighbour (`RP-*`).
//!
//! In turns, the same flood is decided about packet by packet, or hits one installed flow that drops
//! it. Meanwhile a neighbour sends first packets to another.

use std::process::Stdio;
use std::time::Duration;

use mn_testbed::{Attachment, Lab, LabError, Outcome, Plan, Vm, finish, program};
use serde_json::{Value, json};

use super::figure::{self, Figure};
use super::measure::{self, Running, Server, number, run_beside, serve};
use super::new_flows::pin_workers;

/// New flows a second.
const RATE: &str = "100000";
/// The flood's sources: half a network, of which nobody else is.
const FLOOD: (&str, u8, &str) = ("10.6.0.128", 25, "100");
/// First packets of each run.
const FIRST: &str = "600";
/// How long a flood goes on; the neighbour takes less.
const SECONDS: &str = "3.5";

/// A host with a VM that floods, one that takes it, and two neighbours.
struct Stage {
    lab: Lab,
    flooder: Vm,
    sink: Vm,
    client: Vm,
    server: Vm,
    /// The flooder's port, and the chain that drops its flood.
    port: String,
    wall: String,
}

impl Stage {
    fn start() -> Outcome<Self> {
        let mut lab = Lab::start(&Plan::new("bench-flood"))?;
        let control = lab.control.clone();
        let bridge = control.bridge("flooded")?;
        // A rule that reads ports: each new pair is a new flow.
        let ports = control.chain("reads ports")?;
        let range = json!({ "start": 1, "end": 1 });
        let rule = json!({ "type": "drop", "dlType": 2048, "nwProto": 17, "tpSrc": range });
        control.rule(&ports, &rule)?;
        let wall = control.chain("drops the flood")?;
        let flood = json!({
            "type": "drop", "dlType": 2048, "nwSrcAddress": FLOOD.0, "nwSrcLength": FLOOD.1,
        });
        control.rule(&wall, &flood)?;
        let mut vm = |name: &str, last: u8| -> Outcome<(Vm, String)> {
            let vm = lab.add_vm(name, 0, Attachment::Veth)?;
            vm.address(&format!("10.6.0.{last}/24"))?;
            let port = lab.plug(&vm, 0, &bridge)?;
            control.change(&format!("/ports/{port}"), &json!({ "outboundFilterId": ports }))?;
            control.wait_active(&[&port])?;
            Ok((vm, port))
        };
        let (flooder, port) = vm("flooder", 10)?;
        let [sink, client, server] = [vm("sink", 11)?.0, vm("client", 12)?.0, vm("server", 13)?.0];
        pin_workers(&mut lab, 0)?;
        Ok(Self { lab, flooder, sink, client, server, port, wall })
    }

    /// What the neighbour measures during a flood that is decided about, or dropped by one flow.
    fn run(&self, is_dropped: bool) -> Outcome<Value> {
        let wall = if is_dropped { json!(self.wall) } else { Value::Null };
        let path = format!("/ports/{}", self.port);
        self.lab.control.change(&path, &json!({ "inboundFilterId": wall }))?;
        let _servers = [
            serve(&self.sink.namespace, "10.6.0.11:7000", Server::Napping)?,
            serve(&self.server.namespace, "10.6.0.13:7000", Server::Near)?,
        ];
        let flood = self.flood()?;
        std::thread::sleep(Duration::from_millis(500));
        let mut client = self.client.namespace.command(&program("load")?);
        client.args(["first", "--to", "10.6.0.13:7000", "--count", FIRST, "--cpu", "0"]);
        let told = finish(&mut client)?;
        let rate = number(&measure::json(&flood.said()?)?, "flows_per_s")?;
        if rate < 90_000.0 {
            let reason = format!("only {rate:.0} a second could be sent");
            return Err(LabError::unexpected("the flood's rate", reason));
        }
        measure::json(&told)
    }

    fn flood(&self) -> Outcome<Running> {
        let mut flood = self.flooder.namespace.command(&program("load")?);
        flood.args(["flows", "--to", "10.6.0.11:7000", "--rate", RATE, "--seconds", SECONDS]);
        flood.args(["--from", FLOOD.0, "--sources", FLOOD.2, "--cpu", "0"]);
        run_beside(flood.stdout(Stdio::piped()))
    }
}

/// First packets of a neighbour during a flood, against those during the same flood that hits a drop
/// flow: so many pairs of runs.
pub fn measure(pairs: usize) -> Outcome<Vec<Figure>> {
    let stage = Stage::start()?;
    let [mut p50, mut p99, mut lost, mut notes] = [const { Vec::new() }; 4];
    let mut notes_p99 = Vec::new();
    stage.run(true)?;
    for pair in 1..=pairs {
        println!("flood, pair {pair} of {pairs}");
        let (control, flood) = (stage.run(true)?, stage.run(false)?);
        let of = |field| -> Outcome<(f64, f64)> {
            Ok((number(&flood, field)?, number(&control, field)?))
        };
        let ((a50, b50), (a99, b99)) = (of("first_p50_us")?, of("first_p99_us")?);
        p50.push(a50 / b50);
        p99.push(a99 / b99);
        lost.push(number(&flood, "lost")?);
        notes.push(b50);
        notes_p99.push(format!("{a99:.0}/{b99:.0}"));
    }
    let micros = format!("{:.0} µs in the control run", figure::middle(&notes).unwrap_or(0.0));
    let name = |what: &str| format!("first packet beside 100,000 new flows/s, {what}");
    Ok(vec![
        Figure::less(name("p50 to control"), "×", p50).must(1.2).note(micros),
        Figure::less(name("p99 to control"), "×", p99).must(1.5).note(notes_p99.join(" ")),
        Figure::less(name("lost"), "", lost).must(0.0),
    ])
}
