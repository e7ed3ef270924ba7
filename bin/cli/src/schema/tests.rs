//! The tables agree with the API's own description of its objects.

use std::collections::BTreeSet;

use super::*;

fn every_type() -> Vec<&'static Type> {
    let mut seen = BTreeSet::new();
    let mut waiting: Vec<&'static Type> = vec![&ROOT];
    let mut all = Vec::new();
    while let Some(next) = waiting.pop() {
        if seen.insert(std::ptr::from_ref(next)) {
            all.push(next);
            waiting.extend(next.collections.iter().map(|collection| collection.of));
        }
    }
    all
}

/// The JSON names that a field reads and writes.
fn json_names(field: &Field) -> Vec<&'static str> {
    let mut names: Vec<_> = field.inverted_by.into_iter().collect();
    match field.kind {
        Kind::Flow => names.extend(["matchForwardFlow", "matchReturnFlow"]),
        Kind::Prefix { length } => names.extend([field.json, length]),
        _ => names.push(field.json),
    }
    names
}

#[test]
fn every_word_stands_for_a_field_that_the_api_has() {
    for of in every_type() {
        for field in of.fields {
            for name in json_names(field) {
                let known = of.description.field(name);
                assert!(known.is_some(), "{} {}: {name}", of.description.name, field.word);
            }
        }
    }
}

#[test]
fn what_the_user_may_set_the_server_takes() {
    for of in every_type() {
        for field in of.fields.iter().filter(|field| field.settable != Settable::No) {
            // In this version of the API the availability cannot be written; the guides' command is kept,
            // and the server answers it.
            if field.word == "availability" {
                continue;
            }
            for name in json_names(field) {
                let known = of.description.field(name).expect("checked above");
                assert!(!known.read_only, "{} {}: {name}", of.description.name, field.word);
            }
        }
    }
}

#[test]
fn every_link_of_a_collection_is_a_field_of_its_object() {
    for of in every_type() {
        for collection in of.collections {
            if let Place::Link(key) | Place::Inside(key) = collection.place {
                assert!(of.description.field(key).is_some(), "{}: {key}", of.description.name);
            }
        }
    }
}

#[test]
fn no_word_means_two_things() {
    for of in every_type() {
        let mut words = BTreeSet::new();
        for word in of.fields.iter().map(|field| field.word) {
            assert!(words.insert(word), "{}: {word}", of.description.name);
            assert!(of.collection(word).is_none(), "{}: {word}", of.description.name);
        }
        for word in of.collections.iter().map(|collection| collection.word) {
            assert!(words.insert(word), "{}: {word}", of.description.name);
        }
    }
}
