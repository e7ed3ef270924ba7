//! What is measured without a network: lookups, the simulation, memory.

use std::collections::BTreeMap;
use std::fs;

use mn_testbed::{Lab, LabError, Outcome};
use serde_json::Value;

use super::figure::{self, Figure};
use crate::command::{cargo, output};

/// Figures of the kernel's lookup, by `BPF_PROG_TEST_RUN` of a test that is built for speed: among
/// 1,048,576 flows of one mask, and with 16 masks.
pub fn lookups() -> Vec<Figure> {
    let told = told(&["-p", "mn-datapath", "--test", "kernel"], "speed::figures");
    let rest = told.get("without_lookup_ns").and_then(|it| figure::middle(it)).unwrap_or(0.0);
    let figure = |name: &str, key: &str, must, aim| {
        // What the program does besides is no lookup.
        let values = told.get(key).into_iter().flatten().map(|value| value - rest).collect();
        let note = format!("without the {rest} ns that drawing a key takes");
        Figure::less(name, "ns", values).must(must).aim(aim).note(note)
    };
    vec![
        figure("lookup and counters, 1M flows, uniform", "lookup_uniform_ns", 800.0, 500.0),
        figure("lookup and counters, 1M flows, Zipf(1.0)", "lookup_zipf_ns", 300.0, 150.0),
        figure("lookup and counters, 16 masks, hot", "lookup_16_masks_ns", 150.0, 100.0),
    ]
}

/// Figures of the agent's part of a new flow, by a test that is built for speed.
pub fn simulation() -> Vec<Figure> {
    let told = told(&["-p", "mn-agent-core", "--test", "steady"], "figures");
    let values = |key: &str| told.get(key).cloned().unwrap_or_default();
    vec![
        Figure::less("simulation of a routed, filtered packet", "ns", values("simulated_ns"))
            .must(2000.0)
            .aim(700.0),
        Figure::less("simulation, translation, entry of a flow", "ns", values("entered_ns"))
            .note("the table full: one leaves for each"),
        Figure::less("user memory of a flow", "octets", values("octets_of_a_flow"))
            .must(300.0)
            .note("of 262,144 flows, 1,024 with the same tags"),
    ]
}

/// Lines of JSON that an ignored test prints, by their key; none where it could not run.
fn told(target: &[&str], test: &str) -> BTreeMap<String, Vec<f64>> {
    let mut command = cargo();
    command.args(["test", "--release", "--quiet", "--locked"]).args(target);
    command.args(["--", "--ignored", "--nocapture", "--exact", test]);
    let text = output(&mut command).unwrap_or_else(|error| {
        eprintln!("  {test}: {error}");
        String::new()
    });
    figures_in(&text)
}

fn figures_in(text: &str) -> BTreeMap<String, Vec<f64>> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Ok(Value::Object(object)) = serde_json::from_str(line) else { continue };
        for (key, values) in object {
            let values = values.as_array().into_iter().flatten().filter_map(Value::as_f64);
            found.insert(key, values.collect());
        }
    }
    found
}

/// The agents' memory while they have nothing to do, and what it is made of.
pub fn memory(lab: &mut Lab) -> Vec<Figure> {
    let hosts: Vec<String> = lab.hosts.iter().map(|host| host.name.clone()).collect();
    let mut all = Vec::new();
    for host in hosts {
        match resident(lab, &host) {
            Ok(resident) => all.push(resident),
            Err(error) => eprintln!("  memory of {host}: {error}"),
        }
    }
    let values = all.iter().map(|resident| resident.whole).collect();
    let parts = |part: fn(&Resident) -> f64| all.iter().map(part).fold(0.0, f64::max);
    let note = format!(
        "at most {:.1} MB its own, {:.1} MB files, {:.1} MB maps of the kernel, rings twice",
        parts(|r| r.anonymous),
        parts(|r| r.files),
        parts(|r| r.maps)
    );
    vec![
        Figure::less("resident memory of an idle agent", "MB", values)
            .must(40.0)
            .aim(25.0)
            .note(note),
    ]
}

/// Megabytes (of 10^6 octets) of a process.
#[derive(Default)]
struct Resident {
    whole: f64,
    anonymous: f64,
    files: f64,
    maps: f64,
}

fn resident(lab: &mut Lab, host: &str) -> Outcome<Resident> {
    let pid = lab.process(host)?.identity().pid;
    let path = format!("/proc/{pid}/smaps");
    let text = fs::read_to_string(path).map_err(LabError::machine("read the memory map"))?;
    Ok(sum(&text))
}

/// Adds up what a memory map says is resident, by what it is.
fn sum(smaps: &str) -> Resident {
    let mut sum = Resident::default();
    let mut name = String::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if !first.ends_with(':') {
            // address, permissions, offset, device, inode, name
            name = words.nth(4).unwrap_or_default().to_owned();
            continue;
        }
        let octets = words.next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0;
        let megabytes = octets / 1e6;
        match first {
            "Rss:" => {
                sum.whole += megabytes;
                if name.contains("bpf") {
                    sum.maps += megabytes;
                } else if name.starts_with('/') {
                    sum.files += megabytes;
                }
            }
            "Anonymous:" => sum.anonymous += megabytes,
            _ => {}
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_lines_of_json_among_others() {
        let found = figures_in("running 1 test\n{\"a_ns\":[1.5,2]}\n[3]\ntest x ... ok\n");
        assert_eq!(found, BTreeMap::from([("a_ns".to_owned(), vec![1.5, 2.0])]));
    }

    #[test]
    fn memory_is_told_apart_by_what_it_is() {
        let text = "\
7f00-7f01 rw-s 00000000 00:0e 1062 anon_inode:bpf-map
Rss:                1000 kB
Anonymous:             0 kB
5500-5600 r-xp 00000000 08:01 77 /usr/bin/midonet
Rss:                2000 kB
Anonymous:           500 kB
6000-6100 rw-p 00000000 00:00 0 [heap]
Rss:                3000 kB
Anonymous:          3000 kB
";
        let found = sum(text);
        let kb = |megabytes: f64| (megabytes * 1e6 / 1024.0).round();
        assert_eq!(kb(found.whole), 6000.0);
        assert_eq!(
            (kb(found.maps), kb(found.files), kb(found.anonymous)),
            (1000.0, 2000.0, 3500.0)
        );
    }
}
