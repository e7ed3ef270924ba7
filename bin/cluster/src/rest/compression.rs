//! gzip in both directions (api-facts §1.1).

use axum::Router;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::decompression::RequestDecompressionLayer;

/// Shorter answers are sent as they are: the header of a gzip stream and the work are not worth it.
const ANSWER_BYTES_MIN: u16 = 1024;

/// Takes bodies in gzip, and answers in gzip who accepts it.
///
/// Bodies are unpacked while they are read, and reading stops at the limit of a body: what a small
/// one would grow to is never in memory. Other encodings are 415.
pub fn layers(router: Router) -> Router {
    let answers = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(ANSWER_BYTES_MIN));
    router.layer(RequestDecompressionLayer::new()).layer(answers)
}
