//! Stored JSON documents, and where in them a reference stands.

use serde_json::Value;
use uuid::Uuid;

/// A parsed document.
///
/// # Field paths
///
/// A path is names joined by dots. It is followed from the document: at an object to the member of
/// that name; at an array with the same rest of the path to every element. It *holds* an identifier
/// where it ends at a string that is one, or at an array that has one. Clearing takes the
/// innermost array on the way that led there and removes the element; where there was no array,
/// the field becomes null. So `peer_id` becomes null, `port_ids` loses the identifier,
/// `members.host_id` removes the member, `rules.action.chain_id` the rule.
#[derive(Clone, Debug)]
pub(crate) struct Document(Value);

impl Document {
    /// Reads a document.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        match serde_json::from_str(json) {
            Ok(value @ Value::Object(_)) => Ok(Self(value)),
            Ok(_) => Err("the document is no JSON object".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether clearing this would change something.
    pub(crate) fn holds(&self, field: &str, id: Uuid) -> bool {
        let path: Vec<&str> = field.split('.').collect();
        any(&self.0, &path, &|value| is(value, id))
    }

    /// Whether the identifier stands anywhere at or below the path.
    pub(crate) fn mentions(&self, field: &str, id: Uuid) -> bool {
        let path: Vec<&str> = field.split('.').collect();
        any(&self.0, &path, &|value| is_within(value, id))
    }

    /// Clears a reference; says whether it was held.
    pub(crate) fn clear(&mut self, field: &str, id: Uuid) -> bool {
        let path: Vec<&str> = field.split('.').collect();
        match clear(&mut self.0, &path, id) {
            Cleared::Nothing => false,
            Cleared::Done => true,
            Cleared::TakeMe => {
                if let Some(field) = path.iter().try_fold(&mut self.0, |at, name| at.get_mut(name))
                {
                    *field = Value::Null;
                }
                true
            }
        }
    }

    pub(crate) fn to_json(&self) -> String {
        self.0.to_string()
    }
}

fn is(value: &Value, id: Uuid) -> bool {
    value.as_str().is_some_and(|text| Uuid::try_parse(text) == Ok(id))
}

fn is_within(value: &Value, id: Uuid) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| is_within(item, id)),
        Value::Object(members) => members.values().any(|member| is_within(member, id)),
        _ => is(value, id),
    }
}

/// Whether `test` holds for a value where the path ends.
fn any(value: &Value, path: &[&str], test: &dyn Fn(&Value) -> bool) -> bool {
    match (value, path) {
        (Value::Array(items), _) => items.iter().any(|item| any(item, path, test)),
        (Value::Object(members), [name, rest @ ..]) => {
            members.get(*name).is_some_and(|member| any(member, rest, test))
        }
        (_, []) => test(value),
        _ => false,
    }
}

enum Cleared {
    Nothing,
    Done,
    /// The identifier is this value or a member of it: the innermost array removes it.
    TakeMe,
}

fn clear(value: &mut Value, path: &[&str], id: Uuid) -> Cleared {
    match (value, path) {
        (Value::Array(items), _) => {
            let mut changed = false;
            items.retain_mut(|item| {
                let cleared = clear(item, path, id);
                changed |= !matches!(cleared, Cleared::Nothing);
                !matches!(cleared, Cleared::TakeMe)
            });
            if changed { Cleared::Done } else { Cleared::Nothing }
        }
        (Value::Object(members), [name, rest @ ..]) => {
            members.get_mut(*name).map_or(Cleared::Nothing, |member| clear(member, rest, id))
        }
        (value, []) if is(value, id) => Cleared::TakeMe,
        _ => Cleared::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const A: &str = "00000000-0000-0000-0000-00000000000a";
    const B: &str = "00000000-0000-0000-0000-00000000000b";

    #[test]
    fn clearing_empties_a_field_or_takes_the_innermost_element() {
        #[rustfmt::skip]
        let cases = [
            // document, path, what is left (None: nothing was there to clear)
            (json!({"peer_id": A}),                        "peer_id",  Some(json!({"peer_id": null}))),
            (json!({"peer_id": A.to_uppercase()}),         "peer_id",  Some(json!({"peer_id": null}))),
            (json!({"peer_id": B}),                        "peer_id",  None),
            (json!({"peer_id": null}),                     "peer_id",  None),
            (json!({}),                                    "peer_id",  None),
            (json!({"at": {"id": A}}),                     "at.id",    Some(json!({"at": {"id": null}}))),
            (json!({"ids": [B, A, A]}),                    "ids",      Some(json!({"ids": [B]}))),
            (json!({"m": [{"id": A}, {"id": B}]}),         "m.id",     Some(json!({"m": [{"id": B}]}))),
            (json!({"r": [{"do": {"id": A}}, {"do": {}}]}), "r.do.id", Some(json!({"r": [{"do": {}}]}))),
            (json!({"r": [{"ids": [A, B]}, {"x": A}]}),    "r.ids",    Some(json!({"r": [{"ids": [B]}, {"x": A}]}))),
            (json!({"r": [{"id": [[A], [B]]}]}),           "r.id",     Some(json!({"r": [{"id": [[], [B]]}]}))),
            (json!({"a": A}),                              "a.b",      None),
        ];
        for (document, path, want) in cases {
            let id = A.parse().unwrap();
            let mut left = Document::parse(&document.to_string()).unwrap();
            assert_eq!(left.holds(path, id), want.is_some(), "{document} at {path}");
            assert_eq!(left.clear(path, id), want.is_some(), "{document} at {path}");
            assert_eq!(left.0, want.unwrap_or(document), "at {path}");
            assert!(!left.holds(path, id));
        }
    }

    #[test]
    fn an_identifier_deep_below_a_path_is_mentioned_but_not_held() {
        let text = json!({"rules": [{"group": {"not": A}}]}).to_string();
        let document = Document::parse(&text).unwrap();
        let (a, b) = (A.parse().unwrap(), B.parse().unwrap());
        assert!(document.mentions("rules.group", a));
        assert!(!document.holds("rules.group", a));
        assert!(!document.mentions("rules.group", b));
    }

    #[test]
    fn only_objects_are_documents() {
        assert!(Document::parse("[]").is_err());
        assert!(Document::parse("{").is_err());
    }
}
