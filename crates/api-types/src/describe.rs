//! What a structure of the API looks like, as data.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mn_ids::Id;
use mn_packet::{IpPrefix, Mac};
use uuid::Uuid;

/// A JSON object of the API.
#[derive(Debug)]
pub struct Description {
    /// Its name in documents and messages: `Bridge`.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    pub fields: &'static [Field],
    /// Objects whose fields it has too.
    pub includes: &'static [&'static Self],
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its JSON name.
    pub name: &'static str,
    pub doc: &'static str,
    pub shape: Shape,
    /// Whether it may be `null`, which is the same as leaving it out.
    pub nullable: bool,
    /// The server decides it; what a client sends is ignored (refused by strict requests).
    pub read_only: bool,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    Bool,
    /// From `min` to `max`. Decimal text is taken for a number.
    Integer {
        min: i64,
        max: i64,
    },
    /// Text; `format` as in JSON Schema, or our own word; empty for free text.
    Text {
        format: &'static str,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    List(&'static Shape),
    Object(&'static Description),
    /// An object in one of its own members, by its name.
    Again(&'static str),
    /// One of several objects; the member `tag` says which.
    Tagged {
        tag: &'static str,
        variants: &'static [(&'static str, &'static Description)],
    },
}

/// A type that values of the API have.
pub trait Described {
    const SHAPE: Shape;
    const NULLABLE: bool = false;
}

impl Description {
    /// Its own fields and those of the objects it includes.
    pub fn all_fields(&self) -> impl Iterator<Item = &'static Field> {
        let included = self.includes.iter().flat_map(|description| description.fields);
        self.fields.iter().chain(included)
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.all_fields().find(|field| field.name == name)
    }
}

impl<T: Described> Described for Option<T> {
    const SHAPE: Shape = T::SHAPE;
    const NULLABLE: bool = true;
}

impl<T: Described> Described for Vec<T> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);
    const NULLABLE: bool = true;
}

macro_rules! described {
    ($($type:ty => $shape:expr;)*) => {$(
        impl Described for $type { const SHAPE: Shape = $shape; }
    )*};
}

described! {
    bool => Shape::Bool;
    u8 => Shape::Integer { min: 0, max: u8::MAX as i64 };
    u16 => Shape::Integer { min: 0, max: u16::MAX as i64 };
    u32 => Shape::Integer { min: 0, max: u32::MAX as i64 };
    i32 => Shape::Integer { min: i32::MIN as i64, max: i32::MAX as i64 };
    u64 => Shape::Integer { min: 0, max: i64::MAX };
    String => Shape::Text { format: "" };
    Uuid => Shape::Text { format: "uuid" };
    IpAddr => Shape::Text { format: "ip" };
    Ipv4Addr => Shape::Text { format: "ipv4" };
    Ipv6Addr => Shape::Text { format: "ipv6" };
    IpPrefix => Shape::Text { format: "cidr" };
    Mac => Shape::Text { format: "mac" };
}

impl<K> Described for Id<K> {
    const SHAPE: Shape = Shape::Text { format: "uuid" };
}

/// Defines a structure of the API with its description. A field is
///
/// ```text
/// /// What it is.
/// #[serde(…)]                      where it needs more than its name
/// ro "jsonName" name: Type = default,
/// ```
///
/// `ro` marks what the server decides; without `= default` the type's default is meant.
macro_rules! dto {
    ($(#[doc = $doc:literal])* $name:ident $(includes $include:ident: $included:ty)? { $(
        $(#[doc = $field_doc:literal])*
        $(#[serde($($serde:tt)*)])*
        $($ro:ident)? $json:literal $field:ident: $type:ty $(= $default:expr)?,
    )* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[doc = $field_doc])* $(#[serde($($serde)*)])* #[serde(rename = $json)] pub $field: $type,)*
            $(#[serde(flatten)] pub $include: $included,)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: dto!(@default $($default)?),)*
                    $($include: <$included>::default(),)?
                }
            }
        }

        impl $name {
            /// What it looks like.
            pub const DESCRIPTION: $crate::Description = $crate::Description {
                name: stringify!($name),
                doc: concat!($($doc, "\n"),*),
                fields: &[$($crate::Field {
                    name: $json,
                    doc: concat!($($field_doc, "\n"),*),
                    shape: <$type as $crate::Described>::SHAPE,
                    nullable: <$type as $crate::Described>::NULLABLE,
                    read_only: !concat!($(stringify!($ro))?).is_empty(),
                },)*],
                includes: &[$(&<$included>::DESCRIPTION)?],
            };
        }

        impl $crate::Described for $name {
            const SHAPE: $crate::Shape = $crate::Shape::Object(&Self::DESCRIPTION);
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
}

/// Defines a set of words: an enum whose values are spelled so in JSON. The first is the default.
macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident {
        $(#[doc = $first_doc:literal])* $first:ident = $first_word:literal,
        $($(#[doc = $value_doc:literal])* $value:ident = $word:literal,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
        pub enum $name {
            $(#[doc = $first_doc])* #[default] #[serde(rename = $first_word)] $first,
            $($(#[doc = $value_doc])* #[serde(rename = $word)] $value,)*
        }

        impl $name {
            /// The words.
            pub const WORDS: &[&str] = &[$first_word, $($word),*];

            /// Its word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { Self::$first => $first_word, $(Self::$value => $word,)* }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl $crate::Described for $name {
            const SHAPE: $crate::Shape = $crate::Shape::Choice(Self::WORDS);
        }
    };
}
