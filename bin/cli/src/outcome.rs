//! What came of a command: printed, and what it means for the exit status.

use std::io::{self, Write};

use crate::refusal::Refusal;
use crate::session::Reply;

/// How a command went, as far as the exit status is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    Well,
    Badly,
    /// It says nothing about success.
    Aside,
    /// There is nothing more to come; whether that is a failure.
    End {
        failed: bool,
    },
}

/// Prints what came of a command.
pub(crate) fn said(reply: Result<Reply, Refusal>) -> Said {
    match reply {
        Ok(Reply::Text(text)) => {
            print(&text);
            Said::Well
        }
        Ok(Reply::Aside(text)) => {
            print(&text);
            Said::Aside
        }
        Ok(Reply::NotFound) => Said::Badly,
        Ok(Reply::Quit) => Said::End { failed: false },
        Err(refusal) => {
            eprintln!("{refusal}");
            if refusal.ends_the_session() { Said::End { failed: true } } else { Said::Badly }
        }
    }
}

/// Prints a text and a line end; a reader who went away is no error.
fn print(text: &str) {
    if !text.is_empty() {
        let _ = writeln!(io::stdout(), "{text}");
    }
}
