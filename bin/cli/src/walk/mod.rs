//! `walk FROM TO`: where a packet would go, and why.

mod asked;
mod told;

pub use asked::Asked;
pub use told::{Paint, told};
