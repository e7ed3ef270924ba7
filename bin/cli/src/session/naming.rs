//! What objects are called.

use serde_json::Value as Json;
use uuid::Uuid;

use super::Session;
use crate::refusal::Refusal;
use crate::schema::{Identity, Object, Owner, Type};
use crate::value::device_type;

/// Whether a name is for the owner's own listing or for anywhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Within {
    Owner,
    Root,
}

impl Session {
    /// The name of an object that is at hand: its alias, or its identifier; none where it has neither.
    pub(super) fn own_name(
        &mut self,
        of: &'static Type,
        object: &Object,
        within: Within,
    ) -> Result<Option<String>, Refusal> {
        let Identity::Alias { prefix, .. } = of.identity else { return Ok(None) };
        let Some(id) = object.get("id").and_then(Json::as_str) else { return Ok(None) };
        let Ok(uuid) = id.parse::<Uuid>() else { return Ok(Some(id.to_owned())) };
        if self.aliases.is_none() {
            return Ok(Some(id.to_owned()));
        }
        let owner = self.owner_of(of, object)?;
        let Some(aliases) = &mut self.aliases else { return Ok(Some(id.to_owned())) };
        let name = aliases.give(uuid, prefix, owner).to_owned();
        Ok(match within {
            Within::Owner => Some(name),
            Within::Root => aliases.full(uuid),
        })
    }

    /// The owner of an object, which has a name from here on.
    fn owner_of(&mut self, of: &'static Type, object: &Object) -> Result<Option<Uuid>, Refusal> {
        let (key, of) = match of.owner {
            Owner::Nobody => return Ok(None),
            Owner::Object { key, of } => (key, of),
            Owner::Device => ("deviceId", device_type(object)),
        };
        let Some(id) = object.get(key).and_then(Json::as_str) else { return Ok(None) };
        self.full_name(of, id)?;
        Ok(id.parse().ok())
    }

    /// The name of an object from the root. One of an owner is asked for who that is, at first sight.
    pub(super) fn full_name(&mut self, of: &'static Type, id: &str) -> Result<String, Refusal> {
        let (Some(aliases), Identity::Alias { prefix, template }, Ok(uuid)) =
            (&mut self.aliases, of.identity, id.parse::<Uuid>())
        else {
            return Ok(id.to_owned());
        };
        if let Owner::Nobody = of.owner {
            aliases.give(uuid, prefix, None);
        } else if !aliases.knows(uuid) {
            let uri = self.client.root()?.object(template, id)?;
            match self.client.object::<Object>(&uri, &of.media) {
                Ok(object) => self.own_name(of, &object, Within::Root)?,
                // It is gone, or was never there: its identifier says what was meant.
                Err(error) if error.status() == Some(404) => return Ok(id.to_owned()),
                Err(error) => return Err(error.into()),
            };
        }
        let name = self.aliases.as_ref().and_then(|aliases| aliases.full(uuid));
        Ok(name.unwrap_or_else(|| id.to_owned()))
    }
}
