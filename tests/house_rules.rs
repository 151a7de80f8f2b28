//! The house rules, held against every source of the repository; and each rule shown to bite on a
//! bad snippet and to leave a good one alone.

#[allow(dead_code, reason = "the layers are another test's")]
#[path = "house_rules/mod.rs"]
mod rules;

use rules::bans::{self, EXCEPTIONS, FILE_LINES_MAX, RULES, Rule};
use rules::source::Source;
use rules::{expect_none, repository};

#[test]
fn the_repository_keeps_every_rule() {
    let sources = repository::sources();
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "the scan looks in the wrong place");
    expect_none(&bans::violations(RULES, &sources));
}

#[test]
fn the_product_does_not_depend_on_a_simulator() {
    let manifest = repository::text("Cargo.toml");
    let (_, package) = manifest.split_once("[package]").expect("the root is a package");
    for name in ["wyrdlog-sim", "madsim", "turmoil"] {
        assert!(!package.contains(name), "{name} in the root package's manifest");
    }
}

#[test]
fn every_exception_says_why() {
    for (prefix, rules, why) in EXCEPTIONS {
        assert!(!rules.is_empty() && why.len() > 10, "{prefix}");
    }
}

fn count(rule: Rule, path: &str, code: &str) -> usize {
    bans::violations(&[rule], &[Source::new(path, code)]).len()
}

/// `bad` breaks the rule once in the file at `path`, `good` does not.
#[track_caller]
fn bites(rule: Rule, path: &str, bad: &[&str], good: &[&str]) {
    for code in bad {
        assert_eq!(count(rule, path, code), 1, "{rule:?} does not bite on: {code}");
    }
    for code in good {
        assert_eq!(count(rule, path, code), 0, "{rule:?} bites on: {code}");
    }
}

#[test]
fn hash_maps_are_found() {
    let bad = [
        "use std::collections::HashMap;",
        "use std::{collections::{BTreeMap, HashSet}, io};",
        "let x: HashMap<u8, u8>;",
    ];
    let good = ["use std::collections::BTreeMap;", "/// Not a HashMap.", "let x = \"HashMap\";", "struct HashMapLike;"];
    for path in ["src/log/mod.rs", "sim/src/engine/mod.rs", "models/src/main.rs", "sim/tests/x.rs"] {
        bites(Rule::UnorderedMap, path, &bad, &good);
    }
}

#[test]
fn the_operating_system_is_out_of_bounds() {
    let bad = [
        "use std::fs;",
        "use std::{fmt, net::TcpStream};",
        "fn f() { std::process::exit(1) }",
        "let x = std::env::var(\"X\");",
    ];
    let good = ["use std::io;", "#[cfg(test)]\nmod tests { use std::fs; }", "// std::fs", "let version = env!(\"X\");"];
    bites(Rule::OperatingSystem, "src/log/segment.rs", &bad, &good);
    for excepted in ["src/runtime/tokio_runtime/disk.rs", "src/cli/broker.rs", "src/main.rs"] {
        bites(Rule::OperatingSystem, excepted, &[], &bad);
    }
    bites(Rule::OperatingSystem, "src/runtime/disk.rs", &bad, &good);
}

#[test]
fn clocks_of_the_process_are_found() {
    let bad = [
        "let x = Instant::now();",
        "let x = tokio::time::Instant::now();",
        "use std::time::SystemTime;",
        "use std::time::{Duration, Instant};",
    ];
    let good = ["let x = clock.now();", "use crate::base::time::Instant;", "use std::time::Duration;"];
    bites(Rule::Clock, "src/broker/mod.rs", &bad, &good);
    bites(Rule::Clock, "sim/src/engine/clock.rs", &bad, &good);
    bites(Rule::Clock, "sim/src/sweep.rs", &[], &bad);
}

#[test]
fn threads_are_found() {
    let bad = ["std::thread::spawn(work);", "use std::thread;", "thread::Builder::new();"];
    let good = [
        "runtime.blocking(work);",
        "let x = thread_count;",
        "if thread::panicking() {}",
        "thread_local! { static X: u8 = 1; }",
    ];
    bites(Rule::Thread, "src/broker/mod.rs", &bad, &good);
    bites(Rule::Thread, "sim/src/engine/mod.rs", &bad, &good);
    bites(Rule::Thread, "sim/src/sweep/workers.rs", &[], &bad);
}

#[test]
fn tokio_is_used_for_what_needs_only_wakers() {
    let bad = [
        "tokio::spawn(f);",
        "use tokio::time;",
        "use tokio::{sync::mpsc, net::TcpStream};",
        "use tokio::fs::File;",
        "use tokio::task::JoinSet;",
        "use tokio::sync::{mpsc, watch};",
        "use tokio::*;",
    ];
    let good = [
        "use tokio::sync::{mpsc, oneshot};",
        "use tokio::io::AsyncRead;",
        "tokio::select! { biased; }",
        "#[cfg(test)]\nmod t { #[tokio::test] async fn f() {} }",
    ];
    bites(Rule::Tokio, "src/broker/mod.rs", &bad, &good);
    bites(Rule::Tokio, "src/runtime/tokio_runtime/tasks.rs", &[], &bad);
}

