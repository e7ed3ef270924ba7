//! Values: from what is typed to JSON, and from JSON to what is printed.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::schema::{BRIDGE, Field, Kind, Object, ROUTER, Shown, Type};

/// How the objects that values refer to are called.
pub trait Names {
    /// The identifier of the object that a word means.
    ///
    /// # Errors
    ///
    /// There is no such object, or the server could not be asked.
    fn id_of(&mut self, of: &'static Type, word: &str) -> Result<String, Refusal>;

    /// The name of an object, which is its identifier where nothing better is known.
    ///
    /// # Errors
    ///
    /// The server could not be asked.
    fn name_of(&mut self, of: &'static Type, id: &str) -> Result<String, Refusal>;
}

/// Writes what was typed for a field into an object.
///
/// # Errors
///
/// What was typed is no value of this kind. Much is left to the server, whose sentence is better.
pub fn write(
    field: &'static Field,
    typed: &str,
    names: &mut dyn Names,
    object: &mut Object,
) -> Result<(), Refusal> {
    let bare = match (field.inverted_by, typed.strip_prefix('!')) {
        (Some(json), bare) => {
            object.insert(json.to_owned(), bare.is_some().into());
            bare.unwrap_or(typed)
        }
        (None, _) => typed,
    };
    let wrong = || Refusal::User(wrong(field, typed));
    match field.kind {
        Kind::Prefix { length } => {
            let (address, len) = prefix(bare).ok_or_else(wrong)?;
            object.insert(field.json.to_owned(), address.into());
            object.insert(length.to_owned(), len);
        }
        Kind::Flow => {
            let (forward, back) = (bare == "fwd-flow", bare == "return-flow");
            if !forward && !back {
                return Err(wrong());
            }
            object.insert("matchForwardFlow".to_owned(), forward.into());
            object.insert("matchReturnFlow".to_owned(), back.into());
        }
        Kind::Reference(of) | Kind::Peer(of) => {
            object.insert(field.json.to_owned(), names.id_of(of, bare)?.into());
        }
        Kind::References(of) => {
            let ids = bare.split(',').map(|word| names.id_of(of, word).map(Value::from));
            object.insert(field.json.to_owned(), ids.collect::<Result<Vec<_>, _>>()?.into());
        }
        _ => {
            object.insert(field.json.to_owned(), json(field, bare).ok_or_else(wrong)?);
        }
    }
    Ok(())
}

/// A single value in JSON.
fn json(field: &Field, typed: &str) -> Option<Value> {
    match field.kind {
        Kind::Bool => choice(typed, "true", "false"),
        Kind::YesNo => choice(typed, "yes", "no"),
        Kind::UpDown => choice(typed, "up", "down"),
        Kind::Choice(words) => {
            let found = words.iter().find(|(word, _)| *word == typed);
            found.map(|(_, json)| Value::from(*json))
        }
        Kind::Limit if typed == "no-limit" => Some((-1).into()),
        Kind::Integer | Kind::Limit => Some(number(typed)),
        Kind::EtherType => ether_type(typed),
        Kind::Range => range(typed),
        Kind::NatTargets => typed.split(',').map(nat_target).collect(),
        Kind::Texts if typed.is_empty() => Some(json!([])),
        Kind::Texts => Some(typed.split(',').collect()),
        _ => Some(typed.into()),
    }
}

fn wrong(field: &Field, typed: &str) -> String {
    let choices = field.choices();
    let wanted = match field.kind {
        _ if !choices.is_empty() => format!("one of {}", choices.join(", ")),
        Kind::Prefix { .. } => "an address, with or without a length: 10.0.0.0/24".to_owned(),
        Kind::EtherType => "an Ethernet type: 2048, 0x800".to_owned(),
        Kind::Range => "a port or a range of ports: 80, 80-90".to_owned(),
        Kind::NatTargets => "targets: 10.0.0.1, 10.0.0.1-10.0.0.9:80-88".to_owned(),
        _ => "such a value".to_owned(),
    };
    format!("'{typed}' is no {}: expected {wanted}", field.word)
}

fn choice(typed: &str, yes: &str, no: &str) -> Option<Value> {
    (typed == yes || typed == no).then(|| (typed == yes).into())
}

/// A number, or the text as it is: the server says what is wrong with it, and what would be right.
fn number(typed: &str) -> Value {
    typed.parse::<i64>().map_or_else(|_| typed.into(), Value::from)
}

fn ether_type(typed: &str) -> Option<Value> {
    let number = match typed.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None => typed.parse::<i64>().ok()?,
    };
    // Types from 0x8000 may be typed as they are printed, with a sign.
    let number = if (-0x8000..0).contains(&number) { number + 0x1_0000 } else { number };
    Some(number.into())
}

fn prefix(typed: &str) -> Option<(String, Value)> {
    let (address, length) = match typed.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (typed, None),
    };
    let whole = if address.parse::<IpAddr>().ok()?.is_ipv4() { 32 } else { 128 };
    Some((address.to_owned(), length.map_or_else(|| whole.into(), number)))
}

