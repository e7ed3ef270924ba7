//! `cargo xtask test`: every test there is, then the table of features against what ran.

use std::process::Command;

use clap::Args;

use crate::command::{Outcome, cargo, exists, program_directory, run, watch};
use crate::{features, old_kernel, packages};

#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask test                          everything; as root
  cargo xtask test --without-labs           without root
  cargo xtask test walk floating            tests with one of these words in their names
  cargo xtask test --long                   and what takes hours")]
pub struct Options {
    /// Also the long tests: scale, millions of random packets, thousands of crashes, Linux 6.1
    #[arg(long)]
    long: bool,
    /// Leave out the labs, which need root; the table of features is not checked then
    #[arg(long)]
    without_labs: bool,
    /// Only tests whose name contains one of these; the table of features is not checked then
    filter: Vec<String>,
}

/// Runs everything and ends with the runner's closing summary.
///
/// # Errors
/// When a test fails, or when the table of features promises what no test showed.
pub fn run_all(options: &Options) -> Outcome {
    if !options.without_labs && !nix::unistd::Uid::effective().is_root() {
        return Err("the labs need root (namespaces, BPF). Run `sudo -E cargo xtask test`, or \
                    `cargo xtask test --without-labs` for the rest"
            .to_owned());
    }
    packages::install_missing()?;
    // The labs run the real program; a test's build does not make it.
    run(cargo().args(["build", "--locked", "-p", "midonet", "-p", "mn-testbed", "--bins"]))?;
    let mut passed = true;
    let mut lines = Vec::new();
    for mut command in runners(exists("cargo-nextest", &["--version"]), options) {
        let (fine, said) = watch(with_settings(&mut command, options)?)?;
        passed &= fine;
        lines.extend(said);
    }
    if options.long && !options.without_labs && options.filter.is_empty() {
        passed &= old_kernel::run_tests(&old_kernel::Options::default())
            .inspect_err(|why| eprintln!("{why}"))
            .is_ok();
    }
    println!("{}", summary(&lines));
    if !passed {
        return Err("tests failed, see above".to_owned());
    }
    if options.without_labs || !options.filter.is_empty() {
        return Ok(());
    }
    features::check(&lines.iter().filter_map(|line| passed_test(line)).collect())
}

/// The commands that together run every test.
fn runners(nextest: bool, options: &Options) -> Vec<Command> {
    if !nextest {
        // libtest runs the tests of one program in one process; labs share the machine, so they
        // take turns, and so do stories that enter namespaces.
        let mut runners = vec![libtest(&["--workspace", "--exclude", "mn-testbed"], options)];
        if !options.without_labs {
            runners.push(libtest(&["-p", "mn-testbed"], options));
        }
        return runners;
    }
    let mut all = cargo();
    all.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
    all.args(["--status-level", "pass", "--color", "never"]);
    if options.without_labs {
        all.args(["-E", "not package(mn-testbed)"]);
    }
    if options.long {
        all.args(["--profile", "long", "--run-ignored", "all"]);
    }
    all.args(&options.filter);
    // nextest runs no examples in documentation.
    let mut doc = cargo();
    doc.args(["test", "--doc", "--workspace", "--locked", "--quiet"]);
    if options.filter.is_empty() { vec![doc, all] } else { vec![all] }
}

fn libtest(packages: &[&str], options: &Options) -> Command {
    let mut command = cargo();
    command.args(["test", "--locked", "--no-fail-fast"]).args(packages);
    // libtest takes its filters after the dashes.
    command.arg("--").args(["--test-threads", "1"]).args(&options.filter);
    if options.long {
        command.arg("--include-ignored");
    }
    command
}

fn with_settings<'c>(command: &'c mut Command, options: &Options) -> Outcome<&'c mut Command> {
    command.env("MIDONET_BIN", program_directory()?.join("midonet"));
    if options.long {
        command.env("MIDONET_LONG", "1");
    }
    Ok(command)
}

/// The name of a test from a line that says that it passed: nextest's `PASS [ 0.01s] crate name`,
/// or `TRY 2 PASS [ …` where it had to be tried again; or libtest's `test name ... ok`.
fn passed_test(line: &str) -> Option<String> {
    let line = line.trim();
    let tried = line.strip_prefix("TRY ").and_then(|rest| rest.split_once(' '));
    if let Some(rest) = tried.map_or(line, |(_, rest)| rest).strip_prefix("PASS [") {
        return rest.split_whitespace().last().map(str::to_owned);
    }
    let name = line.strip_prefix("test ")?.strip_suffix(" ... ok")?;
    Some(name.split_whitespace().next()?.to_owned())
}

/// The runner's closing line: nextest's, or the sum of libtest's, which has one for each program.
fn summary(lines: &[String]) -> String {
    let nextest = lines.iter().rev().find(|line| line.trim().starts_with("Summary ["));
    if let Some(line) = nextest {
        return line.trim().to_owned();
    }
    let sum = |word: &str| -> u64 {
        let results = lines.iter().filter_map(|line| line.trim().strip_prefix("test result: "));
        let parts = results.flat_map(|rest| rest.split([';', '.']));
        parts.filter_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok()).sum()
    };
    let (passed, failed, ignored) = (sum(" passed"), sum(" failed"), sum(" ignored"));
    let word = if failed == 0 { "ok" } else { "FAILED" };
    format!("test result: {word}. {passed} passed; {failed} failed; {ignored} ignored")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().filter_map(|line| passed_test(line)).collect()
    }

    #[test]
    fn names_are_read_from_both_runners_and_only_of_tests_that_passed() {
        let lines = [
            "        PASS [   0.005s] (  1/200) mn-flow key::tests::a_key",
            "        FAIL [   0.005s] (  2/200) mn-flow key::tests::bad",
            "        PASS [   1.005s] mn-testbed::two_hosts a_ping_crosses",
            "  TRY 1 FAIL [   0.7s] (───) mn-agent::hosts now_and_then",
            "  TRY 2 PASS [   0.7s] ( 38/941) mn-agent::hosts now_and_then",
            "  TRY 3 FAIL [   0.7s] (───) mn-agent::hosts never",
            "test ids::tests::round_trip ... ok",
            "test ids::tests::broken ... FAILED",
            "test ids::tests::slow ... ignored",
        ];
        let expected =
            ["a_ping_crosses", "ids::tests::round_trip", "key::tests::a_key", "now_and_then"];
        assert_eq!(names(&lines), expected.map(str::to_owned).into());
    }

    #[test]
    fn the_closing_line_is_nextests_or_the_sum_of_libtests() {
        let libtest = [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            "running 3 tests",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ]
        .map(str::to_owned);
        assert_eq!(summary(&libtest), "test result: FAILED. 7 passed; 2 failed; 1 ignored");
        let nextest = "     Summary [   6.1s] 200 tests run: 200 passed, 0 skipped".to_owned();
        assert_eq!(summary(std::slice::from_ref(&nextest)), nextest.trim());
    }
}
