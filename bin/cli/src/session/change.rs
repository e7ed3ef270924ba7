//! Commands that change something.

use mn_api_types::Media;
use mn_api_types::input::strip_read_only;
use serde_json::{Value as Json, json};

use super::naming::Within;
use super::node::{At, Node};
use super::read::Line;
use super::{Form, Reply, Session, pretty};
use crate::grammar::{Pair, Path};
use crate::refusal::Refusal;
use crate::schema::{Change, Collection, Field, Kind, Object, Place, Settable, Type};
use crate::value;

impl Session {
    pub(super) fn create(
        &mut self,
        from: &Path,
        of: &'static Collection,
        attributes: &[Pair],
    ) -> Result<String, Refusal> {
        let mut object = Object::new();
        for (key, value) in of.fixed {
            object.insert((*key).to_owned(), (*value).into());
        }
        if let Some(tenant) = self.tenant_for(of.of) {
            object.insert("tenantId".to_owned(), tenant.into());
        }
        for pair in attributes {
            settable(pair.field)?;
            let typed = self.typed(&pair.value)?;
            value::write(pair.field, &typed, self, &mut object)?;
        }
        let mut node = self.resolve(from)?;
        if let Place::Inside(key) = of.place {
            node = self.load(node)?;
            list_within(&mut node, key).push(Json::Object(object.clone()));
            self.replace(&mut node)?;
            return self.line(of.of, &object, Line::Listed, Within::Owner);
        }
        if let Place::Link(_) = of.place {
            node = self.load(node)?;
        }
        let uri = self.collection_uri(&node, of)?;
        let made = self.client.create(&uri, &of.of.media, &object)?;
        self.created(of.of, made.as_deref())
    }

    /// What is said of a new object: its name, or all of it where it has none.
    fn created(&mut self, of: &'static Type, uri: Option<&str>) -> Result<String, Refusal> {
        let Some(uri) = uri else { return Ok(String::new()) };
        let object: Object = self.client.object(uri, &of.media)?;
        if self.form == Form::Json {
            return Ok(pretty(&Json::Object(object)));
        }
        match self.own_name(of, &object, Within::Root)? {
            Some(name) => Ok(name),
            None => self.line(of, &object, Line::Listed, Within::Root),
        }
    }

    pub(super) fn set(&mut self, what: &Path, attributes: &[Pair]) -> Result<Reply, Refusal> {
        let mut node = self.resolve(what)?;
        for pair in attributes {
            settable(pair.field)?;
            if pair.field.settable == Settable::AtCreation {
                return Err(read_only(pair.field));
            }
        }
        let (links, others): (Vec<_>, Vec<_>) =
            attributes.iter().partition(|pair| matches!(pair.field.kind, Kind::Peer(_)));
        if !others.is_empty() {
            changeable(node.of)?;
            node = self.load(node)?;
            let mut object = node.object.take().unwrap_or_default();
            for pair in others {
                let typed = self.typed(&pair.value)?;
                value::write(pair.field, &typed, self, &mut object)?;
            }
            node.object = Some(object);
            self.replace(&mut node)?;
        }
        for pair in links {
            self.link(&node, pair)?;
        }
        Ok(Reply::Text(String::new()))
    }

    /// Links two ports.
    fn link(&mut self, node: &Node, pair: &Pair) -> Result<(), Refusal> {
        let typed = self.typed(&pair.value)?;
        let mut link = Object::new();
        value::write(pair.field, &typed, self, &mut link)?;
        link.insert("portId".to_owned(), json!(node.id));
        self.client.create(&format!("{}/link", node.uri()), &Media::PORT_LINK, &link)?;
        Ok(())
    }

    pub(super) fn clear(
        &mut self,
        what: &Path,
        fields: &[&'static Field],
    ) -> Result<Reply, Refusal> {
        if let Some(field) = fields.iter().find(|field| field.settable != Settable::Clearable) {
            return Err(Refusal::NotCleared(field.word));
        }
        let mut node = self.resolve(what)?;
        let (links, others): (Vec<&Field>, Vec<&Field>) =
            fields.iter().partition(|field| matches!(field.kind, Kind::Peer(_)));
        if !others.is_empty() {
            changeable(node.of)?;
            node = self.load(node)?;
            let mut object = node.object.take().unwrap_or_default();
            for field in others {
                object.insert(field.json.to_owned(), Json::Null);
            }
            node.object = Some(object);
            self.replace(&mut node)?;
        }
        if !links.is_empty() {
            self.client.delete(&format!("{}/link", node.uri()))?;
        }
        Ok(Reply::Text(String::new()))
    }

    pub(super) fn delete(&mut self, what: &Path) -> Result<Reply, Refusal> {
        let node = self.resolve(what)?;
        match node.at {
            At::Inside { mut parent, key, index } => {
                list_within(&mut parent, key).remove(index);
                self.replace(&mut parent)?;
            }
            _ => self.client.delete(node.uri())?,
        }
        Ok(Reply::Text(String::new()))
    }

    /// Writes an object back, without what the server decides.
    fn replace(&self, node: &mut Node) -> Result<(), Refusal> {
        let mut object = node.object.take().unwrap_or_default();
        if let At::Inside { parent, key, index } = &mut node.at {
            strip_read_only(node.of.description, &mut object);
            list_within(parent, key)[*index] = Json::Object(object);
            return self.replace(parent);
        }
        strip_read_only(node.of.description, &mut object);
        Ok(self.client.replace(node.uri(), &node.of.media, &object)?)
    }
}

/// The list that an object holds under this key.
fn list_within<'a>(node: &'a mut Node, key: &str) -> &'a mut Vec<Json> {
    let object = node.object.get_or_insert_default();
    let list = object.entry(key).or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut().expect("it was made one just now")
}

fn settable(field: &Field) -> Result<(), Refusal> {
    if field.settable == Settable::No { Err(read_only(field)) } else { Ok(()) }
}

fn read_only(field: &Field) -> Refusal {
    Refusal::User(format!("'{} is a read-only attribute.'", field.word))
}

fn changeable(of: &Type) -> Result<(), Refusal> {
    match of.change {
        Change::Replace => Ok(()),
        Change::Never => {
            let word = of.word;
            Err(Refusal::User(format!("a {word} is never changed: delete it and create another")))
        }
    }
}
