//! The layers: which module of `src/` may import from which, as the table of
//! `docs/ARCHITECTURE.md` says, and what a pure module must not contain.

use std::collections::BTreeSet;

use super::Violation;
use super::paths::{Path, Token, paths, tokens, words};
use super::source::Source;

const TABLE_BEGIN: &str = "<!-- layering:begin -->";
const TABLE_END: &str = "<!-- layering:end -->";

/// What a pure module must not name, and why.
const IMPURE_PATHS: &[(&str, &str)] = &[
    ("std::fs", "does I/O"),
    ("std::net", "does I/O"),
    ("std::process", "does I/O"),
    ("std::env", "reads the process's environment"),
    ("std::thread", "starts threads"),
    ("std::time::Instant", "reads a clock; instants come in as `base::time::Instant`"),
    ("std::time::SystemTime", "reads a clock; time comes in as an argument"),
    ("rand", "draws randomness; random values come in as arguments"),
    ("rand_core", "draws randomness; random values come in as arguments"),
    ("rand_chacha", "draws randomness; random values come in as arguments"),
    ("getrandom", "draws randomness; random values come in as arguments"),
];

const IMPURE_WORDS: &[&str] = &["async", "await", "tokio"];

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The module's path within the crate.
    pub module: Vec<String>,
    /// The modules that it may import from, besides itself.
    pub may_import: Vec<Vec<String>>,
    /// Whether it does no I/O, reads no clock, draws no randomness and has no `async`.
    pub pure: bool,
}

/// The rows between the markers, or what is wrong with them.
pub fn table(architecture: &str) -> Result<Vec<Row>, String> {
    let (_, rest) = architecture.split_once(TABLE_BEGIN).ok_or(format!("no {TABLE_BEGIN}"))?;
    let (table, _) = rest.split_once(TABLE_END).ok_or(format!("no {TABLE_END}"))?;
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    let rows: Vec<Row> = lines.skip(2).map(row).collect::<Result<_, _>>()?;
    let modules: BTreeSet<_> = rows.iter().map(|row| &row.module).collect();
    if modules.len() < rows.len() {
        return Err("a module has two rows".to_owned());
    }
    for row in &rows {
        if let Some(unknown) = row.may_import.iter().find(|module| !modules.contains(module)) {
            return Err(format!("`{}` may import `{}`, which has no row", name(&row.module), name(unknown)));
        }
    }
    Ok(rows)
}

fn row(line: &str) -> Result<Row, String> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [module, may_import, pure] = cells[..] else {
        return Err(format!("not three cells: {line}"));
    };
    let pure = match pure {
        "yes" => true,
        "no" => false,
        _ => return Err(format!("pure is yes or no: {line}")),
    };
    let may_import = match may_import {
        "–" => Vec::new(),
        listed => listed.split(',').map(module_in_cell).collect::<Result<_, _>>()?,
    };
    Ok(Row { module: module_in_cell(module)?, may_import, pure })
}

fn module_in_cell(cell: &str) -> Result<Vec<String>, String> {
    let quoted = cell.trim().strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
    let module = quoted.filter(|module| !module.is_empty()).ok_or(format!("not a `module`: {cell}"))?;
    Ok(module.split("::").map(str::to_owned).collect())
}

fn name(module: &[String]) -> String {
    module.join("::")
}

/// The module that a file of `src/` is; none for files elsewhere. The crate's roots are empty.
fn module_of(path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    if inner == "lib" || inner == "main" {
        return Some(Vec::new());
    }
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    Some(inner.split('/').map(str::to_owned).collect())
}

/// The row of a module: the longest one that it lies in.
fn row_of<'a>(rows: &'a [Row], module: &[String]) -> Option<&'a Row> {
    rows.iter().filter(|row| module.starts_with(&row.module)).max_by_key(|row| row.module.len())
}

/// The rows for which no file exists yet.
pub fn rows_without_module<'a>(rows: &'a [Row], sources: &[Source]) -> Vec<&'a Row> {
    let modules: Vec<_> = sources.iter().filter_map(|source| module_of(&source.path)).collect();
    rows.iter().filter(|row| !modules.iter().any(|module| module.starts_with(&row.module))).collect()
}

