//! The root document: where everything is.

use serde_json::{Map, Value};

use crate::Error;

/// The links and templates of the root document.
#[derive(Clone, Debug)]
pub struct Root(Map<String, Value>);

impl Root {
    pub(crate) const fn new(document: Map<String, Value>) -> Self {
        Self(document)
    }

    /// The URI of a collection by its key: `routers`.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] when this server has no such collection.
    pub fn collection(&self, key: &str) -> Result<&str, Error> {
        self.link(key)
    }

    /// The URI of an object by the key of its template: `routerTemplate`.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] when this server has no such template.
    pub fn object(&self, key: &str, id: &str) -> Result<String, Error> {
        Ok(self.link(key)?.replace("{id}", id))
    }

    fn link(&self, key: &str) -> Result<&str, Error> {
        let link = self.0.get(key).and_then(Value::as_str);
        link.ok_or_else(|| Error::NotOffered { what: key.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_takes_the_id_and_a_missing_link_is_named() {
        let document = json!({ "routerTemplate": "http://a/routers/{id}" });
        let root = Root::new(document.as_object().expect("an object").clone());
        assert_eq!(root.object("routerTemplate", "7").unwrap(), "http://a/routers/7");
        let refused = root.collection("vteps").unwrap_err();
        assert_eq!(refused.to_string(), "the server offers no \"vteps\"");
    }
}
