//! The switch, as the shipped tree has it: there is no mutant.
//!
//! A mutated copy has another file in this place, which hands on the switch of its `wyrdlog`.

/// Whether this build holds mutants.
pub const MUTATED: bool = false;

/// Switches no mutant on.
pub fn select(_mutant: u32) {}

/// How often mutated code was executed: there is none.
#[must_use]
pub fn executed() -> u64 {
    0
}
