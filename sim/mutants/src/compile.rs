//! Building the copy, and finding the mutants that the compiler refuses.
//!
//! Whether a change keeps the types is often known to the compiler alone. Its errors come with the
//! bytes that they are about: the innermost mutant there is the one that is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::schemata::Written;

/// What the compiler said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompilerError {
    /// Its message as it is printed.
    pub message: String,
    /// What it is about: a file, its bytes, and whether that is where the error is.
    pub spans: Vec<(String, Range<usize>, bool)>,
}

/// What a build came to.
#[derive(Clone, Debug)]
pub enum Build {
    /// The programs that were built, by name.
    Built(BTreeMap<String, PathBuf>),
    /// Why they were not.
    Refused(Vec<CompilerError>),
}

/// Runs `cargo` with `arguments` in the tree at `tree`, which builds into `target`.
pub fn cargo(tree: &Path, target: &Path, arguments: &[&str]) -> io::Result<Build> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .args(["--profile", "mutants", "--message-format", "json"])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target)
        // Mutants leave code unused and results unlooked at.
        .env("RUSTFLAGS", "--cap-lints=allow")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let messages: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if output.status.success() {
        return Ok(Build::Built(messages.iter().filter_map(program).collect()));
    }
    let errors: Vec<CompilerError> = messages.iter().filter_map(error).collect();
    if errors.is_empty() {
        return Err(io::Error::other(format!("cargo failed:\n{}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(Build::Refused(errors))
}

fn program(message: &Value) -> Option<(String, PathBuf)> {
    let name = message["target"]["name"].as_str()?;
    Some((name.to_owned(), PathBuf::from(message["executable"].as_str()?)))
}

fn error(message: &Value) -> Option<CompilerError> {
    let said = &message["message"];
    if said["level"] != "error" {
        return None;
    }
    let spans = said["spans"].as_array().into_iter().flatten().filter_map(|span| {
        let (start, end) = (span["byte_start"].as_u64()? as usize, span["byte_end"].as_u64()? as usize);
        Some((span["file_name"].as_str()?.to_owned(), start..end, span["is_primary"] == true))
    });
    let spans: Vec<_> = spans.collect();
    let message = said["rendered"].as_str().unwrap_or_default().to_owned();
    // "aborting due to 3 previous errors" is about nothing.
    (!spans.is_empty()).then_some(CompilerError { message, spans })
}

/// The mutants that `errors` are about, and the errors that are about none.
#[must_use]
pub fn blame<'e>(
    errors: &'e [CompilerError],
    written: &BTreeMap<String, Written>,
) -> (BTreeSet<u32>, Vec<&'e CompilerError>) {
    let (mut blamed, mut unexplained) = (BTreeSet::new(), Vec::new());
    for error in errors {
        let guilty = [true, false].iter().find_map(|primary| {
            let spans = error.spans.iter().filter(|(_, _, is_primary)| is_primary == primary);
            let mut guilty = spans.flat_map(|(file, span, _)| of_span(span, written.get(file))).peekable();
            guilty.peek().is_some().then(|| guilty.collect::<Vec<u32>>())
        });
        match guilty {
            Some(guilty) => blamed.extend(guilty),
            None => unexplained.push(error),
        }
    }
    (blamed, unexplained)
}

/// The innermost mutant around `span`, or else all that touch it.
fn of_span(span: &Range<usize>, written: Option<&Written>) -> Vec<u32> {
    let places = written.map_or(&[][..], |written| &written.places);
    let around = places.iter().filter(|(_, place)| place.start <= span.start && span.end <= place.end);
    if let Some((id, _)) = around.min_by_key(|(_, place)| place.len()) {
        return vec![*id];
    }
    let touching = places.iter().filter(|(_, place)| place.start < span.end && span.start < place.end);
    touching.map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(span: Range<usize>, is_primary: bool) -> CompilerError {
        CompilerError { message: String::new(), spans: vec![("src/x.rs".to_owned(), span, is_primary)] }
    }

    #[test]
    fn an_error_is_the_innermost_mutants() {
        let written = Written { text: String::new(), places: vec![(1, 10..90), (2, 20..40), (3, 95..99)] };
        let written = BTreeMap::from([("src/x.rs".to_owned(), written)]);
        let blamed = |error: CompilerError| blame(&[error], &written).0.into_iter().collect::<Vec<u32>>();
        assert_eq!(blamed(about(25..30, true)), [2]);
        assert_eq!(blamed(about(25..60, false)), [1]);
        assert_eq!(blamed(about(0..200, true)), [1, 2, 3]);
        let elsewhere = [about(91..93, true)];
        let (none, unexplained) = blame(&elsewhere, &written);
        assert!(none.is_empty() && unexplained.len() == 1);
    }
}