#[test]
fn a_shell_that_names_its_runtime_is_found() {
    let bad = ["use crate::runtime::tokio_runtime;", "fn f(r: TokioRuntime) {}"];
    let good = ["fn f<R: Runtime>(r: R) {}", "#[cfg(test)]\nmod tests { fn f(r: TokioRuntime) {} }"];
    bites(Rule::NamedRuntime, "src/broker/mod.rs", &bad, &good);
    bites(Rule::NamedRuntime, "src/cli/broker.rs", &[], &bad);
}

#[test]
fn select_is_biased() {
    let bad =
        ["tokio::select! { a = b => {} }", "select!{\n    _ = x => {}\n}", "select! { // biased;\n x = y => {} }"];
    let good = [
        "tokio::select! { biased; a = b => {} }",
        "select! {\n    // In this order.\n    biased;\n    _ = x => {}\n}",
        "fn select() {}",
    ];
    for path in ["src/broker/mod.rs", "sim/src/workloads/x.rs", "sim/tests/x.rs"] {
        bites(Rule::UnbiasedSelect, path, &bad, &good);
    }
}

#[test]
fn the_product_that_names_the_simulator_is_found() {
    let bad = [
        "use wyrdlog_sim::engine;",
        "#[cfg(sim)] fn f() {}",
        "#[cfg(madsim)] fn f() {}",
        "#[cfg(feature = \"sim\")] fn f() {}",
        "#[path = \"../sim/src/x.rs\"] mod x;",
        "if is_simulated {}",
        "struct SimClock;",
        "use turmoil::net;",
        "fn in_simulation() -> bool { true }",
        "const IN_SIMULATION: bool = true;",
    ];
    let good = [
        "/// In a simulation, too.",
        "let simple = similar;",
        "let x = \"simulated\";",
        "struct Simplex;",
        "let max_imum = 1;",
    ];
    bites(Rule::Simulator, "src/broker/mod.rs", &bad, &good);
    bites(Rule::Simulator, "sim/src/lib.rs", &[], &bad);
}

#[test]
fn ignored_tests_are_found() {
    let bad = [
        "#[ignore]\nfn f() {}",
        "#[test]\n#[ignore = \"slow\"]\nfn f() {}",
        "#[cfg_attr(miri, ignore)]\nfn f() {}",
        "/// ```ignore\n/// ```\nfn f() {}",
        "//! ```rust,ignore\n",
    ];
    let good = ["/// ```\n/// ```\nfn f() {}", "// #[ignore]", "let ignore = 1;", "#[test]\nfn ignore() {}"];
    for path in ["src/base/x.rs", "sim/tests/x.rs", "tests/x.rs", "models/src/x.rs"] {
        bites(Rule::IgnoredTest, path, &bad, &good);
    }
}

#[test]
fn unfinished_code_is_found() {
    let bad = ["fn f() { todo!() }", "unimplemented!(\"later\")", "dbg!(x);"];
    let good = ["// todo!()", "let x = \"todo!\";", "let todo = 1;"];
    bites(Rule::Unfinished, "src/base/x.rs", &bad, &good);
}

#[test]
fn unwraps_without_a_reason_are_found() {
    let bad = ["x.unwrap();", "x\n    .unwrap()\n    .y();", "xs.map(Option::unwrap);"];
    let good = [
        "x.unwrap_or_default();",
        "x.expect(\"checked above\");",
        "#[cfg(test)]\nmod tests { fn f() { x.unwrap(); } }",
        "#[cfg(all(test, unix))]\nfn f() { x.unwrap(); }",
    ];
    bites(Rule::Unwrap, "src/base/x.rs", &bad, &good);
    bites(Rule::Unwrap, "src/base/x.rs", &["#[cfg(test)]\nmod tests { }\nfn f() { x.unwrap(); }"], &[]);
    bites(Rule::Unwrap, "tests/x.rs", &[], &bad);
}

#[test]
fn long_files_and_files_without_doc_are_found() {
    let long = "//! Doc.\n".repeat(FILE_LINES_MAX + 1);
    let short = "//! Doc.\n".repeat(FILE_LINES_MAX);
    bites(Rule::FileLength, "src/base/x.rs", &[&long], &[&short]);
    let bad = ["", "fn f() {}", "// Not a doc.", "/// The doc of an item.\nfn f() {}"];
    bites(Rule::ModuleDoc, "tests/x.rs", &bad, &["//! Doc.\nfn f() {}"]);
}
