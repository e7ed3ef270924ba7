//! The wire between agents and cluster nodes: generated types, and what they mean in the words of
//! `nsdb`.
//!
//! The server side is in `cluster`, the client side in `nsdb-remote`.

mod message;
mod pieces;
mod refusal;
mod selector;

pub use message::Malformed;
pub use pieces::{Joined, PIECE_BYTES_MAX, batch_pieces, request_pieces};
pub use refusal::{refusal, tx_error};

/// What `proto/nsdb.proto` generates.
#[expect(clippy::allow_attributes_without_reason, unused_qualifications, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("midonet.nsdb.v1");
}

/// The most octets of one message: a transaction of the largest size, with room for its frame.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
