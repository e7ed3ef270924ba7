//! From what a client sends to a structure, leniently or strictly.
//!
//! Clients echo whole objects, send numbers as text and `null` for "unset"; all of that is taken.
//! A strict request also has every name checked.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mn_packet::{IpPrefix, Mac};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Described, Description, MacMask, Shape, Violation};

/// What becomes of fields that cannot be set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Names {
    /// Unknown and read-only fields are ignored.
    Lenient,
    /// They are refused.
    Strict,
}

/// Reads a structure of the API.
///
/// # Errors
///
/// Every field that is unknown (where names are strict), or the first that has a wrong type or form.
pub fn read<T: Described + DeserializeOwned>(
    value: Value,
    names: Names,
) -> Result<T, Vec<Violation>> {
    let mut value = value;
    let mut violations = Vec::new();
    normalize(&T::SHAPE, &mut value, "", names, &mut violations);
    if !violations.is_empty() {
        return Err(violations);
    }
    if let Shape::Object(description) = T::SHAPE
        && !value.is_object()
    {
        let message = format!("expected a {} object", description.name);
        return Err(vec![violation("", message, value)]);
    }
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        let found = at(&value, error.path()).cloned().unwrap_or(Value::Null);
        vec![violation(&path, error.inner().to_string(), found)]
    })
}

/// Takes the fields out that the server decides, so that what it sent may be sent back strictly.
pub fn strip_read_only(description: &Description, object: &mut Map<String, Value>) {
    object.retain(|name, _| description.field(name).is_none_or(|field| !field.read_only));
}

/// The name among these that is most like `name`, if any is at all.
#[must_use]
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    let distance = |other: &str| distance(&lower, &other.to_ascii_lowercase());
    let best = names.into_iter().map(|other| (distance(other), other)).min()?;
    (best.0 <= name.chars().count().div_ceil(2)).then_some(best.1)
}

fn violation(property: &str, message: String, value: Value) -> Violation {
    Violation { property: property.to_owned(), message, value }
}

/// Turns what is meant into what the structure expects; notes names that are not there. The names
/// come from the description, so the depth is that of the description, not of the input.
fn normalize(shape: &Shape, value: &mut Value, path: &str, names: Names, out: &mut Vec<Violation>) {
    match (shape, value) {
        (Shape::Object(description), Value::Object(object)) => {
            if names == Names::Strict {
                check_names(description, object, path, out);
            }
            object.retain(|_, value| !value.is_null());
            for field in description.all_fields() {
                let Some(value) = object.get_mut(field.name) else { continue };
                if field.read_only {
                    object.remove(field.name);
                    continue;
                }
                normalize(&field.shape, value, &join(path, field.name), names, out);
                check_shape(&field.shape, value, &join(path, field.name), out);
            }
        }
        (Shape::List(shape), Value::Array(values)) => {
            for (index, value) in values.iter_mut().enumerate() {
                normalize(shape, value, &format!("{path}[{index}]"), names, out);
                check_shape(shape, value, &format!("{path}[{index}]"), out);
            }
        }
        (Shape::Integer { .. }, value @ Value::String(_)) => {
            let number = value.as_str().and_then(|text| text.trim().parse::<i64>().ok());
            if let Some(number) = number {
                *value = number.into();
            }
        }
        _ => {}
    }
}

/// Notes a number out of range, a word that is none, or a value of another type: here the message
/// can say what would be right.
fn check_shape(shape: &Shape, value: &Value, path: &str, out: &mut Vec<Violation>) {
    let message = match (shape, value) {
        (Shape::Integer { min, max }, value) => match value.as_i64() {
            Some(number) if (*min..=*max).contains(&number) => return,
            _ => format!("must be a whole number from {min} to {max}"),
        },
        (Shape::Choice(words), value) => match value.as_str() {
            Some(word) if words.contains(&word) => return,
            _ => format!("must be one of {}", words.join(", ")),
        },
        (Shape::Bool, value) if !value.is_boolean() => "must be true or false".to_owned(),
        (Shape::Text { format }, value) => match value.as_str() {
            Some(text) => match ill_formed(format, text) {
                Some(message) => message,
                None => return,
            },
            None => "must be text".to_owned(),
        },
        (Shape::List(_), value) if !value.is_array() => "must be a list".to_owned(),
        (Shape::Object(description), value) if !value.is_object() => {
            format!("must be an object ({})", description.name)
        }
        _ => return,
    };
    out.push(violation(path, message, value.clone()));
}

