//! Chains.

use mn_ids::{ChainId, ChainSegmentId, Id, Object, OnDelete, Reference};
use serde::{Deserialize, Serialize};

use super::{Invalid, References, Rule};

/// An ordered list of rules (`RC-*`), stored with them: the first here, further ones in segments.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Chain {
    pub id: ChainId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The first rules. Position 1 of the API is index 0.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Where its further rules are, in order. A segment is written only together with its chain, so
    /// that the chain's version is that of all its rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<ChainSegmentId>,
}

impl Chain {
    /// Refuses what cannot be stored.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_name(self.name.as_deref())?;
        self.rules.iter().try_for_each(Rule::validate)
    }
}

impl Object for Chain {
    type Kind = mn_ids::Chain;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    /// A rule that jumps to a deleted chain goes with it; one whose condition names a deleted
    /// group or port keeps it from being deleted: a filter must not widen by itself.
    fn references(&self) -> Vec<Reference> {
        let mut references = References::default();
        for rule in &self.rules {
            references = rule.references(references);
        }
        let mut references = references.done();
        references.retain(|reference| {
            reference.on_delete != OnDelete::Clear || reference.to != self.key()
        });
        references
    }
}
