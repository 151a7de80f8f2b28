//! What must not stand in a source file, where that holds, and the listed places where it may.

use super::Violation;
use super::paths::{Token, paths, tokens, words};
use super::source::Source;

/// The most lines that a file may have.
pub const FILE_LINES_MAX: usize = 1000;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No hash map or set: their order differs from run to run.
    UnorderedMap,
    /// No file, socket, process or environment of the operating system but through the runtime.
    OperatingSystem,
    /// No clock but the node's.
    Clock,
    /// No thread of one's own.
    Thread,
    /// Nothing of tokio but what needs only wakers.
    Tokio,
    /// Shells are generic: no runtime is named.
    NamedRuntime,
    /// `select!` draws from a process-wide counter unless it is biased.
    UnbiasedSelect,
    /// The product does not know the simulator.
    Simulator,
    /// Every test runs.
    IgnoredTest,
    /// Nothing is left for later.
    Unfinished,
    /// An `unwrap` gives no reason.
    Unwrap,
    /// One idea a file.
    FileLength,
    /// A file first says what it is.
    ModuleDoc,
}

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule::UnorderedMap,
    Rule::OperatingSystem,
    Rule::Clock,
    Rule::Thread,
    Rule::Tokio,
    Rule::NamedRuntime,
    Rule::UnbiasedSelect,
    Rule::Simulator,
    Rule::IgnoredTest,
    Rule::Unfinished,
    Rule::Unwrap,
    Rule::FileLength,
    Rule::ModuleDoc,
];

/// The places where a rule does not hold: a prefix of paths, the rules, and why.
pub const EXCEPTIONS: &[(&str, &[Rule], &str)] = &[
    (
        "src/runtime/tokio_runtime/",
        &[Rule::OperatingSystem, Rule::Clock, Rule::Thread, Rule::Tokio],
        "it is the real world that others reach through the runtime",
    ),
    ("src/runtime/", &[Rule::NamedRuntime], "it declares the real runtime"),
    (
        "src/cli/",
        &[Rule::OperatingSystem, Rule::Tokio, Rule::NamedRuntime],
        "commands read files, the environment and signals, and start the real runtime",
    ),
    ("src/client/connection_tests.rs", &[Rule::NamedRuntime], "it needs an executor for an in-memory pipe"),
    ("src/main.rs", &[Rule::OperatingSystem, Rule::NamedRuntime], "it is the process"),
    ("sim/src/main.rs", &[Rule::Clock, Rule::Thread], "it measures and prints, outside of any simulation"),
    ("sim/src/cli/", &[Rule::Clock, Rule::Thread], "it measures and prints, outside of any simulation"),
    ("sim/src/sweep", &[Rule::Clock, Rule::Thread], "one simulation a thread, and a progress bar"),
    ("sim/src/backends/", &[Rule::Clock, Rule::Tokio], "other worlds that outcomes are compared with"),
    ("models/src/", &[Rule::Clock, Rule::Thread], "exploration is spread over threads and timed"),
];

impl Rule {
    /// Whether it holds for the file at `path`.
    fn holds_for(self, path: &str) -> bool {
        let excepted = |(prefix, rules, _): &(&str, &[Rule], &str)| path.starts_with(prefix) && rules.contains(&self);
        self.scope().iter().any(|prefix| path.starts_with(prefix)) && !EXCEPTIONS.iter().any(excepted)
    }

    /// Prefixes of the paths that it concerns.
    fn scope(self) -> &'static [&'static str] {
        match self {
            Rule::UnorderedMap | Rule::UnbiasedSelect | Rule::IgnoredTest | Rule::Unfinished => &[""],
            Rule::FileLength | Rule::ModuleDoc => &[""],
            Rule::Clock | Rule::Thread | Rule::Unwrap => &["src/", "sim/src/", "models/src/"],
            Rule::OperatingSystem => &["src/", "sim/src/engine"],
            Rule::Tokio => &["src/", "sim/src/"],
            Rule::NamedRuntime | Rule::Simulator => &["src/"],
        }
    }

    /// Where it is broken, and how.
    fn broken(self, source: &Source) -> Vec<(usize, String)> {
        match self {
            Rule::UnorderedMap => hash_map(source),
            Rule::OperatingSystem => operating_system(source),
            Rule::Clock => clock(source),
            Rule::Thread => thread(source),
            Rule::Tokio => tokio(source),
            Rule::NamedRuntime => named_runtime(source),
            Rule::UnbiasedSelect => unbiased_select(source),
            Rule::Simulator => simulator(source),
            Rule::IgnoredTest => ignored_test(source),
            Rule::Unfinished => unfinished(source),
            Rule::Unwrap => unwrap(source),
            Rule::FileLength => file_length(source),
            Rule::ModuleDoc => module_doc(source),
        }
    }
}