/// Why a text is not of a format, if it is not. Checked here and not only by the type's own
/// `Deserialize`, which does not know the field's path in objects that include others.
fn ill_formed(format: &str, text: &str) -> Option<String> {
    match format {
        "uuid" => text.parse::<Uuid>().err().map(|_| "must be a UUID".to_owned()),
        "ip" => text.parse::<IpAddr>().err().map(|_| "must be an IP address".to_owned()),
        "ipv4" => text.parse::<Ipv4Addr>().err().map(|_| "must be an IPv4 address".to_owned()),
        "ipv6" => text.parse::<Ipv6Addr>().err().map(|_| "must be an IPv6 address".to_owned()),
        "cidr" => text.parse::<IpPrefix>().err().map(|error| error.to_string()),
        "mac" => text.parse::<Mac>().err().map(|error| error.to_string()),
        "mac-mask" => text.parse::<MacMask>().err().map(|error| error.to_string()),
        _ => None,
    }
}

fn check_names(
    description: &Description,
    object: &Map<String, Value>,
    path: &str,
    out: &mut Vec<Violation>,
) {
    for (name, value) in object {
        let message = match description.field(name) {
            Some(field) if !field.read_only => continue,
            Some(_) => format!("{name} is set by the server"),
            None => unknown(description, name),
        };
        out.push(violation(&join(path, name), message, value.clone()));
    }
}

fn unknown(description: &Description, name: &str) -> String {
    let settable = description.all_fields().filter(|field| !field.read_only);
    match nearest(name, settable.map(|field| field.name)) {
        Some(near) => format!("{} has no field {name}; did you mean {near}?", description.name),
        None => format!("{} has no field {name}", description.name),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The value at a path.
fn at<'a>(value: &'a Value, path: &serde_path_to_error::Path) -> Option<&'a Value> {
    use serde_path_to_error::Segment;
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}

/// How many single-character changes lead from one to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(NAME_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(NAME_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Names are compared up to this many characters.
const NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bridge, Rule, RuleType};
    use serde_json::json;

    #[test]
    fn numbers_may_be_text_and_null_means_unset() {
        let sent = json!({"type": "accept", "position": "3", "nwProto": "6", "inPorts": null,
            "tpDst": {"start": "80", "end": 80}, "chainId": "not even an id", "who": "knows"});
        let rule: Rule = read(sent, Names::Lenient).unwrap();
        assert_eq!((rule.kind, rule.position), (Some(RuleType::Accept), 3));
        assert_eq!(rule.condition.nw_proto, Some(6));
        assert_eq!(rule.condition.tp_dst.and_then(|range| range.start), Some(80));
        assert_eq!(rule.condition.in_ports, []);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_field() {
        for (sent, property, value) in [
            (json!({"name": 7}), "name", json!(7)),
            (json!({"id": "x"}), "id", json!("x")),
            (json!({"adminStateUp": "yes"}), "adminStateUp", json!("yes")),
            (json!([]), "", json!([])),
        ] {
            let violations = read::<Bridge>(sent, Names::Lenient).unwrap_err();
            assert_eq!((violations[0].property.as_str(), &violations[0].value), (property, &value));
        }
        let sent = json!({"natTargets": [{"addressFrom": "1.2.3.400"}]});
        let violations = read::<Rule>(sent, Names::Lenient).unwrap_err();
        assert_eq!(violations[0].property, "natTargets[0].addressFrom");
        let sent = json!({"dlSrc": "1:2", "nwSrcLength": 24});
        let violations = read::<Rule>(sent, Names::Lenient).unwrap_err();
        assert_eq!(violations[0].value, json!("1:2"));
        assert_eq!(violations[0].property, "dlSrc");
    }

    #[test]
    fn a_strict_request_is_told_the_name_that_was_meant() {
        let sent = json!({"adminStateup": true, "uri": "http://x", "name": "b"});
        let violations = read::<Bridge>(sent, Names::Strict).unwrap_err();
        let messages: Vec<_> =
            violations.iter().map(|violation| violation.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "Bridge has no field adminStateup; did you mean adminStateUp?",
                "uri is set by the server"
            ]
        );
    }

    #[test]
    fn what_the_server_sent_may_be_sent_back_without_its_own_fields() {
        let mut sent = serde_json::to_value(Bridge::default()).unwrap();
        strip_read_only(&Bridge::DESCRIPTION, sent.as_object_mut().unwrap());
        assert_eq!(read::<Bridge>(sent, Names::Strict), Ok(Bridge::default()));
    }
}
