//! From a path to an object of the API.

use serde_json::Value as Json;
use uuid::Uuid;

use super::Session;
use crate::grammar::{Key, Pair, Path, Step, Value};
use crate::refusal::Refusal;
use crate::schema::{Collection, Field, Identity, Object, Owner, Place, ROOT, Scope, Type};
use crate::value::{self, Names};

/// An object that a path led to.
#[derive(Debug)]
pub(super) struct Node {
    pub of: &'static Type,
    pub id: Option<Uuid>,
    pub at: At,
    /// Its contents, once they were needed.
    pub object: Option<Object>,
}

/// Where an object is.
#[derive(Debug)]
pub(super) enum At {
    /// The beginning of every path.
    Root,
    Uri(String),
    /// In a list within another object.
    Inside {
        parent: Box<Node>,
        key: &'static str,
        index: usize,
    },
}

impl Node {
    pub(super) const fn root() -> Self {
        Self { of: &ROOT, id: None, at: At::Root, object: None }
    }

    /// Its address; an object within another has that of the other.
    pub(super) fn uri(&self) -> &str {
        match &self.at {
            At::Root => "",
            At::Uri(uri) => uri,
            At::Inside { parent, .. } => parent.uri(),
        }
    }
}

impl Session {
    /// Goes along a path.
    pub(super) fn resolve(&mut self, path: &Path) -> Result<Node, Refusal> {
        let mut node = Node::root();
        for step in path {
            node = match step {
                Step::Member { of, key } => self.member(node, of, key)?,
                Step::Follow { field, to } => self.follow(node, field, to)?,
            };
        }
        Ok(node)
    }

    fn member(
        &mut self,
        from: Node,
        collection: &'static Collection,
        key: &Key,
    ) -> Result<Node, Refusal> {
        let of = collection.of;
        match (key, of.identity) {
            (Key::Only, _) | (_, Identity::Only) => {
                let Place::Single(key) = collection.place else { return Err(Refusal::Incomplete) };
                let uri = self.client.root()?.collection(key)?.to_owned();
                Ok(Node { of, id: None, at: At::Uri(uri), object: None })
            }
            (Key::Word(word), Identity::Alias { template, .. }) => {
                let id = self.identify(&from, of, &word.text)?;
                let uri = self.client.root()?.object(template, &id.to_string())?;
                let node = Node { of, id: Some(id), at: At::Uri(uri), object: None };
                self.check_owner(&from, node)
            }
            (Key::Word(word), Identity::Field(name)) => {
                let field = of.field(name).ok_or(Refusal::Incomplete)?;
                let pair = Pair { field, value: Value::Word(word.clone()) };
                self.select(from, collection, std::slice::from_ref(&pair))
            }
            (Key::Filter(pairs), _) => self.select(from, collection, pairs),
        }
    }

    /// The identifier that a word means: itself, or an alias of this owner or of nobody; for a host
    /// also the name that its machine has.
    fn identify(&self, from: &Node, of: &Type, word: &str) -> Result<Uuid, Refusal> {
        if let Ok(id) = word.parse() {
            return Ok(id);
        }
        let aliases = self.aliases.as_ref();
        let alias = aliases.and_then(|a| a.find(from.id, word).or_else(|| a.find(None, word)));
        if let Some(id) = alias {
            return Ok(id);
        }
        if of.is_meant_by_name() {
            return self.called(of, word);
        }
        Err(Refusal::User(match aliases {
            None => format!("'{word}' is no identifier of a {}", of.word),
            Some(_) => format!("no {} here is called '{word}'", of.word),
        }))
    }

    /// The only object of a collection of the root that has this name.
    fn called(&self, of: &Type, name: &str) -> Result<Uuid, Refusal> {
        let mut found = Vec::new();
        if let Some(Place::Root { key, .. }) = ROOT.collection(of.word).map(|it| it.place) {
            let uri = self.client.root()?.collection(key)?.to_owned();
            let objects: Vec<Object> = self.client.list(&uri, &of.media)?;
            found.extend(objects.into_iter().filter(|it| it.get("name") == Some(&name.into())));
        }
        let id = |object: &Object| text_of(object, "id").ok().and_then(|id| id.parse().ok());
        match found.as_slice() {
            [one] => id(one).ok_or(Refusal::Incomplete),
            [] => Err(Refusal::User(format!("no {} here is called '{name}'", of.word))),
            many => Err(Refusal::User(format!(
                "{} {}s are called '{name}': say the identifier of one",
                many.len(),
                of.word
            ))),
        }
    }

    /// Refuses an object of another owner than the path goes through.
    fn check_owner(&mut self, from: &Node, node: Node) -> Result<Node, Refusal> {
        let key = match node.of.owner {
            Owner::Nobody => return Ok(node),
            Owner::Object { key, of } if std::ptr::eq(of, from.of) => key,
            // It is listed where it refers to as well: a virtual address at its load balancer.
            Owner::Object { key, .. } => field_of(node.of, from.of).map_or(key, |field| field.json),
            Owner::Device => "deviceId",
        };
        let (Some(owner), Some(id)) = (from.id, node.id) else { return Ok(node) };
        let node = self.load(node)?;
        let named = node.object.as_ref().and_then(|object| object.get(key));
        if named.and_then(Json::as_str) == Some(owner.to_string().as_str()) {
            return Ok(node);
        }
        let (inner, outer) = (node.of.word, from.of.word);
        Err(Refusal::User(format!("{inner} {id} is not of this {outer}")))
    }

