//! Names of metrics and the text they are shown in.
//!
//! A metric's name stands here, its increment beside the thing counted. All names begin with
//! `midonet_`; counters end in `_total`; units are in the name.

pub mod names;

use prometheus::{Registry, TextEncoder};

/// The media type of [`exposition`].
pub const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4";

/// All metrics of a registry in the Prometheus text format.
///
/// # Errors
///
/// A metric breaks the rules of the format: a defect of ours.
pub fn exposition(registry: &Registry) -> Result<String, prometheus::Error> {
    TextEncoder::new().encode_to_string(&registry.gather())
}
