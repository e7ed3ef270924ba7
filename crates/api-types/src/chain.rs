//! Chains.

use mn_ids::ChainId;

dto! {
    /// An ordered list of rules.
    Chain {
        /// Chosen by the client or, where it is left out, by the server.
        "id" id: Option<ChainId>,
        /// Whose it is; free text.
        "tenantId" tenant_id: Option<String>,
        /// At most 255 characters.
        "name" name: Option<String>,
        ro "uri" uri: Option<String>,
        ro "rules" rules: Option<String>,
    }
}
