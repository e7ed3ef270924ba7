//! How many new flows a second one worker takes, and what becomes of the packets it does not.

use std::collections::BTreeMap;
use std::fs;

use mn_testbed::{Host, Lab, LabError, Outcome};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::json;

use super::figure::Figure;
use super::layout::{Layout, Layouts, NEW_FLOWS_FROM};
use super::measure::{Server, load, number};

/// Datagrams a second, the share that may be lost (in percent), and whether that must be.
const RATES: [(u32, f64, bool); 3] =
    [(50_000, 0.0, true), (60_000, 0.1, true), (100_000, 0.1, false)];

/// Sends new flows at each rate by each layout whose rules read ports; the share that was lost.
///
/// The sender has CPU 0, worker and receiver have CPU 1, as far as there are two.
pub fn measure(
    layouts: &mut Layouts,
    wants: impl Fn(&str) -> bool,
    runs: usize,
    seconds: f64,
) -> Vec<Figure> {
    for host in 0..layouts.ours.hosts.len() {
        if let Err(error) = pin_workers(&mut layouts.ours, host) {
            eprintln!("  the workers of host {host} cannot be pinned: {error}");
        }
    }
    let mut figures = Vec::new();
    for (rate, least, is_must) in RATES {
        for layout in layouts.all.iter().filter(|l| l.reads_ports && wants(l.name)) {
            let name = format!("lost of {rate} new flows/s for {seconds} s, {}", layout.name);
            println!("{name}");
            let mut values = Vec::new();
            let before = drops(&layouts.ours.hosts);
            for _ in 0..runs {
                values.push(lost(layout, rate, seconds).unwrap_or_else(|error| {
                    eprintln!("  {name}: {error}");
                    f64::NAN
                }));
            }
            let note = causes(&before, &drops(&layouts.ours.hosts));
            let figure = Figure::less(name, "%", values).note(note);
            figures.push(if is_must { figure.must(least) } else { figure.aim(least) });
        }
    }
    figures
}

/// Binds the packet workers of a host's agent to CPU 1.
pub(super) fn pin_workers(lab: &mut Lab, host: usize) -> Outcome {
    let name = lab.hosts[host].name.clone();
    let pid = lab.process(&name)?.identity().pid;
    let mut cpus = CpuSet::new();
    cpus.set(1).map_err(|e| LabError::unexpected("a set of CPUs", e.to_string()))?;
    let tasks =
        fs::read_dir(format!("/proc/{pid}/task")).map_err(LabError::machine("read /proc"))?;
    for task in tasks.flatten() {
        let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let id = task.file_name().to_string_lossy().parse();
        if let (true, Ok(id)) = (comm.starts_with("packets-"), id) {
            sched_setaffinity(Pid::from_raw(id), &cpus)
                .map_err(|e| LabError::unexpected("binding a worker", e.to_string()))?;
        }
    }
    Ok(())
}

fn lost(layout: &Layout, rate: u32, seconds: f64) -> Outcome<f64> {
    let rate_word = rate.to_string();
    let words = ["flows", "--rate", &rate_word, "--from", NEW_FLOWS_FROM];
    let told = load(layout, &words, Server::Napping, seconds)?;
    let offered = number(&told, "flows_per_s")?;
    if offered < 0.98 * f64::from(rate) {
        let reason = format!("only {offered:.0} a second could be sent");
        return Err(LabError::unexpected("the load tool's rate", reason));
    }
    Ok(100.0 * number(&told, "lost")?)
}

/// Dropped packets by cause, of all hosts.
fn drops(hosts: &[Host]) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for host in hosts {
        let counters = host.ask(&json!({ "request": "counters" })).unwrap_or_default();
        for drop in counters["drops"].as_array().into_iter().flatten() {
            let cause = drop["cause"].as_str().unwrap_or_default().to_owned();
            *all.entry(cause).or_default() += drop["packets"].as_u64().unwrap_or_default();
        }
    }
    all
}

/// What was dropped meanwhile, and why. What is lost beyond that the datapath did not drop.
fn causes(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> String {
    let new = |(cause, count): (&String, &u64)| {
        let more = count - before.get(cause).copied().unwrap_or(0).min(*count);
        (more > 0).then(|| format!("{cause} {more}"))
    };
    let causes: Vec<String> = after.iter().filter_map(new).collect();
    if causes.is_empty() { "nothing dropped".to_owned() } else { causes.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_those_that_rose() {
        let before = BTreeMap::from([("rule".to_owned(), 3), ("port-gone".to_owned(), 1)]);
        let mut after = before.clone();
        assert_eq!(causes(&before, &after), "nothing dropped");
        after.insert("upcall-queue".to_owned(), 7);
        after.insert("rule".to_owned(), 4);
        assert_eq!(causes(&before, &after), "rule 1, upcall-queue 7");
    }
}
