//! Health monitors.

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

use mn_ids::{HealthMonitorId, Id, Object, Reference};
use serde::{Deserialize, Serialize};

/// How the members of pools are checked (`HM-01`). Any number of pools may refer to one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct HealthMonitor {
    pub id: HealthMonitorId,
    /// Down until somebody enables it (`HM-03`).
    #[serde(default)]
    pub admin_state_up: bool,
    #[serde(flatten)]
    pub check: Check,
    /// Seconds from one check to the next.
    pub delay: NonZeroU32,
    /// Seconds a check may take.
    pub timeout: NonZeroU32,
    /// Checks in a row that must fail before a member counts as dead.
    pub max_retries: NonZeroU32,
}

/// What is tried.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Check {
    /// A TCP connection is made and closed.
    Tcp,
    /// A page is asked for.
    Http {
        #[serde(default)]
        url_path: UrlPath,
        #[serde(default)]
        expected_codes: ExpectedCodes,
    },
    /// A datagram is sent: dead is who answers that nobody listens.
    Udp,
}

/// The path of a page: begins with a slash and has only what may stand in a request as it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct UrlPath(String);

/// Statuses of answers, as single ones and ranges: `200,301-304`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct ExpectedCodes(Vec<(u16, u16)>);

/// What is no path of a page.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is no path: it must begin with a slash and have at most 1024 characters of a URL")]
pub struct UrlPathError;

/// What says no statuses.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("says no statuses: from 100 to 599, as in 200,301-304")]
pub struct ExpectedCodesError;

impl UrlPath {
    const LEN_MAX: usize = 1024;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for UrlPath {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl FromStr for UrlPath {
    type Err = UrlPathError;

    fn from_str(text: &str) -> Result<Self, UrlPathError> {
        let plain = |c: u8| c.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&c);
        let fits = text.starts_with('/') && text.len() <= Self::LEN_MAX && text.bytes().all(plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(UrlPathError) }
    }
}

impl TryFrom<String> for UrlPath {
    type Error = UrlPathError;

    fn try_from(text: String) -> Result<Self, UrlPathError> {
        text.parse()
    }
}

impl From<UrlPath> for String {
    fn from(path: UrlPath) -> Self {
        path.0
    }
}

impl ExpectedCodes {
    /// The most ranges.
    const RANGES_MAX: usize = 32;

    /// Whether an answer with this status is a good one.
    #[must_use]
    pub fn has(&self, code: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&code))
    }
}

impl Default for ExpectedCodes {
    fn default() -> Self {
        Self(vec![(200, 200)])
    }
}

impl FromStr for ExpectedCodes {
    type Err = ExpectedCodesError;

    fn from_str(text: &str) -> Result<Self, ExpectedCodesError> {
        let code = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|c| c.is_ascii_digit());
            let code: u16 = text.parse().ok().filter(|_| digits)?;
            (100..600).contains(&code).then_some(code)
        };
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (code(first)?, code(last)?);
            (first <= last).then_some((first, last))
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        let fitting = ranges.filter(|ranges| ranges.len() <= Self::RANGES_MAX);
        fitting.map(Self).ok_or(ExpectedCodesError)
    }
}

impl fmt::Display for ExpectedCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for ExpectedCodes {
    type Error = ExpectedCodesError;

    fn try_from(text: String) -> Result<Self, ExpectedCodesError> {
        text.parse()
    }
}

impl From<ExpectedCodes> for String {
    fn from(codes: ExpectedCodes) -> Self {
        codes.to_string()
    }
}

impl Object for HealthMonitor {
    type Kind = mn_ids::HealthMonitor;

    fn id(&self) -> Id<Self::Kind> {
        self.id
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}
