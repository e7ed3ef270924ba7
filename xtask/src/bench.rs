//! `cargo xtask bench`: how fast packets go, beside what the kernel does without us.
//!
//! Layouts are measured in turns inside each round, so that a disturbance of the machine meets all
//! of them. Senders and request servers are pinned to CPU 0, receivers of streams and datagrams to
//! CPU 1: unpinned, request rates vary by a factor of four on machines whose cores wake each other
//! slowly.

mod alone;
mod contact;
mod figure;
mod flood;
mod layout;
mod machine;
mod measure;
mod new_flows;
mod ovn;
mod report;
mod statistics;
mod translated;

use clap::{Args, ValueEnum};

use self::figure::Figure;
use self::layout::Layouts;
use self::measure::Series;
use crate::command::{Outcome, cargo, root, run};
use crate::demo::need_root;
use crate::packages;

#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench --quick                        a first look, minutes
  cargo xtask bench                                figures: nine rounds of everything, an hour; as root
  cargo xtask bench --part paths --with-ovn        packets through ours, the kernel's own, and OVN
  cargo xtask bench --part paths --only \"two hosts\" --only vxlan --metric request
  cargo xtask bench --only \"first contact\"

Prints ratios with 95 % intervals and writes bench/results. Run it on a machine with nothing else to do.")]
pub struct Options {
    /// Three short rounds instead of nine: for a first look, not for figures
    #[arg(long)]
    quick: bool,
    /// Rounds; below nine no figure fails
    #[arg(long)]
    rounds: Option<usize>,
    /// Tries of each first contact: ten with --quick, else fifty
    #[arg(long)]
    tries: Option<usize>,
    /// Only this part; may be repeated
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Only layouts whose name contains this, or one of these
    #[arg(long)]
    only: Vec<String>,
    /// Measure OVN beside them: Debian's packages are downloaded, not installed
    #[arg(long)]
    with_ovn: bool,
    /// Only figures whose name contains this
    #[arg(long)]
    metric: Option<String>,
    /// Set by the bench itself when it has built everything for speed
    #[arg(long, hide = true)]
    built: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Part {
    /// Packets through every layout, in turns
    Paths,
    /// New flows, at rates, for ten seconds each; two with --quick
    NewFlows,
    /// From the call that binds a port to its first answered packet
    Contact,
    /// A neighbour's first packets beside a flood of new flows
    Flood,
    /// The memory of agents that have nothing to do
    Memory,
    /// The kernel's lookup among a million flows
    Lookup,
    /// The simulation, and what else an agent does about a new flow
    Simulation,
}

/// Builds for speed, measures, prints and writes what was found.
///
/// # Errors
/// When a layout cannot be set up, or a figure that must be reached is out of reach.
pub fn run_bench(options: &Options) -> Outcome {
    need_root("the bench makes network namespaces and loads BPF programs")?;
    packages::install_missing()?;
    if !options.built {
        return rebuilt(options);
    }
    let mut document = report::Document::default();
    let mut figures = machine::figures();
    let paths = of_layouts(options, &mut document, &mut figures)?;
    let contact = contact_of(options, &mut document)?;
    if options.has(Part::Flood) {
        figures
            .extend(flood::measure(if options.quick { 1 } else { 9 }).map_err(|e| e.to_string())?);
    }
    if options.has(Part::Lookup) {
        figures.extend(alone::lookups());
    }
    if options.has(Part::Simulation) {
        figures.extend(alone::simulation());
    }
    if !figures.is_empty() {
        println!("{}", figure::table(&figures));
    }
    document.add_rows(figures.iter().map(Figure::json).collect());
    let path = document.write(&root())?;
    println!("written to {}", path.display());
    // A first look fails nothing.
    let alone = options.quick || !figures.iter().any(Figure::is_missed);
    if paths && contact && alone {
        Ok(())
    } else {
        Err("a figure that must be reached is out of reach".to_owned())
    }
}

/// What needs the layouts: packets through them in rounds, and new flows. Whether the ratios that
/// must be reached are.
fn of_layouts(
    options: &Options,
    document: &mut report::Document,
    figures: &mut Vec<Figure>,
) -> Result<bool, String> {
    let parts = [Part::Memory, Part::Paths, Part::NewFlows].map(|part| options.has(part));
    let wants_ovn = options.with_ovn && ovn::has_layout(|name| options.wants(name));
    let wants_any = wants_ovn || layout::NAMES.iter().any(|name| options.wants(name));
    if parts == [false; 3] || !wants_any {
        return Ok(true);
    }
    println!("Setting up the layouts");
    let mut layouts = Layouts::start(wants_ovn).map_err(|e| e.to_string())?;
    let [memory, paths, new_flows] = parts;
    let mut reached = true;
    // First, while they are idle.
    if memory {
        figures.extend(alone::memory(&mut layouts.ours));
    }
    if paths {
        reached = in_rounds(options, &layouts, document, figures);
    }
    if new_flows {
        let (runs, seconds) = if options.quick { (1, 2.0) } else { (3, 10.0) };
        let wants = |name: &str| options.wants(name);
        figures.extend(new_flows::measure(&mut layouts, wants, runs, seconds));
    }
    Ok(reached)
}

fn in_rounds(
    options: &Options,
    layouts: &Layouts,
    document: &mut report::Document,
    figures: &mut Vec<Figure>,
) -> bool {
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 9 });
    let seconds = if options.quick { 0.5 } else { 1.0 };
    let chosen: Vec<&layout::Layout> =
        layouts.all.iter().filter(|layout| options.wants(layout.name)).collect();
    let mut series = Series::default();
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        measure::round(&chosen, options.metric.as_deref(), seconds, &mut series);
    }
    document.add(&chosen, &series);
    println!("{}", report::table(&chosen, &series));
    if let Some(ovn) = &layouts.ovn {
        let comparisons = report::beside_ovn(&series);
        println!("{}", report::comparison_table(&ovn.what, &comparisons));
        document.add_rows(comparisons.iter().map(|c| c.json(&ovn.what)).collect());
    }
    figures.extend(measure::first_packets(&series));
    let (musts, reached) = report::musts(&series, rounds);
    println!("{musts}");
    reached
}

