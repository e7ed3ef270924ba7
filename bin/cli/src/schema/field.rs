//! A field: its word, its JSON, and how one becomes the other.

use serde_json::{Map, Value};

use super::Type;

/// An object as the API has it.
pub type Object = Map<String, Value>;

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    pub word: &'static str,
    /// The name of its value in JSON; for a prefix, that of the address.
    pub json: &'static str,
    pub kind: Kind,
    /// The JSON field that turns its test round, for values that may begin with `!`.
    pub inverted_by: Option<&'static str>,
    pub shown: Shown,
    pub settable: Settable,
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text,
    Integer,
    /// `true` or `false`.
    Bool,
    /// `yes` or `no`.
    YesNo,
    /// `up` or `down`.
    UpDown,
    /// One of these words: as typed, and in JSON.
    Choice(&'static [(&'static str, &'static str)]),
    /// A number, or `no-limit` for −1.
    Limit,
    /// An Ethernet type; printed as a signed 16-bit number.
    EtherType,
    /// An address with a length, which is in this JSON field.
    Prefix {
        length: &'static str,
    },
    /// One number or two with a hyphen: `start` and `end` in JSON.
    Range,
    /// `ip[-ip][:port[-port]]`, with commas.
    NatTargets,
    /// `fwd-flow` or `return-flow`, each a boolean in JSON.
    Flow,
    /// Texts with commas.
    Texts,
    /// Addresses as the guides print them: `[u'127.0.0.1']`.
    QuotedAddresses,
    /// An object of this type.
    Reference(&'static Type),
    /// Objects of this type, with commas.
    References(&'static Type),
    /// The bridge or router of a port.
    Device,
    /// The other end of a link, which the API makes and undoes on its own.
    Peer(&'static Type),
}

/// When a listing has a field.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// When it has a value.
    Set,
    /// When its value is not this.
    Unless(&'static str),
    /// Always, and as this when it has no value.
    Or(&'static str),
    /// Only when asked for by its name.
    Asked,
    /// When this is true of the object.
    When(fn(&Object) -> bool),
}

/// What may be done to a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settable {
    Yes,
    Clearable,
    AtCreation,
    No,
}

impl Field {
    /// A field that can be set, cannot be cleared and is printed when it has a value.
    pub(super) const fn new(word: &'static str, json: &'static str, kind: Kind) -> Self {
        let (shown, settable) = (Shown::Set, Settable::Yes);
        Self { word, json, kind, inverted_by: None, shown, settable }
    }

    /// The identifier, which is printed as an alias instead.
    pub(super) const fn id() -> Self {
        Self::new("id", "id", Kind::Text).shown(Shown::Asked).read_only()
    }

    /// The owner, which every object of a listing has in common.
    pub(super) const fn tenant() -> Self {
        Self::new("tenant", "tenantId", Kind::Text).shown(Shown::Asked)
    }

    pub(super) const fn shown(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    pub(super) const fn read_only(self) -> Self {
        Self { settable: Settable::No, ..self }
    }

    pub(super) const fn at_creation(self) -> Self {
        Self { settable: Settable::AtCreation, ..self }
    }

    pub(super) const fn clearable(self) -> Self {
        Self { settable: Settable::Clearable, ..self }
    }

    pub(super) const fn inverted_by(self, json: &'static str) -> Self {
        Self { inverted_by: Some(json), ..self }
    }

    /// The type of the object that the field refers to, when it refers to one of a known type.
    #[must_use]
    pub const fn refers_to(&self) -> Option<&'static Type> {
        match self.kind {
            Kind::Reference(of) | Kind::References(of) | Kind::Peer(of) => Some(of),
            _ => None,
        }
    }

    /// The words that its value may be, where they are few.
    #[must_use]
    pub fn choices(&self) -> Vec<&'static str> {
        match self.kind {
            Kind::Bool => vec!["true", "false"],
            Kind::YesNo => vec!["yes", "no"],
            Kind::UpDown => vec!["up", "down"],
            Kind::Flow => vec!["fwd-flow", "return-flow"],
            Kind::Choice(words) => words.iter().map(|(word, _)| *word).collect(),
            _ => Vec::new(),
        }
    }
}
