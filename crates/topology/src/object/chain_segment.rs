//! Parts of long chains.

use mn_ids::{ChainId, ChainSegmentId, Id, Object, OnDelete, Reference};
use serde::{Deserialize, Serialize};

use super::{References, Rule};

/// A run of consecutive rules of a chain that is too long for one document.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ChainSegment {
    pub id: ChainSegmentId,
    /// The chain that names this segment in its `segments`.
    pub chain_id: ChainId,
    #[serde(default)]
    pub rules: Vec<Rule>,
}

impl Object for ChainSegment {
    type Kind = mn_ids::ChainSegment;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    /// It goes with its chain; its rules refer to the same things as those in a chain itself.
    fn references(&self) -> Vec<Reference> {
        let own = References::default().to("chain_id", [self.chain_id], OnDelete::Cascade);
        self.rules.iter().fold(own, |references, rule| rule.references(references)).done()
    }
}
