//! The layers of `docs/ARCHITECTURE.md`, held against the source by the very table that the page
//! shows; and each rule shown to bite on a bad snippet.

#[allow(dead_code, reason = "the bans are another test's")]
#[path = "house_rules/mod.rs"]
mod rules;

use rules::layers::{self, Row};
use rules::source::Source;
use rules::{expect_none, repository};

fn rows() -> Vec<Row> {
    layers::table(&repository::text("docs/ARCHITECTURE.md")).expect("a table")
}

#[test]
fn every_module_imports_only_what_its_row_lists_and_pure_modules_are_pure() {
    expect_none(&layers::violations(&rows(), &repository::sources()));
}

#[test]
fn rows_that_wait_for_their_module_are_said() {
    let (rows, sources) = (rows(), repository::sources());
    let waiting = layers::rows_without_module(&rows, &sources);
    assert!(waiting.len() < rows.len(), "no module was found: does the scan look in the right place?");
    for row in waiting {
        println!("`{}` has a row and no file yet", row.module.join("::"));
    }
}

const TABLE: &str = "
<!-- layering:begin -->
| module | may import | pure |
| --- | --- | --- |
| `base` | – | yes |
| `wire` | `base` | yes |
| `coordinator::tree` | `base` | yes |
| `runtime` | `base` | no |
| `coordinator` | `base`, `runtime`, `coordinator::tree` | no |
<!-- layering:end -->
";

/// What the scan says about one file, without its place.
fn said(path: &str, code: &str) -> Vec<String> {
    let rows = layers::table(TABLE).expect("a table");
    layers::violations(&rows, &[Source::new(path, code)]).into_iter().map(|violation| violation.message).collect()
}

#[track_caller]
fn refused(path: &str, code: &str, because: &str) {
    let messages = said(path, code);
    assert!(messages.len() == 1 && messages[0].contains(because), "expected one '{because}', got {messages:#?}");
}

#[track_caller]
fn admitted(path: &str, code: &str) {
    assert_eq!(said(path, code), [""; 0]);
}

#[test]
fn an_import_against_the_table_is_found_however_it_is_written() {
    for code in [
        "use crate::runtime::Clock;",
        "use crate::{base::ids, runtime::{Clock}};",
        "fn f() { crate::runtime::timeout(); }",
        "use super::super::runtime;",
        "mod inner { use super::super::super::runtime as other; }",
        "pub(crate) use crate::runtime::*;",
        "macro_rules! m { () => { $crate::runtime::now() } }",
        "#[cfg(test)] mod tests { use crate::runtime::Clock; }",
    ] {
        refused("src/wire/frame.rs", code, "`wire` must not import from `runtime`");
    }
    refused("src/base/ids.rs", "use super::super::wire::Frame;", "`base` must not import from `wire`");
    refused("src/base/mod.rs", "use super::wire::Frame;", "`base` must not import from `wire`");
    refused("src/base.rs", "use super::wire::Frame;", "`base` must not import from `wire`");
}

#[test]
fn what_the_table_lists_is_admitted() {
    admitted(
        "src/wire/frame.rs",
        "use crate::base::{ids::Zxid, checksum}; use super::jute::Reader; use self::inner::X;",
    );
    admitted(
        "src/coordinator/server.rs",
        "use crate::coordinator::tree::Tree; use super::tree; use crate::runtime::Clock;",
    );
    admitted("src/wire/mod.rs", "mod tests { use super::*; mod deeper { use super::super::*; } }");
    admitted("src/lib.rs", "pub mod anything;");
    admitted("sim/src/lib.rs", "use crate::whatever::X; use wyrdlog::runtime::Clock;");
}

#[test]
fn a_nested_row_takes_precedence() {
    refused(
        "src/coordinator/tree/node.rs",
        "use crate::runtime::Clock;",
        "`coordinator::tree` must not import from `runtime`",
    );
    refused("src/coordinator/tree/node.rs", "use super::super::server::X;", "must not import from `coordinator`");
    refused("src/coordinator/tree.rs", "use super::server::X;", "must not import from `coordinator`");
}

