//! What an agent says when it is asked over its socket.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use mn_testbed::{Host, LabError, Outcome};
use serde_json::{Value, json};

/// The answer to a request without arguments, or to `flows`, of which no more than one is listed.
pub fn ask(host: &Host, request: &str) -> Outcome<Value> {
    let request = json!({ "request": request, "limit": 1 });
    let asked = (|| {
        let mut socket = UnixStream::connect(host.root.join("agent.sock"))?;
        writeln!(socket, "{request}")?;
        socket.shutdown(Shutdown::Write)?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line)?;
        Ok::<String, std::io::Error>(line)
    })();
    let line = asked.map_err(LabError::machine("ask an agent"))?;
    serde_json::from_str(&line).map_err(|e| LabError::unexpected(line, e.to_string()))
}

/// A number of an answer.
pub fn number(answer: &Value, field: &str) -> u64 {
    answer[field].as_u64().unwrap_or_else(|| panic!("no {field} in {answer}"))
}
