//! Commands that change nothing.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::naming::Within;
use super::{Form, Reply, Session, pretty};
use crate::grammar::{Pair, Path};
use crate::refusal::Refusal;
use crate::schema::{Collection, Field, Kind, Object, Type};
use crate::value;

/// Whether a line stands in a listing or alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// Objects without identifier are known by their collection: no word stands before them.
    Listed,
    Alone,
}

impl Session {
    pub(super) fn list(
        &mut self,
        from: &Path,
        of: &'static Collection,
        filter: &[Pair],
    ) -> Result<Reply, Refusal> {
        let node = self.resolve(from)?;
        let inside = node.id.is_some();
        let (_, objects) = self.objects(node, of)?;
        let mut found = Vec::new();
        for object in objects {
            if self.matches(&object, filter)? {
                found.push(object);
            }
        }
        found.sort_by_cached_key(|object| self.place(of.of, object));
        if self.form == Form::Json {
            return Ok(Reply::Text(pretty(&found.into_iter().map(Json::Object).collect())));
        }
        if found.is_empty() && !filter.is_empty() {
            return Ok(Reply::NotFound);
        }
        let own = inside && self.names_differ(of.of, &found)?;
        let within = if own { Within::Owner } else { Within::Root };
        let mut lines = Vec::with_capacity(found.len());
        for object in &found {
            lines.push(self.line(of.of, object, Line::Listed, within)?);
        }
        Ok(Reply::Text(lines.join("\n")))
    }

    /// Whether the names that objects have with their owners tell them apart: a load balancer lists
    /// virtual addresses of several pools.
    fn names_differ(&mut self, of: &'static Type, objects: &[Object]) -> Result<bool, Refusal> {
        let mut names = HashSet::new();
        for object in objects {
            if let Some(name) = self.own_name(of, object, Within::Owner)?
                && !names.insert(name)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where an object stands in a listing: by position, then as its alias counts, then by what it says.
    fn place(&self, of: &Type, object: &Object) -> (u64, usize, String) {
        let position = object.get("position").and_then(Json::as_u64).unwrap_or_default();
        let id = object.get("id").and_then(Json::as_str).and_then(|id| id.parse().ok());
        let number = self.aliases.as_ref().zip(id).and_then(|(aliases, id)| aliases.number(id));
        let mut words = String::new();
        for field in of.fields.iter().filter(|field| field.word != "id") {
            if let (Kind::Text | Kind::Prefix { .. }, Some(Json::String(text))) =
                (field.kind, object.get(field.json))
            {
                words.push_str(text);
                words.push(' ');
            }
        }
        (position, number.unwrap_or(usize::MAX), words)
    }

    pub(super) fn show(
        &mut self,
        what: &Path,
        field: Option<&'static Field>,
    ) -> Result<String, Refusal> {
        let within = if what.len() > 1 { Within::Owner } else { Within::Root };
        let node = self.resolve(what)?;
        let node = self.load(node)?;
        let object = node.object.unwrap_or_default();
        match field {
            Some(field) => Ok(value::text(field, self, &object)?.unwrap_or_default()),
            None if self.form == Form::Json => Ok(pretty(&Json::Object(object))),
            None => self.line(node.of, &object, Line::Alone, within),
        }
    }

    /// An object in one line.
    pub(super) fn line(
        &mut self,
        of: &'static Type,
        object: &Object,
        line: Line,
        within: Within,
    ) -> Result<String, Refusal> {
        let name = self.own_name(of, object, within)?;
        let mut words = Vec::new();
        if name.is_some() || line == Line::Alone {
            words.push(of.word.to_owned());
        }
        words.extend(name);
        for field in of.fields {
            if let Some(text) = value::listed(field, self, object)? {
                words.push(format!("{} {text}", field.word));
            }
        }
        Ok(words.join(" "))
    }
}