    /// The only object of a collection that has these values.
    fn select(
        &mut self,
        from: Node,
        collection: &'static Collection,
        pairs: &[Pair],
    ) -> Result<Node, Refusal> {
        let (from, objects) = self.objects(from, collection)?;
        let mut found = Vec::new();
        for (index, object) in objects.into_iter().enumerate() {
            if self.matches(&object, pairs)? {
                found.push((index, object));
            }
        }
        let many = found.len();
        let (Some((index, object)), 1) = (found.pop(), many) else {
            let many = if many == 0 { "no".to_owned() } else { many.to_string() };
            let word = collection.word;
            return Err(Refusal::User(format!("{many} {word} is like that; name exactly one")));
        };
        let id = object.get("id").and_then(Json::as_str).and_then(|id| id.parse().ok());
        let at = match collection.place {
            Place::Inside(key) => At::Inside { parent: Box::new(from), key, index },
            _ => At::Uri(text_of(&object, "uri")?.to_owned()),
        };
        Ok(Node { of: collection.of, id, at, object: Some(object) })
    }

    fn follow(&mut self, node: Node, field: &Field, to: &'static Type) -> Result<Node, Refusal> {
        let node = self.load(node)?;
        let object = node.object.as_ref();
        let id = object.and_then(|object| object.get(field.json)).and_then(Json::as_str);
        let Some(id) = id.and_then(|id| id.parse::<Uuid>().ok()) else {
            return Err(Refusal::User(format!("'{}' is not set", field.word)));
        };
        let Identity::Alias { template, .. } = to.identity else { return Err(Refusal::Incomplete) };
        let uri = self.client.root()?.object(template, &id.to_string())?;
        Ok(Node { of: to, id: Some(id), at: At::Uri(uri), object: None })
    }

    /// Makes sure of an object's contents.
    pub(super) fn load(&self, mut node: Node) -> Result<Node, Refusal> {
        if node.object.is_none() {
            node.object = Some(self.client.object(node.uri(), &node.of.media)?);
        }
        Ok(node)
    }

    /// Where the objects of a collection are listed and made.
    pub(super) fn collection_uri(
        &self,
        from: &Node,
        collection: &Collection,
    ) -> Result<String, Refusal> {
        Ok(match (collection.place, &from.object) {
            (Place::Root { key, .. } | Place::Single(key), _) => {
                self.client.root()?.collection(key)?.to_owned()
            }
            (Place::Link(key), Some(object)) => text_of(object, key)?.to_owned(),
            (Place::Link(_) | Place::Inside(_), _) => from.uri().to_owned(),
        })
    }

    /// The objects of a collection.
    pub(super) fn objects(
        &mut self,
        from: Node,
        collection: &'static Collection,
    ) -> Result<(Node, Vec<Object>), Refusal> {
        let from = match collection.place {
            Place::Link(_) | Place::Inside(_) => self.load(from)?,
            _ => from,
        };
        if let (Place::Inside(key), Some(object)) = (collection.place, &from.object) {
            let list = object.get(key).and_then(Json::as_array);
            let objects = list.into_iter().flatten().filter_map(Json::as_object).cloned().collect();
            return Ok((from, objects));
        }
        let mut uri = self.collection_uri(&from, collection)?;
        if let (Place::Root { scope: Scope::Tenant, .. }, Some(tenant)) =
            (collection.place, self.tenant_for(collection.of))
        {
            uri = format!("{uri}?tenant_id={}", encoded(tenant));
        }
        let mut objects: Vec<Object> = self.client.list(&uri, &collection.of.media)?;
        objects.sort_by_key(|object| object.get("position").and_then(Json::as_u64));
        Ok((from, objects))
    }

    /// Whether an object has these values, as they are printed or as they are stored.
    pub(super) fn matches(&mut self, object: &Object, pairs: &[Pair]) -> Result<bool, Refusal> {
        for pair in pairs {
            let typed = self.typed(&pair.value)?;
            if value::text(pair.field, self, object)?.as_deref() == Some(typed.as_str()) {
                continue;
            }
            let mut wanted = Object::new();
            let written = value::write(pair.field, &typed, self, &mut wanted);
            if written.is_err() || wanted.iter().any(|(key, value)| object.get(key) != Some(value))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The text of a value; a path comes to the identifier of its object.
    pub(super) fn typed(&mut self, value: &Value) -> Result<String, Refusal> {
        match value {
            Value::Word(word) => Ok(word.text.clone()),
            Value::Path(path) => {
                let node = self.resolve(path)?;
                Ok(node.id.map(|id| id.to_string()).unwrap_or_default())
            }
        }
    }
}

impl Names for Session {
    fn id_of(&mut self, of: &'static Type, word: &str) -> Result<String, Refusal> {
        Ok(self.identify(&Node::root(), of, word)?.to_string())
    }

    fn name_of(&mut self, of: &'static Type, id: &str) -> Result<String, Refusal> {
        self.full_name(of, id)
    }
}

/// The field of a kind of object that refers to another kind.
fn field_of(of: &'static Type, to: &'static Type) -> Option<&'static Field> {
    let refers = |field: &&Field| field.refers_to().is_some_and(|other| std::ptr::eq(other, to));
    of.fields.iter().find(refers)
}

fn text_of<'a>(object: &'a Object, key: &str) -> Result<&'a str, Refusal> {
    let text = object.get(key).and_then(Json::as_str);
    text.ok_or_else(|| mn_client::Error::NotOffered { what: key.to_owned() }.into())
}

/// A value as a query parameter has it.
fn encoded(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    let one = |c: u8| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_may_be_called_anything() {
        assert_eq!(encoded("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }
}