/// All that is wrong with the layers of `sources`.
pub fn violations(rows: &[Row], sources: &[Source]) -> Vec<Violation> {
    let macros: Vec<ExportedMacro> = sources.iter().flat_map(exported_macros).collect();
    sources.iter().flat_map(|source| violations_of(rows, &macros, source)).collect()
}

/// A macro that `#[macro_export]` moves to the crate's root, and the module that it belongs to.
struct ExportedMacro {
    name: String,
    module: Vec<String>,
}

fn exported_macros(source: &Source) -> Vec<ExportedMacro> {
    let Some(module) = module_of(&source.path) else { return Vec::new() };
    let (tokens, mut exported, mut found) = (tokens(&source.code), false, Vec::new());
    for window in tokens.windows(3) {
        exported |= window[0].1.is("macro_export");
        if let (true, true, Token::Word(name)) = (exported, window[0].1.is("macro_rules"), &window[2].1) {
            found.push(ExportedMacro { name: name.clone(), module: module.clone() });
            exported = false;
        }
    }
    found
}

fn violations_of(rows: &[Row], macros: &[ExportedMacro], source: &Source) -> Vec<Violation> {
    let Some(module) = module_of(&source.path).filter(|module| !module.is_empty()) else {
        return Vec::new();
    };
    let Some(row) = row_of(rows, &module) else {
        let message = format!("`{}` has no row in the table of docs/ARCHITECTURE.md", module[0]);
        return vec![Violation { path: source.path.clone(), line: 1, message }];
    };
    let wrong = |path: &Path| {
        let mut target = absolute(&module, path)?;
        if let Some(exported) = macros.iter().find(|exported| target == [exported.name.as_str()]) {
            target.clone_from(&exported.module);
        }
        Some((path.line, refusal(rows, row, &target, path)?))
    };
    let imports: Vec<_> = paths(&source.code).iter().filter_map(wrong).collect();
    let impurities = if row.pure { impurities(source) } else { Vec::new() };
    let place = |(line, message)| Violation { path: source.path.clone(), line, message };
    imports.into_iter().chain(impurities).map(place).collect()
}

/// Why a module whose row is `row` must not import from `target`, if it must not.
fn refusal(rows: &[Row], row: &Row, target: &[String], path: &Path) -> Option<String> {
    let written = name(&path.segments);
    let Some(target) = row_of(rows, target) else {
        return Some(format!("`{written}` leads to the crate's root or to a module without a row"));
    };
    if target == row || row.may_import.contains(&target.module) {
        return None;
    }
    Some(format!("`{}` must not import from `{}`: `{written}`", name(&row.module), name(&target.module)))
}

/// Where in this crate a path leads; none if it leads elsewhere, or is relative to an import that
/// is itself a path.
fn absolute(module: &[String], path: &Path) -> Option<Vec<String>> {
    let (first, mut rest) = path.segments.split_first()?;
    let mut target = match first.as_str() {
        "crate" | "wyrdlog" => Vec::new(),
        "self" | "super" => [module, &path.inside].concat(),
        _ => return None,
    };
    if first == "super" {
        target.pop();
        while let Some((_, deeper)) = rest.split_first().filter(|(segment, _)| *segment == "super") {
            target.pop();
            rest = deeper;
        }
    }
    target.extend_from_slice(rest);
    Some(target)
}

/// What a pure file must not contain, with its lines. Its tests may.
fn impurities(source: &Source) -> Vec<(usize, String)> {
    let words = words(&source.shipped).filter(|(_, word)| IMPURE_WORDS.contains(&word.as_str()));
    let words = words.map(|(line, word)| (line, format!("a pure module has no `{word}`")));
    let paths = paths(&source.shipped).into_iter().filter_map(|path| {
        let (_, why) = IMPURE_PATHS.iter().find(|(banned, _)| path.starts_with(banned))?;
        Some((path.line, format!("a pure module must not name `{}`: it {why}", name(&path.segments))))
    });
    words.chain(paths).collect()
}
