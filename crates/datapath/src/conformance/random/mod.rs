//! Two engines compared on random flows and packets.
