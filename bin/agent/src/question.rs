//! `midonet ask`: a question to this host's agent, by its socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use mn_agent_api::{Request, Response};

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The flags of `midonet ask`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  midonet ask status
  midonet ask flows --limit 20
  midonet ask connections --root /tmp/lab/hv1
  midonet ask counters | jq '.drops[]'

The answer is JSON.")]
pub struct Question {
    /// What is to be told.
    #[arg(value_enum)]
    what: What,
    /// Of flows and connections, at most so many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// The agent's directory.
    #[arg(long, env = "MIDONET_AGENT_ROOT", value_name = "DIR")]
    #[arg(default_value = "/var/lib/midonet/agent")]
    root: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// How the agent is, and how it stands to the state database.
    Status,
    /// Flows in the datapath, with their use.
    Flows,
    /// Connections that are tracked.
    Connections,
    /// What ports carried, and what was dropped for which cause.
    Counters,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "no agent answers at {path}. Is it running (systemctl status midolman)? Another one's \
         directory is named by --root",
        path = path.display()
    )]
    Away { path: PathBuf, source: std::io::Error },
    #[error("the agent ended before it answered")]
    Ended,
    #[error("the agent cannot answer: {0}")]
    Refused(String),
    #[error("the agent's answer is none: {0:?}")]
    Answer(String),
}

/// Asks and returns the answer, in lines for people.
///
/// # Errors
///
/// See [`AskError`].
pub fn ask(question: &Question) -> Result<String, AskError> {
    let limit = question.limit;
    let request = match question.what {
        What::Status => Request::Status,
        What::Flows => Request::Flows { limit },
        What::Connections => Request::Connections { limit },
        What::Counters => Request::Counters,
    };
    let answer = answer_of(&question.root, &request)?;
    let told: serde_json::Value =
        serde_json::from_str(&answer).map_err(|_| AskError::Answer(answer.clone()))?;
    serde_json::to_string_pretty(&told).map_err(|_| AskError::Answer(answer))
}

/// The agent's answer to a request, as a value.
pub(crate) fn respond(root: &Path, request: &Request) -> Result<Response, AskError> {
    let answer = answer_of(root, request)?;
    match serde_json::from_str(&answer) {
        Ok(Response::Error { reason }) => Err(AskError::Refused(reason)),
        Ok(response) => Ok(response),
        Err(_) => Err(AskError::Answer(answer)),
    }
}

/// The agent's answer to a request: a line of JSON.
fn answer_of(root: &Path, request: &Request) -> Result<String, AskError> {
    let path = root.join("agent.sock");
    let away = |source| AskError::Away { path: path.clone(), source };
    let mut stream = UnixStream::connect(&path).map_err(away)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(away)?;
    let line =
        serde_json::to_string(request).map_err(|error| AskError::Answer(error.to_string()))?;
    writeln!(stream, "{line}").map_err(|_| AskError::Ended)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(|_| AskError::Ended)?;
    if answer.is_empty() {
        return Err(AskError::Ended);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn question(root: &Path) -> Question {
        Question { what: What::Flows, limit: 3, root: root.to_owned() }
    }

    #[test]
    fn a_question_is_asked_in_a_line_and_the_answer_shown() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("agent.sock")).unwrap();
        let agent = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
            stream.write_all(b"{\"response\":\"flows\",\"flows\":[]}\n").unwrap();
            asked
        });
        let told = ask(&question(directory.path())).unwrap();
        assert!(told.contains("\n  \"flows\": []"), "{told}");
        assert_eq!(agent.join().unwrap(), "{\"request\":\"flows\",\"limit\":3}\n");
    }

    #[test]
    fn where_no_agent_is_that_is_said_with_what_to_look_at() {
        let directory = tempfile::tempdir().unwrap();
        let error = ask(&question(directory.path())).unwrap_err().to_string();
        assert!(error.contains("no agent answers at") && error.contains("--root"), "{error}");
    }
}
