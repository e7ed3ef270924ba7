//! Where the server is and who is asking: file, then environment, then options; later wins.

use std::collections::BTreeMap;

use mn_client::{Credentials, Server, Trust};

use crate::args::Args;

/// What was found, each by its key in the file.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<&'static str, String>);

/// Keys of the file and their variables of the environment.
const KEYS: &[(&str, &str)] = &[
    ("api_url", "MIDO_API_URL"),
    ("ca_file", "MIDO_CA_FILE"),
    ("disable_ssl_certificate_validation", "MIDO_DISABLE_SSL_CERTIFICATE_VALIDATION"),
    ("username", "MIDO_USER"),
    ("password", "MIDO_PASSWORD"),
    ("project_id", "MIDO_PROJECT_ID"),
    ("tenant", "MIDO_TENANT"),
];

/// Settings that nothing can be done with, each in a sentence.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Missing(pub Vec<String>);

impl Settings {
    /// Reads the section `[cli]` of a file.
    #[must_use]
    pub fn from_file(text: &str) -> Self {
        let mut found = BTreeMap::new();
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.trim().clone_into(&mut section);
            } else if let Some((key, value)) = line.split_once(['=', ':'])
                && section == "cli"
                && let Some((key, _)) = KEYS.iter().find(|(known, _)| *known == key.trim())
            {
                found.insert(*key, value.trim().to_owned());
            }
        }
        Self(found)
    }

    /// Puts the variables of the environment over it.
    #[must_use]
    pub fn over_environment(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        for (key, name) in KEYS {
            self.0.extend(variable(name).map(|value| (*key, value)));
        }
        self
    }

    /// Puts the options over it.
    #[must_use]
    pub fn over_options(mut self, args: &Args) -> Self {
        let options = [
            ("api_url", &args.midonet_url),
            ("ca_file", &args.ca_file),
            ("disable_ssl_certificate_validation", &args.disable_ssl_certificate_validation),
            ("username", &args.user),
            ("project_id", &args.project_id),
            ("tenant", &args.tenant),
        ];
        for (key, value) in options {
            self.0.extend(value.clone().map(|value| (key, value)));
        }
        self
    }

    /// Takes a password that was typed.
    pub fn set_password(&mut self, password: String) {
        self.0.insert("password", password);
    }

    /// The tenant of the session; an empty one is none.
    #[must_use]
    pub fn tenant(&self) -> Option<String> {
        self.get("tenant").map(str::to_owned)
    }

    /// The file of certificates to trust.
    #[must_use]
    pub fn ca_file(&self) -> Option<&str> {
        self.get("ca_file")
    }

    /// The server to talk to.
    ///
    /// # Errors
    ///
    /// [`Missing`], everything that is, so that one look at it is enough.
    pub fn server(&self, no_auth: bool, authorities: Option<Vec<u8>>) -> Result<Server, Missing> {
        let mut missing = Vec::new();
        let url = self.get("api_url");
        if url.is_none() {
            missing.push("Missing: Midonet API URL".to_owned());
        }
        let wanted = [
            ("username", "Missing: username"),
            ("project_id", "Missing: Midonet Project ID"),
            ("password", "Missing: password; give it in ~/.midonetrc, MIDO_PASSWORD or with -p"),
        ];
        let absent = wanted.iter().filter(|(key, _)| !no_auth && self.get(key).is_none());
        missing.extend(absent.map(|(_, sentence)| (*sentence).to_owned()));
        let (Some(url), true) = (url, missing.is_empty()) else { return Err(Missing(missing)) };
        let mut server = Server::new(url);
        server.credentials = self.credentials();
        server.trust = match authorities {
            _ if self.trusts_anybody() => Trust::Anybody,
            Some(pem) => Trust::Authorities(pem),
            None => Trust::WebRoots,
        };
        Ok(server)
    }

    fn credentials(&self) -> Option<Credentials> {
        Some(Credentials {
            user: self.get("username")?.to_owned(),
            password: self.get("password").unwrap_or_default().to_owned(),
            project: self.get("project_id").map(str::to_owned),
        })
    }

    fn trusts_anybody(&self) -> bool {
        let value = self.get("disable_ssl_certificate_validation");
        value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const FILE: &str = "\
[other]
api_url = http://wrong
[cli]
api_url = http://file:8181/midonet-api
username = admin
password = a=b:c
project_id = admin
";

    #[test]
    fn options_win_over_the_environment_and_that_over_the_file() {
        let args = Args::parse_from(["midonet-cli", "-i", "from-option"]);
        let variable = |name: &str| match name {
            "MIDO_PROJECT_ID" => Some("from-environment".to_owned()),
            "MIDO_USER" => Some("eve".to_owned()),
            _ => None,
        };
        let settings = Settings::from_file(FILE).over_environment(variable).over_options(&args);
        let server = settings.server(false, None).unwrap();
        assert_eq!(server.base, "http://file:8181/midonet-api");
        let credentials = server.credentials.unwrap();
        assert_eq!(credentials.user, "eve");
        assert_eq!(credentials.password, "a=b:c");
        assert_eq!(credentials.project.as_deref(), Some("from-option"));
    }

    #[test]
    fn everything_that_is_missing_is_said_at_once() {
        let missing = Settings::default().server(false, None).unwrap_err();
        assert_eq!(missing.0.len(), 4, "{missing}");
        assert!(missing.to_string().starts_with("Missing: Midonet API URL\nMissing: username\n"));
    }

    #[test]
    fn without_authentication_the_url_is_enough() {
        let args = Args::parse_from(["midonet-cli", "-A", "--midonet-url", "http://h/midonet-api"]);
        let server = Settings::default().over_options(&args).server(args.no_auth, None).unwrap();
        assert!(server.credentials.is_none());
    }
}
