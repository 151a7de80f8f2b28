//! The house rules as a textual scan of the repository's sources.
//!
//! Textual, so that it needs no compiler plugin, sees code behind every `cfg`, and explains itself
//! in one line per violation. Comments and strings are blanked first ([`source`]), then tokens,
//! paths and inline modules are told apart ([`paths`]). [`layers`] holds imports against the table
//! of `docs/ARCHITECTURE.md`, [`bans`] holds everything else.
//!
//! Not a security boundary: code that wants to hide from a scanner can. It catches what happens by
//! accident, and clippy's own bans (`.clippy.toml`) see through renames.

pub mod bans;
pub mod layers;
pub mod paths;
pub mod repository;
pub mod source;

use std::fmt;

/// A place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The file, relative to the repository.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do instead.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Fails with every violation on a line of its own.
pub fn expect_none(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{} violations of the house rules\n{}\n", lines.len(), lines.join("\n"));
}
