//! Who may use the API.

use async_trait::async_trait;
use mn_api_types::Tenant;

/// Knows users and tokens.
#[async_trait]
pub trait AuthService: Send + Sync {
    /// Gives a token for a name and a password.
    async fn login(&self, credentials: Credentials<'_>) -> Result<IssuedToken, AuthError>;

    /// Lets a request with this token (or with none) pass as an administrator's, or not.
    async fn authorize(&self, token: Option<&str>) -> Result<(), AuthError>;

    /// The tenants it knows.
    async fn tenants(&self) -> Result<Vec<Tenant>, AuthError>;
}

/// What a user says of himself.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    pub user: &'a str,
    pub password: &'a str,
    pub project: Option<&'a str>,
}

/// A token just made.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    pub key: String,
    /// As HTTP dates are written; `None`: never.
    pub expires: Option<String>,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("the Authorization header is missing or not Basic with USER:PASSWORD")]
    NoCredentials,
    #[error("wrong user name or password")]
    Wrong,
    #[error("Authentication error")]
    UnknownToken,
    #[error("only administrators may use this API")]
    NotAdmin,
    #[error("the authentication service did not answer: {0}")]
    Unavailable(String),
}

/// Takes everybody for the administrator (`AU-02`). For laboratories: the program warns of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct MockAuth;

/// The token it gives; it takes any.
const MOCK_TOKEN: &str = "00000000";

#[async_trait]
impl AuthService for MockAuth {
    async fn login(&self, _credentials: Credentials<'_>) -> Result<IssuedToken, AuthError> {
        Ok(IssuedToken { key: MOCK_TOKEN.to_owned(), expires: None })
    }

    async fn authorize(&self, _token: Option<&str>) -> Result<(), AuthError> {
        Ok(())
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, AuthError> {
        Ok(vec![Tenant {
            id: Some("admin".to_owned()),
            name: Some("admin".to_owned()),
            description: Some("Admin Tenant".to_owned()),
            enabled: true,
            ..Tenant::default()
        }])
    }
}
