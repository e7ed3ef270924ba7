//! Running programs: what they print is shown as it comes, and their failure is a sentence.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::paint::Paint;

/// A task's outcome; the error is a sentence for the person at the terminal.
pub type Outcome<T = ()> = Result<T, String>;

/// The root of the workspace.
pub fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}

/// The cargo that called us, so that its toolchain is used for what we call.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Where this build puts its programs, for example `target/debug`: our own directory.
pub fn program_directory() -> Outcome<PathBuf> {
    let own = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    Ok(own.parent().map_or_else(|| root().join("target/debug"), PathBuf::from))
}

/// Says what is run, runs it, and turns a bad end into a sentence.
pub fn run(command: &mut Command) -> Outcome {
    println!("{}", Paint::Bold.on(&format!("$ {}", line(command))));
    let status = command.status().map_err(|e| format!("cannot run `{}`: {e}", line(command)))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", line(command))) }
}

/// Runs quietly and returns what was printed.
pub fn output(command: &mut Command) -> Outcome<String> {
    let out = command.output().map_err(|e| format!("cannot run `{}`: {e}", line(command)))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        return Err(format!("`{}` ended with {}: {}", line(command), out.status, said.trim()));
    }
    String::from_utf8(out.stdout).map_err(|_| format!("`{}` printed no UTF-8", line(command)))
}

/// Runs, shows both streams as they come, and returns their lines with the verdict.
pub fn watch(command: &mut Command) -> Outcome<(bool, Vec<String>)> {
    println!("{}", Paint::Bold.on(&format!("$ {}", line(command))));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run `{}`: {e}", line(command)))?;
    let stdout = child.stdout.take().map(|s| BufReader::new(s).lines());
    let stderr = child.stderr.take().map(|s| BufReader::new(s).lines());
    let errors = std::thread::spawn(move || echo(stderr.into_iter().flatten(), true));
    let mut lines = echo(stdout.into_iter().flatten(), false);
    lines.extend(errors.join().unwrap_or_default());
    let status = child.wait().map_err(|e| format!("lost `{}`: {e}", line(command)))?;
    Ok((status.success(), lines))
}

fn echo(lines: impl Iterator<Item = std::io::Result<String>>, to_stderr: bool) -> Vec<String> {
    let mut kept = Vec::new();
    for line in lines.map_while(Result::ok) {
        if to_stderr {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
        kept.push(line);
    }
    kept
}

/// Whether a program of this name is in the path and answers `--version`.
pub fn exists(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
