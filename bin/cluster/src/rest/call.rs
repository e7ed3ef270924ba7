//! One request as handlers see it, and what they answer.

use std::sync::Arc;

use mn_api_types::Described;
use mn_api_types::input::{self, Names};
use mn_ids::{Id, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::db::Db;
use super::links::Links;
use super::problem::Problem;
use super::rule_index::RuleIndex;
use super::settings::Settings;

/// One request.
pub struct Call {
    pub db: Db,
    pub links: Links,
    pub settings: Arc<Settings>,
    pub rule_index: Arc<RuleIndex>,
    /// Names and values of the variable parts of the path.
    pub path: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
    /// Null where the request takes none.
    pub body: Value,
}

impl Call {
    /// A variable part of the path.
    pub fn segment(&self, name: &str) -> Result<&str, Problem> {
        let found = self.path.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| Problem::missing(name))
    }

    /// An identifier in the path.
    pub fn id<K: Kind>(&self, name: &str) -> Result<Id<K>, Problem> {
        let text = self.segment(name)?;
        let wrong = |_| Problem::bad_request(format!("{text:?} is not the UUID of a {}", K::NAME));
        text.parse().map_err(wrong)
    }

    /// A value in the path that is no identifier.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, Problem> {
        let text = self.segment(name)?;
        text.parse().map_err(|_| Problem::bad_request(format!("{text:?} is not {what}")))
    }

    /// A parameter of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether an object with this owner is asked for.
    pub fn wants_tenant(&self, tenant: Option<&str>) -> bool {
        self.query("tenant_id").is_none_or(|wanted| tenant == Some(wanted))
    }

    /// The body.
    pub fn input<T: Described + DeserializeOwned>(&self) -> Result<T, Problem> {
        let strict = self.query("strict").is_some_and(|strict| strict.eq_ignore_ascii_case("true"));
        let names = if strict { Names::Strict } else { Names::Lenient };
        input::read(self.body.clone(), names).map_err(Problem::invalid)
    }
}

/// What a request came to.
#[derive(Debug)]
pub enum Answer {
    /// A document, in JSON.
    Document(Vec<u8>),
    /// Something was made; it is here.
    Created(String),
    /// It is done and there is nothing to say.
    Done,
}

impl Answer {
    pub fn one(object: &impl Serialize) -> Self {
        let mut octets = Vec::new();
        write(object, &mut octets);
        Self::Document(octets)
    }

    /// A list. Each object is written and dropped before the next is made: lists are long.
    pub fn many<T: Serialize>(objects: impl IntoIterator<Item = T>) -> Self {
        let mut octets = vec![b'['];
        for object in objects {
            if octets.len() > 1 {
                octets.push(b',');
            }
            write(&object, &mut octets);
        }
        octets.push(b']');
        Self::Document(octets)
    }
}

fn write(object: &impl Serialize, octets: &mut Vec<u8>) {
    serde_json::to_writer(octets, object)
        .expect("structures of the API have string keys and finite numbers");
}