/// `80`, `80-90`
fn range(typed: &str) -> Option<Value> {
    let (start, end) = typed.split_once('-').unwrap_or((typed, typed));
    let (start, end) = (start.parse::<u32>().ok()?, end.parse::<u32>().ok()?);
    Some(json!({ "start": start, "end": end }))
}

/// `ip[-ip][:port[-port]]`; IPv6 addresses with ports stand in brackets.
fn nat_target(typed: &str) -> Option<Value> {
    let (addresses, ports) = match typed.strip_prefix('[') {
        Some(rest) => {
            let (addresses, rest) = rest.split_once(']')?;
            (addresses, rest.strip_prefix(':'))
        }
        None if typed.matches(':').count() > 1 => (typed, None),
        None => match typed.split_once(':') {
            Some((addresses, ports)) => (addresses, Some(ports)),
            None => (typed, None),
        },
    };
    let (from, to) = addresses.split_once('-').unwrap_or((addresses, addresses));
    from.parse::<IpAddr>().ok()?;
    to.parse::<IpAddr>().ok()?;
    let (start, end) = match ports {
        None => (0, 0),
        Some(ports) => {
            let (start, end) = ports.split_once('-').unwrap_or((ports, ports));
            // The guides write an unlimited range as 1--1.
            let end = if end == "-1" { "65535" } else { end };
            (start.parse::<u32>().ok()?, end.parse::<u32>().ok()?)
        }
    };
    Some(json!({ "addressFrom": from, "addressTo": to, "portFrom": start, "portTo": end }))
}

/// A field's value as it is printed, or nothing when it has none.
///
/// # Errors
///
/// The server could not be asked for the name of an object.
pub fn text(
    field: &'static Field,
    names: &mut dyn Names,
    object: &Object,
) -> Result<Option<String>, Refusal> {
    let value = object.get(field.json).unwrap_or(&Value::Null);
    let bare = match field.kind {
        Kind::Reference(of) | Kind::Peer(of) => named(of, names, value)?,
        Kind::Device => named(device_type(object), names, value)?,
        Kind::References(of) => {
            let ids = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            let list = ids.map(|id| names.name_of(of, id)).collect::<Result<Vec<_>, _>>()?;
            (!list.is_empty()).then(|| list.join(","))
        }
        Kind::Flow => flow(object),
        Kind::Prefix { length } => value.as_str().map(|address| {
            let length = object.get(length).and_then(Value::as_u64);
            printed_prefix(address, length)
        }),
        _ => printed(field.kind, value),
    };
    let inverted = field.inverted_by.is_some_and(|json| object.get(json) == Some(&true.into()));
    Ok(bare.map(|text| if inverted { format!("!{text}") } else { text }))
}

/// A field as a listing has it, or nothing when it is left out there.
///
/// # Errors
///
/// As [`text`].
pub fn listed(
    field: &'static Field,
    names: &mut dyn Names,
    object: &Object,
) -> Result<Option<String>, Refusal> {
    Ok(match field.shown {
        Shown::Asked => None,
        Shown::When(test) if !test(object) => None,
        Shown::Set | Shown::When(_) => text(field, names, object)?,
        Shown::Unless(plain) => text(field, names, object)?.filter(|text| text != plain),
        Shown::Or(plain) => Some(text(field, names, object)?.unwrap_or_else(|| plain.to_owned())),
    })
}