#[test]
fn a_module_without_a_row_is_found_at_either_end() {
    refused("src/surprise/mod.rs", "", "`surprise` has no row");
    refused("src/surprise.rs", "", "`surprise` has no row");
    refused("src/wire/mod.rs", "use crate::surprise::X;", "without a row");
}

#[test]
fn an_exported_macro_belongs_to_the_module_that_writes_it() {
    let rows = layers::table(TABLE).expect("a table");
    let export = Source::new("src/wire/jute.rs", "#[macro_export]\nmacro_rules! message { () => {} }");
    let uses = |path| Source::new(path, "crate::message!();");
    let found = layers::violations(&rows, &[export, uses("src/wire/frame.rs"), uses("src/base/ids.rs")]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("`base` must not import from `wire`"), "{found:?}");
}

#[test]
fn comments_and_strings_import_nothing() {
    admitted(
        "src/wire/frame.rs",
        r##"
        //! See [`crate::runtime::Clock`], which is async.
        /* use crate::runtime; /* nested async */ tokio */
        const A: &str = "use crate::runtime::Clock; // \" async";
        const B: &str = r#"crate::runtime::"Clock" async"#;
        const C: (char, u8) = ('"', b'\''); // crate::runtime::Clock
        fn f<'a>(x: &'a str) -> &'a str { x }
        "##,
    );
}

#[test]
fn a_pure_module_is_caught_at_all_it_must_not_do() {
    for (code, because) in [
        ("pub async fn step() {}", "no `async`"),
        ("use tokio::sync::mpsc;", "no `tokio`"),
        ("use std::fs;", "`std::fs`"),
        ("use std::{io, net::TcpStream};", "`std::net::TcpStream`"),
        ("fn f() { std::thread::sleep(d) }", "`std::thread::sleep`"),
        ("use std::time::{Duration, Instant};", "`std::time::Instant`"),
        ("use std::time::SystemTime;", "`std::time::SystemTime`"),
        ("fn f() -> u64 { rand::random() }", "`rand::random`"),
        ("use rand_chacha::ChaCha8Rng;", "`rand_chacha::ChaCha8Rng`"),
    ] {
        refused("src/coordinator/tree/mod.rs", code, because);
        admitted("src/coordinator/server.rs", code);
    }
    admitted("src/base/time.rs", "use std::time::Duration; use super::ids::rand_like; struct Instant;");
}

#[test]
fn the_tests_of_a_pure_module_may_read_files() {
    admitted("src/base/x.rs", "#[cfg(test)]\nmod tests { fn f() { std::fs::read(\"golden\"); } }\n");
    refused("src/base/x.rs", "#[cfg(not(test))]\nmod real { fn f() { std::fs::read(\"x\"); } }\n", "`std::fs::read`");
}

#[test]
fn a_broken_table_is_refused() {
    for (from, to, because) in [
        ("| `wire` | `base` | yes |", "| `wire` | `base` |", "three cells"),
        ("| `wire` | `base` | yes |", "| `wire` | `base` | maybe |", "yes or no"),
        ("| `wire` | `base` | yes |", "| `wire` | `bass` | yes |", "`bass`, which has no row"),
        ("| `wire` | `base` | yes |", "| wire | `base` | yes |", "not a `module`"),
        ("| `wire` |", "| `base` |", "two rows"),
        ("<!-- layering:end -->", "", "no <!-- layering:end -->"),
    ] {
        let error = layers::table(&TABLE.replace(from, to)).expect_err(because);
        assert!(error.contains(because), "{error}");
    }
}

#[test]
fn a_violation_is_placed() {
    let rows = layers::table(TABLE).expect("a table");
    let source =
        Source::new("src/wire/mod.rs", "//! Doc.\n\nuse crate::base::{\n    ids,\n};\nuse crate::runtime::Clock;\n");
    let found = layers::violations(&rows, &[source]);
    assert_eq!(
        found[0].to_string(),
        "src/wire/mod.rs:6: `wire` must not import from `runtime`: `crate::runtime::Clock`"
    );
}