/// First contacts. Whether what must be reached is.
fn contact_of(options: &Options, document: &mut report::Document) -> Result<bool, String> {
    let has = options.has(Part::Contact);
    if !has || !contact::WAYS.iter().any(|way| options.wants(way.name)) {
        return Ok(true);
    }
    let tries = options.tries.unwrap_or(if options.quick { 10 } else { 50 });
    println!("first contact, {tries} tries of each way");
    let mut stage = contact::Stage::start().map_err(|e| e.to_string())?;
    let found = contact::measure(&mut stage, tries, |way| options.wants(way.name));
    document.add_rows(contact::rows(&found));
    let (text, reached) = contact::report(&found);
    println!("{text}");
    Ok(reached)
}

impl Options {
    /// Whether a part is to be measured. Where only some layouts are, no part without any.
    fn has(&self, part: Part) -> bool {
        let of_layouts = matches!(part, Part::Paths | Part::NewFlows | Part::Contact);
        match self.part.is_empty() {
            true => of_layouts || self.only.is_empty() && self.metric.is_none(),
            false => self.part.contains(&part),
        }
    }

    /// Whether a layout is to be measured.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }
}

/// Builds in release mode and starts this program anew from there, so that it finds the fast
/// programs beside itself.
fn rebuilt(options: &Options) -> Outcome {
    let bins = ["-p", "midonet", "-p", "mn-testbed", "-p", "xtask", "--bins"];
    run(cargo().args(["build", "--release", "--locked"]).args(bins))?;
    let mut again = cargo();
    again.args(["run", "--release", "--quiet", "-p", "xtask", "--", "bench", "--built"]);
    if options.quick {
        again.arg("--quick");
    }
    if let Some(rounds) = options.rounds {
        again.args(["--rounds", &rounds.to_string()]);
    }
    if let Some(tries) = options.tries {
        again.args(["--tries", &tries.to_string()]);
    }
    for part in &options.part {
        let value = part.to_possible_value();
        again.args(value.iter().flat_map(|value| ["--part", value.get_name()]));
    }
    for only in &options.only {
        again.args(["--only", only]);
    }
    if options.with_ovn {
        again.arg("--with-ovn");
    }
    if let Some(metric) = &options.metric {
        again.args(["--metric", metric]);
    }
    run(&mut again)
}
