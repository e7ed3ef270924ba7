//! A session with one server.

use std::cell::{OnceCell, RefCell};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mn_api_types::{Media, MediaForm};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::transport::{Answer, Ask, Method, Transport};
use crate::{Credentials, Error, Root, Server, TrustError};

/// A session with one server. It logs in when it must, and again once when its token has expired.
pub struct Client {
    transport: Transport,
    server: Server,
    token: RefCell<Option<String>>,
    root: OnceCell<Root>,
    log: RefCell<Option<Log>>,
}

/// What an answer without a document may be.
const JSON: &str = "application/json";

/// Is told of each request and answer, in one line each.
pub type Log = Box<dyn Fn(&str)>;

impl Client {
    /// A client of this server; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`TrustError`] when the certificates to trust cannot be used.
    pub fn new(server: Server) -> Result<Self, TrustError> {
        Ok(Self {
            transport: Transport::new(&server)?,
            server,
            token: RefCell::default(),
            root: OnceCell::new(),
            log: RefCell::default(),
        })
    }

    /// Tells `log` of every request from now on, or nobody.
    pub fn set_log(&self, log: Option<Log>) {
        self.log.replace(log);
    }

    /// The root document, fetched at its first use.
    ///
    /// # Errors
    ///
    /// As for any request.
    pub fn root(&self) -> Result<&Root, Error> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let uri = self.server.base.trim_end_matches('/').to_owned();
        let document = self.get(&uri, &Media::APPLICATION.newest(MediaForm::One))?;
        Ok(self.root.get_or_init(|| Root::new(document)))
    }

    /// Reads an object or a list, or anything that has this media type.
    ///
    /// # Errors
    ///
    /// [`Error`] as the server or the way to it gives it.
    pub fn get<T: DeserializeOwned>(&self, uri: &str, media: &str) -> Result<T, Error> {
        let ask = Ask { method: Method::Get, uri, media: media.to_owned(), body: None };
        parse(uri, &self.send(&ask)?)
    }

    /// Reads one object.
    ///
    /// # Errors
    ///
    /// [`Error`] as the server or the way to it gives it.
    pub fn object<T: DeserializeOwned>(&self, uri: &str, media: &Media) -> Result<T, Error> {
        self.get(uri, &media.newest(MediaForm::One))
    }

    /// Reads a list of objects.
    ///
    /// # Errors
    ///
    /// [`Error`] as the server or the way to it gives it.
    pub fn list<T: DeserializeOwned>(&self, uri: &str, media: &Media) -> Result<Vec<T>, Error> {
        self.get(uri, &media.newest(MediaForm::Collection))
    }

    /// Creates an object in a collection, and gives the URI of what was made.
    ///
    /// # Errors
    ///
    /// [`Error`] as the server or the way to it gives it.
    pub fn create<T: Serialize>(
        &self,
        uri: &str,
        media: &Media,
        object: &T,
    ) -> Result<Option<String>, Error> {
        Ok(self.write(Method::Post, uri, &media.newest(MediaForm::One), object)?.location)
    }

    /// Sends a question that is too long for a URI and changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error`] as the server or the way to it gives it.
    pub fn ask<Q, A>(&self, uri: &str, media: &str, question: &Q) -> Result<A, Error>
    where
        Q: Serialize,
        A: DeserializeOwned,
    {
        parse(uri, &self.write(Method::Post, uri, media, question)?)
    }

    /// Replaces an object.
    ///
    /// # Errors
    ///
    /// [`Error`] as the server or the way to it gives it.
    pub fn replace<T: Serialize>(&self, uri: &str, media: &Media, object: &T) -> Result<(), Error> {
        self.write(Method::Put, uri, &media.newest(MediaForm::One), object).map(drop)
    }

    /// Deletes an object.
    ///
    /// # Errors
    ///
    /// [`Error`] as the server or the way to it gives it.
    pub fn delete(&self, uri: &str) -> Result<(), Error> {
        let media = JSON.to_owned();
        self.send(&Ask { method: Method::Delete, uri, media, body: None }).map(drop)
    }

    /// Sends a write, with `strict=true`: a field that the server would ignore is an error of ours.
    fn write<T: Serialize>(
        &self,
        method: Method,
        uri: &str,
        media: &str,
        object: &T,
    ) -> Result<Answer, Error> {
        let body = serde_json::to_string(object).map_err(|error| Error::Answer {
            uri: uri.to_owned(),
            reason: format!("the request has no JSON form: {error}"),
        })?;
        let joint = if uri.contains('?') { '&' } else { '?' };
        let strict = format!("{uri}{joint}strict=true");
        let ask = Ask { method, uri: &strict, media: media.to_owned(), body: Some(body) };
        self.send(&ask)
    }

    fn send(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let fresh = self.token.borrow().is_none();
        if fresh {
            self.login()?;
        }
        match self.send_once(ask) {
            // A token lives for a while; who logged in just now need not do it again.
            Err(Error::Unauthorized { .. }) if !fresh && self.server.credentials.is_some() => {
                self.login()?;
                self.send_once(ask)
            }
            answer => answer,
        }
    }

    fn send_once(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let token = self.token.borrow();
        let headers = token.as_deref().map(|token| ("X-Auth-Token", token));
        self.exchange(ask, headers.as_slice())
    }

    fn exchange(&self, ask: &Ask<'_>, headers: &[(&str, &str)]) -> Result<Answer, Error> {
        self.tell(|| {
            let body = ask.body.as_deref().unwrap_or_default();
            format!("{} {} {body}", ask.method.name(), ask.uri)
        });
        let answer = self.transport.send(ask, headers)?;
        self.tell(|| format!("  {} {}", answer.status, answer.body));
        match answer.status {
            200..300 => Ok(answer),
            status => Err(Error::from_answer(status, &answer.body)),
        }
    }

    fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(log) = &*self.log.borrow() {
            log(&line());
        }
    }

    /// Gets a token, when there is anybody to log in.
    fn login(&self) -> Result<(), Error> {
        let Some(Credentials { user, password, project }) = &self.server.credentials else {
            return Ok(());
        };
        let uri = format!("{}/login", self.server.base.trim_end_matches('/'));
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        let mut headers = vec![("Authorization", basic.as_str())];
        headers.extend(project.as_deref().map(|project| ("X-Auth-Project", project)));
        let media = Media::TOKEN.newest(MediaForm::One);
        let body = Some(String::new());
        let ask = Ask { method: Method::Post, uri: &uri, media, body };
        let answer = self.exchange(&ask, &headers).map_err(read_only)?;
        let token = token(&answer).ok_or_else(|| Error::Answer {
            uri: uri.clone(),
            reason: "there is no token in it".to_owned(),
        })?;
        self.token.replace(Some(token));
        Ok(())
    }
}

