//! The objects of the command line: their words, what each word means in the API, and how they nest.
//!
//! Everything else (grammar, completion, printing) is driven by these tables. Words and their order are the
//! guides'; source of the JSON names: the API facts, section 8.5.

mod chain;
mod condition;
mod device;
mod field;
mod group;
mod l2_insertion;
mod load_balancer;
mod mirror;
mod place;
mod qos;
mod root;

use mn_api_types::{Description, Media};

pub use device::{BRIDGE, PORT, ROUTER};
pub use field::{Field, Kind, Object, Settable, Shown};
pub use place::HOST;
pub use root::ROOT;

/// A kind of object.
#[derive(Debug)]
pub struct Type {
    /// The word before each line of a listing; none for objects that are named by their fields only.
    pub word: &'static str,
    pub identity: Identity,
    /// Its media type in the API.
    pub media: Media,
    /// Its fields in the API, which say what the server decides.
    pub description: &'static Description,
    /// In the order in which they are printed.
    pub fields: &'static [Field],
    pub collections: &'static [Collection],
    pub owner: Owner,
    pub change: Change,
}

/// What tells one object of a kind from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// An identifier; in a session also an alias of this prefix and a number.
    Alias {
        prefix: &'static str,
        /// The key of the URI template in the root document.
        template: &'static str,
    },
    /// The value of a field within its collection.
    Field(&'static str),
    /// There is only one.
    Only,
}

/// The object in whose name space the aliases of a kind are.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    Nobody,
    /// The object that this JSON field names.
    Object {
        key: &'static str,
        of: &'static Type,
    },
    /// The bridge or router of a port.
    Device,
}

/// Whether the API changes such an object in place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    Replace,
    /// It can only be deleted and made anew.
    Never,
}

/// A set of objects under a word.
#[derive(Debug)]
pub struct Collection {
    pub word: &'static str,
    pub of: &'static Type,
    pub place: Place,
    /// What the API needs to hear of each new object besides what the user gives.
    pub fixed: &'static [(&'static str, &'static str)],
}

/// Where a collection is in the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// At this key of the root document.
    Root { key: &'static str, scope: Scope },
    /// At the URI that this field of the object holds.
    Link(&'static str),
    /// In this field of the object itself.
    Inside(&'static str),
    /// The only object of its kind, at this key of the root document.
    Single(&'static str),
}

/// Whether the session's tenant bounds a collection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    Everybody,
    Tenant,
}

impl Type {
    /// Whether an object may be meant by its name. Hosts are called what their machines are; all
    /// else is called whatever its tenant likes, an alias or a word of the grammar too.
    #[must_use]
    pub fn is_meant_by_name(&self) -> bool {
        self.word == HOST.word
    }

    /// The field of this word.
    #[must_use]
    pub fn field(&self, word: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.word == word)
    }

    /// The collection of this word.
    #[must_use]
    pub fn collection(&self, word: &str) -> Option<&'static Collection> {
        self.collections.iter().find(|collection| collection.word == word)
    }
}

impl Collection {
    const fn root(word: &'static str, of: &'static Type, key: &'static str) -> Self {
        Self { word, of, place: Place::Root { key, scope: Scope::Everybody }, fixed: &[] }
    }

    const fn of_tenant(word: &'static str, of: &'static Type, key: &'static str) -> Self {
        Self { word, of, place: Place::Root { key, scope: Scope::Tenant }, fixed: &[] }
    }

    const fn link(word: &'static str, of: &'static Type, key: &'static str) -> Self {
        Self { word, of, place: Place::Link(key), fixed: &[] }
    }

    const fn with(self, fixed: &'static [(&'static str, &'static str)]) -> Self {
        Self { fixed, ..self }
    }

    /// Whether an object of it is found without saying which.
    #[must_use]
    pub const fn is_single(&self) -> bool {
        matches!(self.place, Place::Single(_))
    }
}

#[cfg(test)]
mod tests;
