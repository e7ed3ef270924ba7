//! A plain HTTP/1.1 client, as small as it can be: the REST API seen by a client that is not ours.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::{LabError, Namespace, Outcome};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks a server that is reached from a namespace.
#[derive(Clone, Debug)]
pub struct Http {
    namespace: Namespace,
    server: SocketAddr,
    base: String,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: String,
}

/// A request on a connection that is open.
#[derive(Debug)]
pub struct Ready {
    connection: TcpStream,
    request: String,
    what: String,
}

impl Ready {
    /// Sends it and waits for the answer.
    ///
    /// # Errors
    /// When there is no answer; any status is an answer.
    pub fn send(self) -> Outcome<Answer> {
        let Self { connection, request, what } = self;
        let answer = exchange(connection, &request).map_err(LabError::machine(what.clone()))?;
        parse(&answer).ok_or_else(|| LabError::unexpected(what, answer))
    }
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

impl Http {
    pub fn new(namespace: Namespace, server: SocketAddr, base: &str) -> Self {
        Self { namespace, server, base: base.to_owned() }
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server, self.base)
    }

    /// Sends a request to a path below the base, or to an absolute URI, and returns the answer.
    ///
    /// # Errors
    /// When there is no answer; any status is an answer.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<Answer> {
        self.ready(method, path, body)?.send()
    }

    /// Connects and has the request ready: for measuring what happens from its first octet on.
    ///
    /// # Errors
    /// When the server does not accept a connection.
    pub fn ready(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<Ready> {
        let what = format!("{method} {path}");
        let path = path
            .strip_prefix(&format!("http://{}", self.server))
            .map_or_else(|| format!("{}{path}", self.base), str::to_owned);
        let server = self.server;
        let connect = move || TcpStream::connect_timeout(&server, Duration::from_secs(2));
        let connection = self.namespace.enter(connect)?.map_err(LabError::machine(what.clone()))?;
        let text = body.map(Value::to_string).unwrap_or_default();
        let (host, length) = (self.server, text.len());
        let kind = if body.is_some() { "Content-Type: application/json\r\n" } else { "" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\
             {kind}Content-Length: {length}\r\nConnection: close\r\n\r\n{text}"
        );
        Ok(Ready { connection, request, what })
    }

    /// Reads a document.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub fn get(&self, path: &str) -> Outcome<Value> {
        let answer = self.send("GET", path, None)?;
        expect(200, &format!("GET {path}"), &answer)?;
        Ok(answer.json())
    }

    /// Creates an object and returns its id, the last part of its location.
    ///
    /// # Errors
    /// When the answer is not 201.
    pub fn create(&self, path: &str, body: &Value) -> Outcome<String> {
        let answer = self.send("POST", path, Some(body))?;
        expect(201, &format!("POST {path} {body}"), &answer)?;
        let location = answer.location.unwrap_or_default();
        Ok(location.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// When the answer is not a success.
    pub fn put(&self, path: &str, body: &Value) -> Outcome {
        let answer = self.send("PUT", path, Some(body))?;
        if answer.status == 200 {
            return Ok(());
        }
        expect(204, &format!("PUT {path} {body}"), &answer)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// When the answer is not a success.
    pub fn delete(&self, path: &str) -> Outcome {
        let answer = self.send("DELETE", path, None)?;
        if answer.status == 200 { Ok(()) } else { expect(204, &format!("DELETE {path}"), &answer) }
    }
}

fn expect(status: u16, what: &str, answer: &Answer) -> Outcome {
    if answer.status == status {
        return Ok(());
    }
    Err(LabError::unexpected(
        format!("{what}: expected {status}"),
        format!("{} {}", answer.status, answer.body),
    ))
}

fn exchange(mut connection: TcpStream, request: &str) -> std::io::Result<String> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_nodelay(true)?;
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let found = |line: &str| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        head.split("\r\n").skip(1).find_map(found)
    };
    let chunked = header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    let body = if chunked { joined(body)? } else { body.to_owned() };
    Some(Answer { status, location: header("location"), body })
}

/// A chunked body (RFC 9112 §7.1) as one text.
fn joined(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, tail) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(tail.get(..size)?);
        rest = tail.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_a_location_and_a_body() {
        let text = "HTTP/1.1 201 Created\r\nlocation: http://a/b/7\r\nx: y\r\n\r\n{\"a\":1}";
        let answer = parse(text).unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.location.as_deref(), Some("http://a/b/7"));
        assert_eq!(answer.json()["a"], 1);
    }

    #[test]
    fn a_body_in_chunks_is_joined_and_a_cut_one_is_no_answer() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let whole = parse(&format!("{head}3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")).unwrap();
        assert_eq!(whole.body, "abcde");
        assert!(parse(&format!("{head}9\r\nabc")).is_none());
    }
}