/// Every violation of `rules` in `sources`.
pub fn violations(rules: &[Rule], sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        for rule in rules.iter().filter(|rule| rule.holds_for(&source.path)) {
            let place = |(line, message)| Violation { path: source.path.clone(), line, message };
            found.extend(rule.broken(source).into_iter().map(place));
        }
    }
    found
}

fn banned_words(code: &str, banned: &[&str], remedy: &str) -> Vec<(usize, String)> {
    let found = words(code).filter(|(_, word)| banned.contains(&word.as_str()));
    found.map(|(line, word)| (line, format!("`{word}`: {remedy}"))).collect()
}

/// Paths that start with one of `prefixes`.
fn banned_paths(code: &str, prefixes: &[&str], remedy: &str) -> Vec<(usize, String)> {
    let found = paths(code).into_iter().filter(|path| prefixes.iter().any(|prefix| path.starts_with(prefix)));
    found.map(|path| (path.line, format!("`{}`: {remedy}", path.segments.join("::")))).collect()
}

fn hash_map(source: &Source) -> Vec<(usize, String)> {
    let banned = ["HashMap", "HashSet", "RandomState"];
    banned_words(&source.code, &banned, "its order differs from run to run; use BTreeMap, BTreeSet or IndexMap")
}

fn operating_system(source: &Source) -> Vec<(usize, String)> {
    let banned = ["std::fs", "std::net", "std::os", "std::env", "std::process"];
    banned_paths(&source.shipped, &banned, "the operating system is reached through `runtime` only")
}

fn clock(source: &Source) -> Vec<(usize, String)> {
    let remedy = "time comes from `Clock`";
    let mut found = banned_paths(&source.shipped, &["std::time::Instant", "std::time::SystemTime"], remedy);
    for path in paths(&source.shipped) {
        if path.ends_with("Instant::now") || path.ends_with("SystemTime::now") {
            found.push((path.line, format!("`{}`: {remedy}", path.segments.join("::"))));
        }
    }
    found
}

fn thread(source: &Source) -> Vec<(usize, String)> {
    let mut found = banned_paths(&source.shipped, &["std::thread"], "long work goes to `Tasks::blocking`");
    for path in paths(&source.shipped) {
        if path.segments[0] == "thread" && !path.ends_with("thread::panicking") {
            found.push((path.line, format!("`{}`: long work goes to `Tasks::blocking`", path.segments.join("::"))));
        }
    }
    found
}

fn tokio(source: &Source) -> Vec<(usize, String)> {
    const NEEDS_ONLY_WAKERS: &[&str] = &["sync", "io", "select", "join", "try_join", "pin"];
    let paths = paths(&source.shipped).into_iter().filter(|path| path.segments[0] == "tokio");
    // It draws the order in which it wakes from a generator of the thread.
    let draws = |segments: &[String]| segments[1] == "sync" && segments.get(2).is_some_and(|item| item == "watch");
    let banned = paths.filter(|path| !NEEDS_ONLY_WAKERS.contains(&path.segments[1].as_str()) || draws(&path.segments));
    let message = |segments: &[String]| {
        format!(
            "`{}`: of tokio only {} may be used, and no `watch`; the rest is the runtime's",
            segments.join("::"),
            NEEDS_ONLY_WAKERS.join(", ")
        )
    };
    banned.map(|path| (path.line, message(&path.segments))).collect()
}

fn named_runtime(source: &Source) -> Vec<(usize, String)> {
    let banned = ["tokio_runtime", "TokioRuntime"];
    banned_words(&source.shipped, &banned, "nodes are generic over `Runtime`; only the command line picks one")
}

