//! What is no object of the virtual network: tokens, tenants, the state of the system.

dto! {
    /// What a login gives.
    Token {
        /// To be sent as `X-Auth-Token`.
        ro "key" key: Option<String>,
        /// When it ends; null: never.
        ro "expires" expires: Option<String>,
    }
}

dto! {
    /// An owner of objects, as the authentication service knows it.
    Tenant {
        ro "id" id: Option<String>,
        ro "name" name: Option<String>,
        ro "description" description: Option<String>,
        ro "enabled" enabled: bool,
        ro "uri" uri: Option<String>,
        ro "routers" routers: Option<String>,
        ro "bridges" bridges: Option<String>,
        ro "chains" chains: Option<String>,
        ro "portGroups" port_groups: Option<String>,
    }
}

words! {
    /// What operators are doing with the system.
    SystemActivity {
        Active = "ACTIVE",
        Upgrade = "UPGRADE",
    }
}

words! {
    /// What the API does.
    Availability {
        ReadWrite = "READWRITE",
        /// It refuses whatever would change something, and serves the rest.
        ReadOnly = "READONLY",
    }
}

dto! {
    /// The state of the system.
    SystemState {
        /// For people: nothing depends on it. Kept where it is left out.
        "state" state: Option<SystemActivity>,
        /// Kept where it is left out.
        "availability" availability: Option<Availability>,
        ro "version" version: Option<String>,
        /// A message for operators, if there is one.
        ro "information" information: Option<String>,
        ro "uri" uri: Option<String>,
    }
}
