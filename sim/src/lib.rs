//! The seeded simulator of Wyrd.

pub mod engine;
