//! Errors of the files that people edit (scenarios and schedules): where, what, and the remedy.

use std::fmt;

/// Why a file was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}; {}", self.line, self.column, self.message, self.remedy)
    }
}

impl std::error::Error for FileError {}

impl FileError {
    /// The error of the TOML reader, with a remedy.
    #[must_use]
    pub fn of(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let message = error.message().trim_end().replace('\n', " ");
        let remedy = remedy(&message);
        let before = text.get(..start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before[line_start..].chars().count() + 1;
        FileError { line: before.matches('\n').count() + 1, column, message, remedy }
    }
}

fn remedy(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((given, known)) if message.starts_with("unknown") && !known.is_empty() => match nearest(given, known) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("use one of {}", known.join(", ")),
        },
        Some((field, _)) if message.starts_with("missing field") => format!("add `{field} = …`"),
        _ => "correct the value; docs/SCENARIOS.md lists every key".to_owned(),
    }
}

/// The known name that is a typing error away from `given`, if one is.
#[must_use]
pub fn nearest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let best = known.iter().map(|name| (distance(given, name), *name)).min()?;
    (best.0 <= 1 + given.chars().count() / 3).then_some(best.1)
}

/// How many insertions, removals and replacements lie between two names (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, left) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, right) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("brokrs", &["brokers", "topics"]), Some("brokers"));
        assert_eq!(nearest("zebra", &["brokers", "topics"]), None);
    }

    #[test]
    fn an_error_says_line_column_and_remedy() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[allow(dead_code)]
            brokers: u32,
        }
        let text = "# a comment\nbrokrs = 3\n";
        let error = toml::from_str::<File>(text).expect_err("no such key");
        let error = FileError::of(text, &error);
        assert_eq!((error.line, error.column), (2, 1));
        assert!(error.to_string().contains("did you mean `brokers`?"), "{error}");
    }
}
