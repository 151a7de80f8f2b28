//! Every dependency may be shipped under this project's licence, and says what it is for.
//!
//! Asks cargo for what this machine's builds use, tests and benches included, without the network:
//! a build has fetched all of it. Dependencies of other platforms only are not looked at.

#![allow(clippy::disallowed_methods, reason = "the manifests are files")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// Permissive licences, by SPDX identifier: none asks more than attribution.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Exceptions that only add permissions (`Apache-2.0 WITH LLVM-exception`).
const ALLOWED_EXCEPTIONS: &[&str] = &["LLVM-exception"];

#[test]
fn every_dependency_has_an_allowed_licence() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(packages.len() > 20, "only {} packages: what was asked?", packages.len());
    let refused: Vec<String> = packages.iter().filter_map(refusal).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

fn refusal(package: &Value) -> Option<String> {
    let name = format!("{} {}", package["name"], package["version"]);
    match package["license"].as_str().map(allows) {
        Some(Ok(true)) => None,
        Some(Ok(false)) => Some(format!("{name}: {} is not on the list", package["license"])),
        Some(Err(error)) => Some(format!("{name}: {}: {error}", package["license"])),
        None => Some(format!("{name} names no licence")),
    }
}

fn metadata() -> Value {
    let host = output("rustc", &["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc knows its host");
    let cargo = env::var("CARGO").expect("run by cargo");
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host];
    serde_json::from_str(&output(&cargo, &arguments)).expect("JSON")
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn root() -> String {
    env::var("CARGO_MANIFEST_DIR").expect("run by cargo")
}

/// Whether an SPDX expression can be met by allowed licences alone. `/` is an old way to write OR.
fn allows(expression: &str) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { tokens: &tokens };
    let allowed = parser.any_of()?;
    match parser.tokens {
        [] => Ok(allowed),
        [rest, ..] => Err(format!("unexpected '{rest}'")),
    }
}

/// Recursive descent; AND binds tighter than OR (SPDX 2.3, annex D).
struct Parser<'a> {
    tokens: &'a [&'a str],
}

impl<'a> Parser<'a> {
    fn take(&mut self, word: &str) -> bool {
        let found = self.tokens.first() == Some(&word);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn next(&mut self) -> Result<&'a str, String> {
        let (first, rest) = self.tokens.split_first().ok_or("it ends early")?;
        self.tokens = rest;
        Ok(first)
    }

    fn any_of(&mut self) -> Result<bool, String> {
        let mut allowed = self.all_of()?;
        while self.take("OR") {
            allowed |= self.all_of()?;
        }
        Ok(allowed)
    }

    fn all_of(&mut self) -> Result<bool, String> {
        let mut allowed = self.one()?;
        while self.take("AND") {
            allowed &= self.one()?;
        }
        Ok(allowed)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.take("(") {
            let allowed = self.any_of()?;
            return if self.take(")") { Ok(allowed) } else { Err("a parenthesis is open".into()) };
        }
        let licence = self.next()?;
        let excepted = !self.take("WITH") || ALLOWED_EXCEPTIONS.contains(&self.next()?);
        Ok(ALLOWED.contains(&licence) && excepted)
    }
}

#[test]
fn an_expression_is_allowed_if_some_choice_of_it_is() {
    for allowed in [
        "MIT",
        "MIT OR GPL-3.0-only",
        "GPL-2.0/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
        "GPL-3.0-only AND MIT OR Zlib",
    ] {
        assert_eq!(allows(allowed), Ok(true), "{allowed}");
    }
    for refused in [
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "(MIT OR Zlib) AND AGPL-3.0-only",
        "MIT WITH Strange-exception",
        "MPL-2.0",
    ] {
        assert_eq!(allows(refused), Ok(false), "{refused}");
    }
    for broken in ["", "MIT OR", "(MIT", "MIT Apache-2.0", "MIT)"] {
        assert!(allows(broken).is_err(), "{broken}");
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    for manifest in ["Cargo.toml", "sim/Cargo.toml", "sim/mutants/Cargo.toml", "models/Cargo.toml"] {
        let text = fs::read_to_string(Path::new(&root()).join(manifest)).expect(manifest);
        assert_eq!(unexplained(&text), [""; 0], "{manifest}: a dependency's line ends with its reason");
    }
}

/// The dependencies of a package that have no comment on their line.
fn unexplained(manifest: &str) -> Vec<&str> {
    let (mut in_dependencies, mut found) = (false, Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            // What the workspace only versions is explained where a package uses it.
            in_dependencies = line.ends_with("dependencies]") && !line.starts_with("[workspace");
        } else if in_dependencies && line.contains('=') && !line.starts_with('#') && !line.contains(" # ") {
            found.push(line);
        }
    }
    found
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na = \"1\" # for a\nb = \"1\"\n# c\n[lints]\nd = true\n[dev-dependencies]\ne.workspace = true\n";
    assert_eq!(unexplained(manifest), ["b = \"1\"", "e.workspace = true"]);
}
