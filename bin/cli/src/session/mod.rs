//! A session: a server, a tenant, the aliases met so far, and the commands that use them.

mod change;
mod naming;
mod node;
mod read;
mod text;

use mn_api_types::{Host, Media};
use mn_client::Client;
use mn_ids::{HostId, PortId};

use crate::alias::Aliases;
use crate::grammar::{self, Command};
use crate::refusal::Refusal;
use crate::schema::{HOST, PORT, Type};
use crate::value::Names;
use crate::walk;
use crate::words::split;

/// A session with a server.
pub struct Session {
    client: Client,
    /// The tenant that lists are bounded by and new objects belong to.
    tenant: Option<String>,
    /// None where objects go by their identifiers.
    aliases: Option<Aliases>,
    form: Form,
    paint: walk::Paint,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// As the guides print them.
    Lines,
    /// As the API has them.
    Json,
}

/// Whether objects get short names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Naming {
    /// In a terminal.
    Aliases,
    /// In scripts.
    Identifiers,
}

/// What a command that was not refused comes to.
#[derive(Debug, Eq, PartialEq)]
pub enum Reply {
    /// Lines to print, perhaps none.
    Text(String),
    /// Nothing was found by a filter: scripts ask so whether something is there.
    NotFound,
    /// There was no command, or one that says nothing about success.
    Aside(String),
    Quit,
}

impl Session {
    /// A session; nothing is sent yet.
    #[must_use]
    pub fn new(client: Client, naming: Naming, form: Form) -> Self {
        let aliases = (naming == Naming::Aliases).then(Aliases::default);
        Self { client, tenant: None, aliases, form, paint: walk::Paint::Plain }
    }

    /// The same with a tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: Option<String>) -> Self {
        self.tenant = tenant;
        self
    }

    /// The same in colours, or without.
    #[must_use]
    pub fn with_paint(mut self, paint: walk::Paint) -> Self {
        self.paint = paint;
        self
    }

    /// The aliases met so far, for completion.
    #[must_use]
    pub const fn aliases(&self) -> Option<&Aliases> {
        self.aliases.as_ref()
    }

    /// Asks whether the server is there, and for what it has to say to operators.
    ///
    /// # Errors
    ///
    /// [`mn_client::Error`] as the server or the way to it gives it.
    pub fn greet(&self) -> Result<Option<String>, mn_client::Error> {
        let uri = self.client.root()?.collection("systemState")?;
        let state: mn_api_types::SystemState = self.client.object(uri, &Media::SYSTEM_STATE)?;
        Ok(state.information)
    }

    /// Does what one line says.
    ///
    /// # Errors
    ///
    /// [`Refusal`], by whom and why.
    pub fn answer(&mut self, line: &str) -> Result<Reply, Refusal> {
        let words = split(line)?;
        let words: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        match words.as_slice() {
            [] => Ok(Reply::Aside(String::new())),
            ["exit" | "quit"] => Ok(Reply::Quit),
            ["help", about @ ..] => Ok(Reply::Aside(text::help(about))),
            ["describe"] => Ok(Reply::Text(text::describe(&crate::schema::ROOT))),
            ["sett"] | ["debug"] => Err(Refusal::Incomplete),
            ["sett", tenant] => Ok(self.set_tenant(tenant)),
            ["cleart"] => {
                self.tenant = None;
                Ok(Reply::Text("tenant_id: None".to_owned()))
            }
            ["debug", "on"] => {
                self.client.set_log(Some(Box::new(|line| eprintln!("{line}"))));
                Ok(Reply::Text("turned on debug mode".to_owned()))
            }
            ["debug", "off"] => {
                self.client.set_log(None);
                Ok(Reply::Text("turned off debug mode".to_owned()))
            }
            ["walk", rest @ ..] => self.walk_words(rest).map(Reply::Text),
            _ => self.command(grammar::parse(line)?),
        }
    }

    fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::List { from, of, filter } => self.list(&from, of, &filter),
            Command::Show { what, field } => self.show(&what, field).map(Reply::Text),
            Command::Create { from, of, attributes } => {
                self.create(&from, of, &attributes).map(Reply::Text)
            }
            Command::Set { what, attributes } => self.set(&what, &attributes),
            Command::Clear { what, fields } => self.clear(&what, &fields),
            Command::Delete { what } => self.delete(&what),
            Command::Describe { what } => Ok(Reply::Text(text::describe(what))),
        }
    }

    fn set_tenant(&mut self, tenant: &str) -> Reply {
        self.tenant = Some(tenant.to_owned());
        let usual = tenant.len() == 32 && tenant.bytes().all(|c| c.is_ascii_hexdigit());
        let warning = match self.aliases {
            Some(_) if !usual => "Warning: this does not look like the id of a tenant.\n",
            _ => "",
        };
        Reply::Text(format!("{warning}tenant_id: {tenant}"))
    }

    fn walk_words(&mut self, words: &[&str]) -> Result<String, Refusal> {
        let asked = walk::Asked::from_words(words).map_err(Refusal::User)?;
        self.walk(&asked)
    }

    /// Walks a packet, which changes nothing.
    ///
    /// # Errors
    ///
    /// [`Refusal`], by whom and why.
    pub fn walk(&mut self, asked: &walk::Asked) -> Result<String, Refusal> {
        let json = self.form == Form::Json;
        let request = asked.request(self)?;
        let uri = self.client.root()?.collection("walks")?.to_owned();
        let media = Media::WALK.newest(mn_api_types::MediaForm::One);
        if json {
            let walk: serde_json::Value = self.client.ask(&uri, &media, &request)?;
            return Ok(pretty(&walk));
        }
        let walk: mn_api_types::walk::Walk = self.client.ask(&uri, &media, &request)?;
        Ok(walk::told(&walk, self.paint))
    }

    /// The port that a word means.
    pub(crate) fn port(&mut self, word: &str) -> Result<PortId, Refusal> {
        let id = Names::id_of(self, &PORT, word)?;
        id.parse().map_err(|_| Refusal::User(format!("'{word}' is no port")))
    }

    /// The host that a word means: its alias, identifier or name.
    pub(crate) fn host(&mut self, word: &str) -> Result<HostId, Refusal> {
        if let Ok(id) = Names::id_of(self, &HOST, word)
            && let Ok(id) = id.parse()
        {
            return Ok(id);
        }
        let uri = self.client.root()?.collection("hosts")?.to_owned();
        let hosts: Vec<Host> = self.client.list(&uri, &Media::HOST)?;
        let mut called = hosts.into_iter().filter(|host| host.name.as_deref() == Some(word));
        let id = called.next().and_then(|host| host.id);
        id.ok_or_else(|| Refusal::User(format!("no host is called '{word}'")))
    }

    /// Whether the objects of a type belong to tenants.
    fn tenant_for(&self, of: &Type) -> Option<&str> {
        of.field("tenant").and(self.tenant.as_deref())
    }
}

/// JSON for people and for programs.
fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