/// A login changes nothing, so a lost answer to it is no reason for doubt.
fn read_only(error: Error) -> Error {
    match error {
        Error::AnswerLost { uri, reason, .. } => Error::Unreachable { uri, reason },
        other => other,
    }
}

/// The token stands in the body, and in a cookie for clients that look there.
fn token(answer: &Answer) -> Option<String> {
    let body = serde_json::from_str::<Value>(&answer.body).unwrap_or_default();
    if let Some(key) = body.get("key").and_then(Value::as_str) {
        return Some(key.to_owned());
    }
    let cookie = answer.cookie.as_deref()?;
    let (_, rest) = cookie.split_once('=')?;
    rest.split(';').next().map(str::to_owned)
}

fn parse<T: DeserializeOwned>(uri: &str, answer: &Answer) -> Result<T, Error> {
    serde_json::from_str(&answer.body)
        .map_err(|error| Error::Answer { uri: uri.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str, cookie: Option<&str>) -> Answer {
        let cookie = cookie.map(str::to_owned);
        Answer { status: 200, location: None, cookie, body: body.to_owned() }
    }

    #[test]
    fn a_token_is_found_in_the_body_or_in_the_cookie() {
        let cookie = Some("sessionId=ab=cd; Expires=never");
        assert_eq!(token(&answer(r#"{"key":"xy"}"#, cookie)).as_deref(), Some("xy"));
        assert_eq!(token(&answer("", cookie)).as_deref(), Some("ab=cd"));
        assert_eq!(token(&answer("", None)), None);
    }
}
