//! Why a command did not end well: one line for the person at the terminal, and the exit code.

use std::fmt;
use std::process::ExitCode;

/// The configuration, an address, a port or a directory is not usable: nothing was begun.
const UNUSABLE: u8 = 2;
/// What was begun did not succeed.
const FAILED: u8 = 1;

/// An unsuccessful end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    line: String,
    code: u8,
}

impl Failure {
    /// What the command was given cannot be used; nothing was begun.
    pub(super) fn unusable(line: impl fmt::Display) -> Self {
        Failure { line: one_line(&line.to_string()), code: UNUSABLE }
    }

    /// What was begun did not succeed.
    pub(super) fn failed(line: impl fmt::Display) -> Self {
        Failure { line: one_line(&line.to_string()), code: FAILED }
    }

    /// The process's exit code.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// Whatever a library or an operating system says, a failure is one line.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_whatever_its_cause_says() {
        assert_eq!(Failure::unusable("a\n  b\n\nc\n").to_string(), "a; b; c");
    }
}
