//! `cargo xtask test`: every test there is, then the table of features against what ran.

use std::process::Command;

use clap::Args;

use crate::command::{Outcome, cargo, exists, program_directory, run, watch};
use crate::{features, old_kernel, packages};

#[derive(Args)]
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
    let nextest = exists("cargo-nextest", &["--version"]);
    let (fine, lines) = watch(with_settings(&mut runner(nextest, options), options)?)?;
    let mut passed = fine;
    if nextest && options.filter.is_empty() {
        let mut doc = cargo();
        doc.args(["test", "--doc", "--workspace", "--locked", "--quiet"]);
        passed &= watch(&mut doc)?.0;
    }
    if options.long && !options.without_labs && options.filter.is_empty() {
        passed &= old_kernel::run_tests().inspect_err(|why| eprintln!("{why}")).is_ok();
    }
    if let Some(summary) = lines.iter().rev().find(|line| is_summary(line)) {
        println!("{}", summary.trim());
    }
    if !passed {
        return Err("tests failed, see above".to_owned());
    }
    if options.without_labs || !options.filter.is_empty() {
        return Ok(());
    }
    features::check(&lines.iter().filter_map(|line| passed_test(line)).collect())
}

fn runner(nextest: bool, options: &Options) -> Command {
    let mut command = cargo();
    if nextest {
        command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
        command.args(["--status-level", "pass", "--color", "never"]);
        if options.without_labs {
            command.args(["-E", "not package(mn-testbed)"]);
        }
        if options.long {
            command.args(["--run-ignored", "all"]);
        }
        command.args(&options.filter);
        return command;
    }
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    if options.without_labs {
        command.args(["--exclude", "mn-testbed"]);
    }
    // libtest takes its filters after the dashes; labs share the machine, so one at a time.
    command.arg("--").args(&options.filter).args(["--test-threads", "1"]);
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

/// The name of a test from a line that says that it passed: nextest's `PASS [ 0.01s] crate name`
/// or libtest's `test name ... ok`.
fn passed_test(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("PASS [") {
        return rest.split_whitespace().last().map(str::to_owned);
    }
    let name = line.strip_prefix("test ")?.strip_suffix(" ... ok")?;
    Some(name.split_whitespace().next()?.to_owned())
}

fn is_summary(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("Summary [") || line.starts_with("test result:")
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
            "test ids::tests::round_trip ... ok",
            "test ids::tests::broken ... FAILED",
            "test ids::tests::slow ... ignored",
        ];
        let expected = ["a_ping_crosses", "ids::tests::round_trip", "key::tests::a_key"];
        assert_eq!(names(&lines), expected.map(str::to_owned).into());
    }

    #[test]
    fn the_closing_line_of_both_runners_is_known() {
        assert!(is_summary("     Summary [   6.1s] 200 tests run: 200 passed, 0 skipped"));
        assert!(is_summary("test result: ok. 3 passed; 0 failed; 0 ignored"));
        assert!(!is_summary("running 3 tests"));
    }
}
