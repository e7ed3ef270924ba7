//! What CI does, run here: `.ci/run` is the one list of its steps.

use std::process::Command;

use clap::Args;

use crate::command::{Outcome, cargo, root, run};
use crate::{arrows, licences, tidy};

#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask preflight
  cargo xtask preflight --quick")]
pub struct Options {
    /// Only what takes less than a minute: formatting and the checks of the tree
    #[arg(long)]
    quick: bool,
}

/// Runs CI's steps, or the quick ones of them.
pub fn run_steps(options: &Options) -> Outcome {
    if !options.quick {
        return run(Command::new(root().join(".ci/run")).current_dir(root()));
    }
    run(cargo().args(["fmt", "--all", "--check"]))?;
    arrows::check()?;
    tidy::check(false)?;
    licences::check()
}
