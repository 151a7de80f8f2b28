//! The README shows what its first command prints.
//!
//! A change of what a run does or of how it is told changes that text. `UPDATE=1 cargo test -p wyrdlog-sim
//! --test readme` writes it anew; read the difference before it is committed.
#![allow(clippy::disallowed_methods, reason = "a test starts the program and reads what people read")]

use std::fs;
use std::path::Path;
use std::process::Command;

const COMMAND: &str = "$ cargo sim demo\n";

/// The CPU time is the machine's own.
fn without_cpu_time(text: &str) -> String {
    let (words, cpu) = (text.split(' '), " s of CPU");
    let is_time = |word: &str, rest: &str| word.parse::<f64>().is_ok() && rest.starts_with(cpu);
    let mut at = 0;
    let masked = words.map(|word| {
        at += word.len();
        let shown = if is_time(word, &text[at..]) { "N" } else { word };
        at += 1;
        shown
    });
    masked.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_readme_shows_what_the_demo_prints() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("is created");
    let done = Command::new(env!("CARGO_BIN_EXE_wyrd-sim")).arg("demo").current_dir(&directory).output();
    let done = done.expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let printed = String::from_utf8(done.stdout).expect("text");
    let files: Vec<_> = fs::read_dir(&directory).expect("is there").map(|entry| entry.expect("is listed")).collect();
    let named = |file: &fs::DirEntry| printed.contains(&*file.file_name().to_string_lossy());
    assert!(!files.is_empty() && files.iter().all(named), "{files:?}");

    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(&readme).expect("is there");
    let (before, rest) = text.split_once(COMMAND).expect("it opens with the demo");
    let (shown, after) = rest.split_once("```").expect("the block ends");
    if without_cpu_time(shown) == without_cpu_time(&printed) {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        return fs::write(&readme, format!("{before}{COMMAND}{printed}```{after}")).expect("is written");
    }
    assert_eq!(shown, printed, "the demo prints another text; UPDATE=1 writes it, see the top of this test");
}

#[test]
fn only_the_cpu_time_is_masked() {
    assert_eq!(
        without_cpu_time("cut at 9.9 s\nin 50 runs and 6.1 s of CPU, at 6.6 s"),
        "cut at 9.9 s\nin 50 runs and N s of CPU, at 6.6 s"
    );
}
