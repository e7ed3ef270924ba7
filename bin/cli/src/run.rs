//! The program: from arguments to an exit status.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use mn_client::{Client, Error};

use crate::args::{Args, Task};
use crate::outcome::{Said, said};
use crate::session::{Form, Naming, Reply, Session};
use crate::settings::Settings;
use crate::shell;

/// Why the program ends without having done anything.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// The user: settings or options. Status 2.
    #[error("{0}")]
    Settings(String),
    /// Whoever runs the server, or the user's password. Status 1.
    #[error("{0}")]
    Server(String),
}

/// Runs `midonet-cli` with these arguments, the first of which is its name.
#[must_use]
pub fn run<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Nothing to do about a closed terminal.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match dispatch(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(refused) => {
            eprintln!("{refused}");
            ExitCode::from(match refused {
                Refused::Settings(_) => 2,
                Refused::Server(_) => 1,
            })
        }
    }
}

/// The command with all its options, for completion scripts, manual pages and programs that contain it.
#[must_use]
pub fn command() -> clap::Command {
    Args::command()
}

fn dispatch(args: &Args) -> Result<bool, Refused> {
    match &args.task {
        Some(Task::Completions { shell }) => {
            clap_complete::generate(*shell, &mut command(), "midonet-cli", &mut io::stdout());
            return Ok(true);
        }
        Some(Task::Man) => {
            let page = clap_mangen::Man::new(command()).render(&mut io::stdout());
            return page.map(|()| true).map_err(|error| Refused::Settings(error.to_string()));
        }
        Some(Task::Unknown(_)) => return Err(Refused::Settings("Unrecognized command".to_owned())),
        Some(Task::Walk(_)) | None => {}
    }
    let interactive = args.eval.is_none() && args.task.is_none() && io::stdin().is_terminal();
    let mut session = open(args, interactive)?;
    greet(&session)?;
    Ok(match (&args.task, &args.eval) {
        (Some(Task::Walk(asked)), _) => {
            let walked = session.walk(asked).map(Reply::Text);
            said(walked) == Said::Well
        }
        (_, Some(words)) => once(&mut session, &words.join(" ")),
        _ if interactive => shell::talk(session),
        _ => lines(&mut session, io::stdin().lock()),
    })
}

/// A session by the settings.
fn open(args: &Args, interactive: bool) -> Result<Session, Refused> {
    let mut settings = read_settings().over_options(args);
    if args.password {
        if !io::stdin().is_terminal() {
            let sentence = "a password can only be asked for in a terminal";
            return Err(Refused::Settings(sentence.to_owned()));
        }
        let typed = shell::ask_password().map_err(|error| Refused::Settings(error.to_string()))?;
        settings.set_password(typed);
    }
    let authorities = settings.ca_file().map(std::fs::read).transpose();
    let authorities =
        authorities.map_err(|error| Refused::Settings(format!("the CA file: {error}")))?;
    let server = settings.server(args.no_auth, authorities);
    let server = server.map_err(|missing| Refused::Settings(missing.to_string()))?;
    let client = Client::new(server).map_err(|error| Refused::Settings(error.to_string()))?;
    if args.debug {
        client.set_log(Some(Box::new(|line| eprintln!("{line}"))));
    }
    let naming = if interactive { Naming::Aliases } else { Naming::Identifiers };
    let form = if args.json { Form::Json } else { Form::Lines };
    let paint = shell::paint();
    Ok(Session::new(client, naming, form).with_tenant(settings.tenant()).with_paint(paint))
}

fn read_settings() -> Settings {
    let variable = |name: &str| std::env::var(name).ok();
    let file = variable("HOME").map(|home| format!("{home}/.midonetrc"));
    let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    Settings::from_file(&text).over_environment(variable)
}

/// Asks whether the server can be used at all.
fn greet(session: &Session) -> Result<(), Refused> {
    let sentence = |error: &Error| match error {
        Error::Unauthorized { .. } => {
            "Invalid credential. Wrong username/password. Bye.".to_owned()
        }
        Error::Unreachable { .. } => {
            format!("Connection to MidoNet API server refused. Bye.\n({error})")
        }
        _ => format!(
            "The API server failed to respond normally. The network DB is possibly down. Bye.\n({error})"
        ),
    };
    let information = session.greet().map_err(|error| Refused::Server(sentence(&error)))?;
    if let Some(information) = information {
        eprintln!("{information}");
    }
    Ok(())
}

fn once(session: &mut Session, line: &str) -> bool {
    match said(session.answer(line)) {
        Said::Well | Said::Aside | Said::End { failed: false } => true,
        Said::Badly | Said::End { failed: true } => false,
    }
}

/// Takes commands from a file or a pipe; whether the last one succeeded.
fn lines(session: &mut Session, input: impl BufRead) -> bool {
    let mut good = true;
    for line in input.lines() {
        let Ok(line) = line else {
            eprintln!("the input is no text");
            return false;
        };
        if line.trim_start().starts_with('#') {
            continue;
        }
        match said(session.answer(&line)) {
            Said::Well => good = true,
            Said::Badly => good = false,
            Said::Aside => {}
            Said::End { failed } => return good && !failed,
        }
    }
    good
}