fn named(
    of: &'static Type,
    names: &mut dyn Names,
    value: &Value,
) -> Result<Option<String>, Refusal> {
    value.as_str().map(|id| names.name_of(of, id)).transpose()
}

/// What a port is a port of.
#[must_use]
pub fn device_type(port: &Object) -> &'static Type {
    let kind = port.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind.ends_with("Router") { &ROUTER } else { &BRIDGE }
}

fn flow(object: &Object) -> Option<String> {
    let is = |name: &str| object.get(name) == Some(&true.into());
    let word = if is("matchForwardFlow") { "fwd-flow" } else { "return-flow" };
    (is("matchForwardFlow") || is("matchReturnFlow")).then(|| word.to_owned())
}

fn printed(kind: Kind, value: &Value) -> Option<String> {
    match (kind, value) {
        (_, Value::Null) => None,
        (Kind::YesNo, Value::Bool(is)) => Some(if *is { "yes" } else { "no" }.to_owned()),
        (Kind::UpDown, Value::Bool(is)) => Some(if *is { "up" } else { "down" }.to_owned()),
        (Kind::Choice(words), Value::String(text)) => {
            let word = words.iter().find(|(_, json)| json == text).map(|(word, _)| *word);
            Some(word.unwrap_or(text).to_owned())
        }
        (Kind::Limit, number) if number.as_i64() == Some(-1) => Some("no-limit".to_owned()),
        (Kind::EtherType, number) => {
            let number = number.as_i64()?;
            Some(if number >= 0x8000 { number - 0x1_0000 } else { number }.to_string())
        }
        (Kind::Range, range) => {
            let number = |key, none| range.get(key).and_then(Value::as_u64).unwrap_or(none);
            let (start, end) = (number("start", 0), number("end", 65535));
            Some(if start == end { start.to_string() } else { format!("{start}-{end}") })
        }
        (Kind::NatTargets, Value::Array(list)) => {
            let list: Vec<_> = list.iter().filter_map(printed_nat_target).collect();
            (!list.is_empty()).then(|| list.join(","))
        }
        (Kind::QuotedAddresses, Value::Array(list)) => {
            let list = list.iter().filter_map(Value::as_str);
            let list = list.map(|text| format!("u'{}'", eight_groups(text)));
            Some(format!("[{}]", list.collect::<Vec<_>>().join(", ")))
        }
        (_, Value::Array(list)) => {
            let list: Vec<_> = list.iter().filter_map(Value::as_str).collect();
            (!list.is_empty()).then(|| list.join(","))
        }
        (_, Value::String(text)) => Some(text.clone()),
        (_, other) => Some(other.to_string()),
    }
}

/// A prefix; that of a single address has no length.
fn printed_prefix(address: &str, length: Option<u64>) -> String {
    let whole = if address.contains(':') { 128 } else { 32 };
    match length {
        Some(length) if length != whole => format!("{address}/{length}"),
        _ => address.to_owned(),
    }
}

fn printed_nat_target(target: &Value) -> Option<String> {
    let from = target.get("addressFrom")?.as_str()?;
    let to = target.get("addressTo").and_then(Value::as_str).unwrap_or(from);
    let addresses = if from == to { from.to_owned() } else { format!("{from}-{to}") };
    let port = |key| target.get(key).and_then(Value::as_u64).unwrap_or_default();
    let ports = match (port("portFrom"), port("portTo")) {
        (0, 0) => return Some(addresses),
        (1, 65535) => "1--1".to_owned(),
        (start, end) if start == end => start.to_string(),
        (start, end) => format!("{start}-{end}"),
    };
    let addresses = if from.contains(':') { format!("[{addresses}]") } else { addresses };
    Some(format!("{addresses}:{ports}"))
}

/// IPv6 in eight groups without `::`, as the guides print the addresses of interfaces.
fn eight_groups(text: &str) -> String {
    text.parse::<Ipv6Addr>().map_or_else(
        |_| text.to_owned(),
        |v6| v6.segments().map(|group| format!("{group:x}")).join(":"),
    )
}

#[cfg(test)]
mod tests;
