//! Vendor media types.

use std::fmt;

/// The media type of one kind of object, by its name and version: `Router-v3`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MediaType(&'static str);

impl MediaType {
    /// What every answer that is no object may have.
    pub const JSON: &'static str = "application/json";
    /// The root document.
    pub const APPLICATION: Self = Self("Application-v5");
    /// The answer to a login.
    pub const TOKEN: Self = Self("Token-v1");

    /// A media type by its name and version, without prefix and suffix.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The type of a list of such objects.
    #[must_use]
    pub fn list(self) -> String {
        format!("application/vnd.org.midonet.collection.{}+json", self.0)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "application/vnd.org.midonet.{}+json", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_its_own_media_type() {
        let router = MediaType::new("Router-v3");
        assert_eq!(router.to_string(), "application/vnd.org.midonet.Router-v3+json");
        assert_eq!(router.list(), "application/vnd.org.midonet.collection.Router-v3+json");
    }
}
