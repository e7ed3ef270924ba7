//! One request, one answer, over ureq.

use ureq::http::header::LOCATION;
use ureq::http::{Request, Response, request};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use crate::{Error, Server, Trust, TrustError};

/// The largest answer that is read, in bytes: a list of 100,000 rules is about 150 MB.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// What may be asked of a resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// A request, before it has a token.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub method: Method,
    pub uri: &'a str,
    /// The media type wanted, and of the body.
    pub media: String,
    pub body: Option<String>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub cookie: Option<String>,
    pub body: String,
}

/// The connection to one server.
pub(crate) struct Transport {
    agent: Agent,
}

impl Transport {
    pub(crate) fn new(server: &Server) -> Result<Self, TrustError> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(server.patience_for))
            .tls_config(tls(&server.trust)?)
            .user_agent(concat!("midonet-client/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { agent })
    }

    pub(crate) fn send(&self, ask: &Ask<'_>, headers: &[(&str, &str)]) -> Result<Answer, Error> {
        let mut request = Request::builder().method(ask.method.name()).uri(ask.uri);
        request = request.header("Accept", &ask.media);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.run(request, ask).map_err(|error| failure(ask, &error))?;
        read(ask, response)
    }

    fn run(&self, request: request::Builder, ask: &Ask<'_>) -> Result<Response<Body>, ureq::Error> {
        match &ask.body {
            Some(body) => {
                let request = request.header("Content-Type", &ask.media);
                self.agent.run(request.body(body.clone())?)
            }
            None => self.agent.run(request.body(())?),
        }
    }
}

fn tls(trust: &Trust) -> Result<TlsConfig, TrustError> {
    let config = TlsConfig::builder();
    Ok(match trust {
        Trust::WebRoots => config.build(),
        Trust::Anybody => config.disable_verification(true).build(),
        Trust::Authorities(pem) => {
            let certificates = certificates(pem)?;
            config.root_certs(RootCerts::new_with_certs(&certificates)).build()
        }
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, TrustError> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        match item.map_err(|error| TrustError::NotPem(error.to_string()))? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            _ => continue,
        }
    }
    if certificates.is_empty() { Err(TrustError::Empty) } else { Ok(certificates) }
}

fn read(ask: &Ask<'_>, mut response: Response<Body>) -> Result<Answer, Error> {
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let (location, cookie) = (header(LOCATION.as_str()), header("set-cookie"));
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    Ok(Answer {
        status: response.status().as_u16(),
        location,
        cookie,
        body: body.map_err(|error| failure(ask, &error))?,
    })
}

/// Tells a request that was never sent from one whose answer is lost.
fn failure(ask: &Ask<'_>, error: &ureq::Error) -> Error {
    use std::io::ErrorKind;
    let (uri, reason) = (ask.uri.to_owned(), error.to_string());
    let unsent = match error {
        ureq::Error::Io(io) => matches!(
            io.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NotFound
        ),
        ureq::Error::Timeout(at) => {
            matches!(at, ureq::Timeout::Connect | ureq::Timeout::Resolve)
        }
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::BadUri(_)
        | ureq::Error::Http(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::Tls(_) => true,
        _ => false,
    };
    match ask.method {
        Method::Get => Error::Unreachable { uri, reason },
        _ if unsent => Error::Unreachable { uri, reason },
        method => Error::AnswerLost { method: method.name(), uri, reason },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    fn post(uri: &str) -> Ask<'_> {
        let body = Some("{}".to_owned());
        Ask { method: Method::Post, uri, media: "application/json".to_owned(), body }
    }

    #[test]
    fn a_write_that_nobody_took_did_not_happen() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/", closed.local_addr().unwrap());
        drop(closed);
        let transport = Transport::new(&Server::new(&uri)).unwrap();
        let error = transport.send(&post(&uri), &[]).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }

    #[test]
    fn a_write_whose_answer_is_lost_perhaps_happened() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/", server.local_addr().unwrap());
        let reader = std::thread::spawn(move || {
            let (mut connection, _) = server.accept().unwrap();
            let read = connection.read(&mut [0; 1024]).unwrap();
            assert!(read > 0, "the request came");
        });
        let transport = Transport::new(&Server::new(&uri)).unwrap();
        let error = transport.send(&post(&uri), &[]).unwrap_err();
        reader.join().unwrap();
        assert!(matches!(error, Error::AnswerLost { .. }), "{error}");
    }

    #[test]
    fn certificates_that_are_none_are_refused_before_anything_is_sent() {
        let trust = Trust::Authorities(b"nothing of the kind".to_vec());
        assert_eq!(tls(&trust).unwrap_err(), TrustError::Empty);
    }
}
