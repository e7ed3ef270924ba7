//! Fills in the names of a walk: an agent knows those of what it has loaded, the store all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use mn_api_types::walk::Walk;
use mn_ids::{Class, ObjectKey};
use mn_nsdb::Store;
use serde_json::Value;

use super::unreadable;
use crate::rest::WalkError;

/// The same walk with the names of everything it mentions.
pub(super) async fn fill(store: &dyn Store, walk: Walk) -> Result<Walk, WalkError> {
    let Ok(mut document) = serde_json::to_value(&walk) else { return Ok(walk) };
    let mut nameless = Vec::new();
    visit(&mut document, &mut |key, name| {
        if name.is_null() {
            nameless.push(key);
        }
    });
    let mut names = HashMap::new();
    for key in nameless {
        if let Entry::Vacant(vacant) = names.entry(key) {
            let stored = store.get(key).await.map_err(unreadable)?;
            vacant.insert(stored.and_then(|stored| name_of(key.class, &stored.json)));
        }
    }
    visit(&mut document, &mut |key, name| {
        if let Some(Some(found)) = names.get(&key) {
            *name = found.as_str().into();
        }
    });
    Ok(serde_json::from_value(document).unwrap_or(walk))
}

/// Calls `each` for every object of the document that names one of the topology: it has exactly a
/// kind, an id and a name.
fn visit(value: &mut Value, each: &mut impl FnMut(ObjectKey, &mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, each)),
        Value::Object(members) => {
            if members.len() == 3
                && let Some(key) = key(members)
                && let Some(name) = members.get_mut("name")
            {
                each(key, name);
                return;
            }
            members.values_mut().for_each(|member| visit(member, each));
        }
        _ => {}
    }
}

fn key(members: &serde_json::Map<String, Value>) -> Option<ObjectKey> {
    let class = members.get("kind")?.as_str()?.parse().ok()?;
    let id = members.get("id")?.as_str()?.parse().ok()?;
    Some(ObjectKey { class, id })
}

/// What people call a stored object.
fn name_of(class: Class, json: &str) -> Option<String> {
    let document: Value = serde_json::from_str(json).ok()?;
    let member = if class == Class::Port { "interface_name" } else { "name" };
    Some(document.get(member)?.as_str()?.to_owned())
}
