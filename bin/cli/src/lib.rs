//! `midonet-cli`: the command line of MidoNet.
//!
//! A line is split into words ([`words`]), read by the grammar over the tables of objects ([`grammar`],
//! [`schema`]), and answered by a session with the API ([`session`]). It does what any client of the API can
//! do, and nothing else.

mod alias;
mod args;
mod completion;
mod grammar;
mod outcome;
mod refusal;
mod run;
mod schema;
mod session;
mod settings;
mod shell;
mod value;
mod verb;
mod walk;
mod words;

pub use refusal::Refusal;
pub use run::{command, run};
pub use session::{Form, Naming, Reply, Session};
pub use walk::{Paint, told};
