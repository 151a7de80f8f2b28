//! The repository's files.

#![allow(clippy::disallowed_methods, reason = "the rules are held against files")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use super::source::Source;

/// Where Rust sources are.
const SOURCE_DIRECTORIES: &[&str] = &["src", "sim", "models", "tests", "benches"];

/// The repository that is tested: cargo says which, so that a copy of it tests the copy.
pub fn root() -> PathBuf {
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("run by cargo"))
}

/// The text of a file, by its path within the repository.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust source, ordered by path.
pub fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for directory in SOURCE_DIRECTORIES {
        walk(&root().join(directory), &mut paths);
    }
    paths.sort();
    let relative = |path: &PathBuf| path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
    let mut sources: Vec<Source> = paths.iter().map(relative).map(|path| Source::new(&path, &text(&path))).collect();
    mark_test_modules(&mut sources);
    sources
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    // Not every directory of the list has to exist.
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A file whose `mod` stands under `#[cfg(test)]` is test code, as are the files below it.
fn mark_test_modules(sources: &mut [Source]) {
    let mut tests = Vec::new();
    for source in sources.iter() {
        let stem = source.path.trim_end_matches(".rs");
        let directory = ["/mod", "/lib", "/main"].iter().find_map(|root| stem.strip_suffix(root)).unwrap_or(stem);
        tests.extend(source.test_modules.iter().map(|module| format!("{directory}/{module}")));
    }
    for source in sources {
        if tests.iter().any(|test| source.path == format!("{test}.rs") || source.path.starts_with(&format!("{test}/")))
        {
            source.mark_as_test();
        }
    }
}
