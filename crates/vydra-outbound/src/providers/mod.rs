//! The providers, one folder each.

pub mod local;
pub mod sandbox;
