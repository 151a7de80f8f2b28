//! The switch of a mutated copy. The generator puts this file in the place of `src/switch.rs`.

pub use wyrdlog::base::mutant::{executed, select};

/// Whether this build holds mutants.
pub const MUTATED: bool = true;
