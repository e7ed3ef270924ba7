//! What can go wrong in a lab, said for the person who runs it.

use std::io;

/// The outcome of an operation in a lab.
pub type Outcome<T = ()> = Result<T, LabError>;

/// Why a lab could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program ended badly.
    #[error("`{command}` ended with {status}: {said}")]
    Command { command: String, status: String, said: String },
    /// The machine refused something.
    #[error("{what}: {source}")]
    Machine { what: String, source: io::Error },
    /// Something did not come to pass in time.
    #[error("after {seconds:.1} s still not: {what}")]
    Late { what: String, seconds: f64 },
    /// The REST API or a program answered something else than was expected.
    #[error("{what}: {answer}")]
    Unexpected { what: String, answer: String },
}

impl LabError {
    /// For `map_err`: the machine's refusal, with what was attempted.
    pub fn machine<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Machine { what, source: source.into() }
    }

    /// An answer that was not expected.
    pub fn unexpected(what: impl Into<String>, answer: impl Into<String>) -> Self {
        Self::Unexpected { what: what.into(), answer: answer.into() }
    }
}
