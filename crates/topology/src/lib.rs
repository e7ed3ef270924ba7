//! Every virtual object: what an operator creates and deletes.
//!
//! `object` is the model as stored (readable JSON, one document an object) with its validation and
//! references; `snapshot` is what an agent has loaded, compiled for simulation.

mod any;
mod object;
pub mod snapshot;

pub use any::AnyObject;
pub use object::*;