fn unbiased_select(source: &Source) -> Vec<(usize, String)> {
    let tokens = tokens(&source.code);
    let is_select = |window: &&[(usize, Token)]| window[0].1.is("select") && window[1].1 == Token::Mark('!');
    let unbiased = tokens.windows(4).filter(is_select).filter(|window| !window[3].1.is("biased"));
    unbiased
        .map(|window| (window[0].0, "`select!` without `biased;` draws from a process-wide counter".into()))
        .collect()
}

fn simulator(source: &Source) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = words(&source.code).filter(|(_, word)| names_simulator(word)).collect();
    for (index, line) in source.with_strings.lines().enumerate() {
        let configures = ["cfg", "feature", "#[path"].iter().any(|marker| line.contains(marker));
        let quoted = line.split('"').skip(1).step_by(2);
        let named = quoted.filter(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(names_simulator));
        found.extend(named.filter(|_| configures).map(|text| (index + 1, text.to_owned())));
    }
    found.into_iter().map(|(line, word)| (line, format!("`{word}`: src/ does not know the simulator"))).collect()
}

/// Whether one of the words that an identifier is made of means a simulator: `sim_clock`,
/// `SimClock`, `simulated`, but not `simple` nor `similar`.
fn names_simulator(identifier: &str) -> bool {
    let (mut words, mut after_lowercase) = (String::new(), false);
    for character in identifier.chars() {
        if after_lowercase && character.is_uppercase() {
            words.push('_');
        }
        after_lowercase = character.is_lowercase();
        words.extend(character.to_lowercase());
    }
    words.split('_').any(|word| ["sim", "madsim", "turmoil"].contains(&word) || word.starts_with("simulat"))
}

fn ignored_test(source: &Source) -> Vec<(usize, String)> {
    let message = || "every test runs; one that cannot is mended or removed".to_owned();
    let tokens = tokens(&source.code);
    let mut attribute_starts = 0..tokens.len().saturating_sub(2);
    let mut found = Vec::new();
    while let Some(start) =
        attribute_starts.find(|index| tokens[*index].1 == Token::Mark('#') && tokens[*index + 1].1 == Token::Mark('['))
    {
        let attribute = tokens[start..].iter().take_while(|(_, token)| *token != Token::Mark(']'));
        let mut ignores = attribute.filter(|(_, token)| token.is("ignore"));
        found.extend(ignores.next().map(|(line, _)| (*line, message())));
    }
    for (index, line) in source.raw.lines().enumerate() {
        let doc = line.trim_start().strip_prefix("///").or_else(|| line.trim_start().strip_prefix("//!"));
        if doc.is_some_and(|doc| doc.trim_start().starts_with("```") && doc.contains("ignore")) {
            found.push((index + 1, message()));
        }
    }
    found
}

fn unfinished(source: &Source) -> Vec<(usize, String)> {
    let tokens = tokens(&source.code);
    let is_macro = |window: &&[(usize, Token)]| window[1].1 == Token::Mark('!');
    let banned = |token: &Token| ["todo", "unimplemented", "dbg"].iter().any(|word| token.is(word));
    let found = tokens.windows(2).filter(is_macro).filter(|window| banned(&window[0].1));
    found.map(|window| (window[0].0, "nothing is left for later".to_owned())).collect()
}

fn unwrap(source: &Source) -> Vec<(usize, String)> {
    banned_words(&source.shipped, &["unwrap"], "handle the error, or `expect(\"why it cannot fail\")`")
}

fn file_length(source: &Source) -> Vec<(usize, String)> {
    let lines = source.raw.lines().count();
    let message = || format!("{lines} lines; past {FILE_LINES_MAX} a file is split by idea");
    if lines > FILE_LINES_MAX { vec![(FILE_LINES_MAX + 1, message())] } else { Vec::new() }
}

fn module_doc(source: &Source) -> Vec<(usize, String)> {
    let message = "the module's doc comes first: what it is, what it promises, what it leaves to others";
    if source.raw.trim_start().starts_with("//!") { Vec::new() } else { vec![(1, message.to_owned())] }
}
