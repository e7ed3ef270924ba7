//! What every datapath engine must do, as tests that run over any of them.
//!
//! An engine is put into a [`Bench`]; [`CASES`] are stories told to it one by one, each with a
//! fresh bench. [`random`] compares two engines on random flows and packets.

mod actions;
mod answers;
mod bandwidth;
mod bench;
mod connections;
mod follow;
mod fragments;
pub mod frames;
mod nat;
mod offload;
pub mod random;
mod software_bench;
mod table;
mod tunnel;
mod upcalls;

pub use bench::{Asked, Bench, Case, quiet, run};
pub use software_bench::SoftwareBench;

/// Every case: a sentence that is true of an engine, and what shows it.
pub const CASES: &[&[Case]] = &[
    upcalls::CASES,
    actions::CASES,
    answers::CASES,
    nat::CASES,
    tunnel::CASES,
    table::CASES,
    offload::CASES,
    connections::CASES,
    fragments::CASES,
    follow::CASES,
    bandwidth::CASES,
];
