//! The copy of the tree that holds the mutants. A file is written only where it differs, so that a
//! second build compiles what changed and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use crate::schemata::{self, Edit, Written};
use crate::sites::{Offer, Source};

/// Whose lines are mutated: the cores, the log, and the shells.
pub const MODULES: &[&str] = &[
    "src/consensus",
    "src/replication",
    "src/controller",
    "src/producer_state",
    "src/coordinator/tree",
    "src/log",
    "src/broker",
    "src/coordinator",
];

/// The profile with which the copy is built; no other tree knows it.
const PROFILE: &str = "
[profile.mutants]
inherits = \"release\"
codegen-units = 64
debug = false
";

/// Files that a copy has of its own, by path.
const OF_THE_COPY: &[(&str, &str)] = &[
    ("src/base/mutant.rs", include_str!("../template/mutant.rs")),
    ("sim/mutants/src/switch.rs", include_str!("../template/switch.rs")),
];

/// What a path begins with that is not copied.
fn is_left_out(name: &str) -> bool {
    name.starts_with('.') || name == "target"
}

/// The sources of [`MODULES`] outside of tests, each with what it offers, by path.
pub fn offers(root: &Path) -> io::Result<Vec<(Source, Offer)>> {
    let mut found: BTreeMap<String, (Source, Offer)> = BTreeMap::new();
    for path in files(root)? {
        let is_mutated = MODULES.iter().any(|module| path.starts_with(&format!("{module}/"))) && path.ends_with(".rs");
        if is_mutated {
            let source = Source { text: fs::read_to_string(root.join(&path))?, path: path.clone() };
            let offer = source.offer().map_err(|error| io::Error::other(format!("{path}: {error}")))?;
            found.insert(path, (source, offer));
        }
    }
    let tests: Vec<String> = found.iter().flat_map(|(path, (_, offer))| test_files(path, offer)).collect();
    // Tests that stand beside their module's file say so in their name.
    let is_test = |path: &str| {
        path.ends_with("_tests.rs")
            || tests.iter().any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")))
    };
    Ok(found.into_iter().filter(|(path, _)| !is_test(path)).map(|(_, one)| one).collect())
}

/// The paths, without their endings, of what a file declares for tests alone.
fn test_files(path: &str, offer: &Offer) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let directory = stem.strip_suffix("/mod").unwrap_or(stem);
    offer.test_modules.iter().map(|module| format!("{directory}/{module}")).collect()
}

/// Every file of the tree, by its path from the root, in order.
fn files(root: &Path) -> io::Result<Vec<String>> {
    let (mut found, mut left) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(directory) = left.pop() {
        let entries = match fs::read_dir(root.join(&directory)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = directory.join(&name);
            if is_left_out(&name) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                left.push(path);
            } else {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A copy that was written.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Where every mutant stands, by file.
    pub places: BTreeMap<String, Written>,
    /// A digest of all its files: what was found out about it holds for the same one.
    pub digest: u64,
}

/// Copies the tree at `root` to `copy`, with `edits` by file.
pub fn copy(root: &Path, copy: &Path, edits: &BTreeMap<String, Vec<Edit>>) -> io::Result<Copied> {
    let mut copied = Copied { places: BTreeMap::new(), digest: 0 };
    let mut texts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for path in files(root)? {
        let mut bytes = fs::read(root.join(&path))?;
        match path.as_str() {
            "Cargo.toml" => bytes.extend(PROFILE.as_bytes()),
            "src/base/mod.rs" => bytes.extend(b"\npub mod mutant;\n"),
            _ => {}
        }
        if let Some(edits) = edits.get(&path) {
            let text = String::from_utf8(bytes).map_err(io::Error::other)?;
            let written = schemata::write(&text, edits);
            bytes = written.text.clone().into_bytes();
            copied.places.insert(path.clone(), written);
        }
        texts.insert(path, bytes);
    }
    texts.extend(OF_THE_COPY.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())));
    copied.digest = digest(&texts);
    for stale in files(copy)?.into_iter().filter(|path| !texts.contains_key(path)) {
        fs::remove_file(copy.join(stale))?;
    }
    for (path, bytes) in texts {
        write_if_new(&copy.join(path), &bytes)?;
    }
    Ok(copied)
}

fn digest(texts: &BTreeMap<String, Vec<u8>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    hasher.finish()
}

/// Writes `bytes` unless they are there.
pub(crate) fn write_if_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, bytes)
}
