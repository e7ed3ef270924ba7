//! The session in a terminal: history, completion, a prompt.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::rc::Rc;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};

use crate::completion::next_words;
use crate::outcome::{Said, said};
use crate::session::Session;
use crate::walk::Paint;

const PROMPT: &str = "midonet> ";
/// Lines of history that are kept.
const HISTORY_MAX: usize = 2000;

/// Whether what is printed may be coloured.
#[must_use]
pub fn paint() -> Paint {
    let plain = std::env::var_os("NO_COLOR").is_some();
    if io::stdout().is_terminal() && !plain { Paint::Colour } else { Paint::Plain }
}

/// Takes commands until the user is done; whether the last one succeeded.
#[must_use]
pub fn talk(session: Session) -> bool {
    let session = Rc::new(RefCell::new(session));
    let mut editor = match editor(Rc::clone(&session)) {
        Ok(editor) => editor,
        Err(error) => {
            eprintln!("the terminal cannot be used: {error}");
            return false;
        }
    };
    let history = std::env::var("HOME").ok().map(|home| format!("{home}/.midonet_history"));
    if let Some(file) = &history {
        // There is none at the first time.
        let _ = editor.load_history(file);
    }
    let good = converse(&mut editor, &session);
    if let Some(file) = &history
        && let Err(error) = editor.save_history(file)
    {
        eprintln!("the history could not be kept in {file}: {error}");
    }
    good
}

fn converse(editor: &mut Editor<Completion, DefaultHistory>, session: &RefCell<Session>) -> bool {
    let mut good = true;
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => {
                println!();
                return good;
            }
            Err(error) => {
                eprintln!("the terminal cannot be read: {error}");
                return false;
            }
        };
        // What is pasted may have several lines.
        for line in line.lines() {
            let reply = session.borrow_mut().answer(line);
            match said(reply) {
                Said::Well => good = true,
                Said::Badly => good = false,
                Said::Aside => {}
                Said::End { failed } => return good && !failed,
            }
        }
    }
}

fn editor(session: Rc<RefCell<Session>>) -> rustyline::Result<Editor<Completion, DefaultHistory>> {
    let config = Config::builder()
        .auto_add_history(true)
        .history_ignore_space(true)
        .max_history_size(HISTORY_MAX)?
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Completion { session }));
    Ok(editor)
}

/// Completes words by the grammar and the aliases of the session.
struct Completion {
    session: Rc<RefCell<Session>>,
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let line = &line[..pos];
        let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let before: Vec<&str> = line[..start].split_whitespace().collect();
        let session = self.session.borrow();
        let words = next_words(&before, session.aliases());
        let words = words.into_iter().filter(|word| word.starts_with(&line[start..]));
        let pair = |word: String| Pair { replacement: format!("{word} "), display: word };
        Ok((start, words.map(pair).collect()))
    }
}

impl Hinter for Completion {
    type Hint = String;
}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

/// Asks for a password without showing it.
///
/// # Errors
///
/// The terminal cannot be read, or the user gave up.
pub fn ask_password() -> rustyline::Result<String> {
    let config = Config::builder().color_mode(ColorMode::Forced).auto_add_history(false).build();
    let mut editor: Editor<Hidden, DefaultHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Hidden));
    editor.readline("Password: ")
}

/// Shows blanks for what is typed.
struct Hidden;

impl Highlighter for Hidden {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Owned(" ".repeat(line.chars().count()))
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

impl Completer for Hidden {
    type Candidate = String;
}
impl Hinter for Hidden {
    type Hint = String;
}
impl Validator for Hidden {}
impl Helper for Hidden {}
