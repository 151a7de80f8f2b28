//! The command line: `cargo sim mutants`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IsTerminal;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::judging::{self, Judged, Sweep};
use crate::listed::{self, Equivalent};
use crate::outcome::Seen;
use crate::report::{self, Figures};
use crate::suite::{self, Mutant, Suite, Trouble, Wanted};

/// Nothing is open.
const CLEAN: u8 = 0;
/// Something is open, or a class is not rejected.
const OPEN: u8 = 42;
/// The command could not be carried out.
const USAGE: u8 = 2;

/// How many mutants are drawn where nobody says.
const COUNT: usize = 200;

/// Changes the product one place at a time, and asks whether the simulator sees it.
#[derive(Parser)]
#[command(name = "cargo sim mutants", version)]
struct Arguments {
    /// The seed by which sites are drawn.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many mutants are drawn; 200 by default, with `--classes` none.
    #[arg(long)]
    count: Option<usize>,
    /// The seeds that judge a mutant, the last one excluded.
    #[arg(long, value_parser = parse_seeds, default_value = "0..100")]
    seeds: Range<u64>,
    /// Scenarios by name or file, which the seeds take in turn.
    #[arg(long, value_delimiter = ',', default_value = SCENARIOS)]
    scenario: Vec<String>,
    /// Judge the classes that are listed by hand: each is to be rejected by one of its properties.
    #[arg(long)]
    classes: bool,
    /// Ask the unit tests first, and the seeds only about what they do not see: what is open is found sooner, and
    /// the shares of the simulator are not told.
    #[arg(long)]
    tests_first: bool,
    /// Judge this mutant alone: its number, or the name of a class.
    #[arg(long)]
    only: Option<String>,
    /// How many mutants are judged at once; as many as there are processors by default.
    #[arg(long)]
    jobs: Option<usize>,
    /// How to print the results.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What judges where nobody says.
const SCENARIOS: &str = "swarm";

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// The results as a document.
#[derive(Serialize)]
struct Document<'r> {
    seed: u64,
    figures: &'r Figures,
    classes: &'r [Judged],
    mutants: &'r [Judged],
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let bad = || format!("'{text}' is no range of seeds: write A..B, such as 0..100");
    let (first, end) = text.split_once("..").ok_or_else(bad)?;
    let (first, end) = (first.parse().map_err(|_| bad())?, end.parse().map_err(|_| bad())?);
    if first < end { Ok(first..end) } else { Err(bad()) }
}

/// Parses the command line and carries it out.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(trouble) => {
            eprintln!("mutants: {trouble}");
            ExitCode::from(USAGE)
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    if arguments.jobs == Some(0) {
        return Err("--jobs 0 would judge nothing; one job or more".into());
    }
    for name in &arguments.scenario {
        wyrdlog_sim::cli::names::scenario(name).map_err(|trouble| trouble.to_string())?;
    }
    let count = arguments.count.unwrap_or(if arguments.classes { 0 } else { COUNT });
    let wanted = Wanted { root: root()?, seed: arguments.seed, count };
    let suite = Suite::build(&wanted, |text| eprintln!("{text}"))?;
    let mutants = chosen(arguments, &suite)?;
    let range = &arguments.seeds;
    let sweep = Sweep { from: range.start, count: range.end - range.start, scenarios: arguments.scenario.clone() };
    let judged = judge(arguments, &suite, &mutants, &sweep)?;
    let (classes, drawn): (Vec<Judged>, Vec<Judged>) = judged.into_iter().partition(|one| one.class.is_some());
    let figures = Figures::of(&drawn, suite.refused);
    match arguments.output {
        Output::Json => {
            let document = Document { seed: arguments.seed, figures: &figures, classes: &classes, mutants: &drawn };
            println!("{}", serde_json::to_string_pretty(&document)?);
        }
        Output::Text => print(arguments, &classes, &drawn, &figures),
    }
    let rejected = classes.iter().all(|class| class.seen == Seen::ByProperty);
    Ok(if figures.open == 0 && rejected { CLEAN } else { OPEN })
}

/// The root of the workspace: cargo says where this package is.
fn root() -> Result<PathBuf, Trouble> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("run by cargo: `cargo sim mutants`")?;
    let root = Path::new(&package).ancestors().nth(2).ok_or("this package is two levels below the root")?;
    Ok(root.to_owned())
}

fn chosen(arguments: &Arguments, suite: &Suite) -> Result<Vec<Mutant>, Trouble> {
    let name_of = |mutant: &Mutant| mutant.class.as_ref().map(|class| class.name.clone());
    let Some(only) = &arguments.only else {
        return Ok(suite
            .mutants
            .iter()
            .filter(|mutant| arguments.classes || mutant.class.is_none())
            .cloned()
            .collect());
    };
    let is_it = |mutant: &&Mutant| mutant.id.to_string() == *only || name_of(mutant).as_ref() == Some(only);
    let found: Vec<Mutant> = suite.mutants.iter().filter(is_it).cloned().collect();
    if found.is_empty() {
        let classes: Vec<String> = suite.mutants.iter().filter_map(name_of).collect();
        let last = suite.mutants.iter().filter(|mutant| mutant.class.is_none()).map(|mutant| mutant.id).max();
        let last = last.unwrap_or(0);
        return Err(format!("no mutant '{only}': numbers go up to {last}, classes are {}", classes.join(", ")).into());
    }
    Ok(found)
}

/// Judges `mutants`. What an earlier command found out about the same copy is not asked again.
fn judge(arguments: &Arguments, suite: &Suite, mutants: &[Mutant], sweep: &Sweep) -> Result<Vec<Judged>, Trouble> {
    let equivalents = listed::equivalents()?;
    let key =
        format!("{:016x}-{}-{}-{}", suite.digest, sweep.from, sweep.count, sweep.scenarios.join("-").replace('/', "-"));
    let order = if arguments.tests_first { "-tests-first" } else { "" };
    let results = suite.tree.with_file_name(format!("results-{key}{order}.jsonl"));
    let mut known: BTreeMap<u32, Judged> = BTreeMap::new();
    if arguments.only.is_none() {
        known.extend(suite::lines_of::<Judged>(&results).into_iter().map(|one| (one.id, one)));
    }
    let missing: Vec<&Mutant> = mutants.iter().filter(|mutant| !known.contains_key(&mutant.id)).collect();
    if let Some(one) = missing.first() {
        passes_without(suite, one, sweep)?;
    }
    let by_seeds = |mutant: &Mutant| judging::by_seeds(&suite.judge, mutant, sweep);
    let take = |known: &mut BTreeMap<u32, Judged>, found: Vec<Judged>| {
        known.extend(found.into_iter().map(|one| (one.id, one)));
    };
    if arguments.tests_first {
        let drawn: Vec<&Mutant> = missing.iter().filter(|mutant| mutant.class.is_none()).copied().collect();
        let by_tests = by_tests(suite, &drawn, Judged::of)?;
        let found = all(arguments, "judging by unit tests", &drawn, &results, &equivalents, by_tests)?;
        take(&mut known, found);
        let missed = missed(mutants, &known);
        let found = all(arguments, "judging by seeds", &missed, &results, &equivalents, by_seeds)?;
        take(&mut known, found);
    } else {
        let found = all(arguments, "judging by seeds", &missing, &results, &equivalents, by_seeds)?;
        take(&mut known, found);
        let missed = missed(mutants, &known);
        if !missed.is_empty() {
            let by_tests = by_tests(suite, &missed, |mutant| known[&mutant.id].clone())?;
            let found = all(arguments, "judging by unit tests", &missed, &results, &equivalents, by_tests)?;
            take(&mut known, found);
        }
    }
    let judged = mutants.iter().filter_map(|mutant| known.remove(&mutant.id).map(|one| (mutant, one)));
    Ok(judged
        .map(|(mutant, mut one)| {
            one.argue(&mutant.site, &equivalents);
            one
        })
        .collect())
}

/// Sees that the sweep passes as the code ships: a seed that fails by itself would reject every mutant. `one` lends
/// its place.
fn passes_without(suite: &Suite, one: &Mutant, sweep: &Sweep) -> Result<(), Trouble> {
    let none = Mutant { id: 0, class: None, ..one.clone() };
    let judged = judging::by_seeds(&suite.judge, &none, sweep)?;
    match judged.at {
        None => Ok(()),
        Some((seed, scenario)) => {
            let properties: Vec<&str> = judged.violated.iter().map(|one| one.property.as_str()).collect();
            let properties = properties.join(", ");
            Err(format!("seed {seed} of {scenario} fails without any mutant ({properties}): mend that first").into())
        }
    }
}

/// The drawn mutants that nothing has seen yet.
fn missed<'m>(mutants: &'m [Mutant], known: &BTreeMap<u32, Judged>) -> Vec<&'m Mutant> {
    let is_missed =
        |mutant: &&Mutant| mutant.class.is_none() && known.get(&mutant.id).is_none_or(|one| one.seen == Seen::NotAtAll);
    mutants.iter().filter(is_missed).collect()
}

/// Builds the unit tests and sees that they pass without a mutant. Gives what asks them about one, for which
/// `so_far` says what is known.
fn by_tests<'a>(
    suite: &Suite,
    mutants: &[&Mutant],
    so_far: impl Fn(&Mutant) -> Judged + Sync + 'a,
) -> Result<impl Fn(&Mutant) -> std::io::Result<Judged> + Sync + 'a, Trouble> {
    eprintln!("building the unit tests for {} mutants", mutants.len());
    let tests = suite.build_tests()?;
    let modules: BTreeSet<String> = mutants.iter().map(|mutant| judging::module_of(&mutant.site.file)).collect();
    for module in modules {
        if judging::by_tests(&tests, 0, &module.replace("::", "/"))? {
            return Err(format!("the tests of {module} fail in the copy without any mutant").into());
        }
    }
    Ok(move |mutant: &Mutant| {
        let mut judged = so_far(mutant);
        if judging::by_tests(&tests, mutant.id, &mutant.site.file)? {
            judged.seen = Seen::ByTests;
        }
        Ok(judged)
    })
}

/// Asks `judge` about all of `mutants`, several at once; keeps each answer in the file `results`.
fn all(
    arguments: &Arguments,
    what: &str,
    mutants: &[&Mutant],
    results: &Path,
    equivalents: &[Equivalent],
    judge: impl Fn(&Mutant) -> std::io::Result<Judged> + Sync,
) -> Result<Vec<Judged>, Trouble> {
    let jobs = arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let left: Mutex<VecDeque<&Mutant>> = Mutex::new(mutants.iter().copied().collect());
    let done: Mutex<Vec<Judged>> = Mutex::new(Vec::new());
    let bar = progress_bar(what, mutants.len());
    let work = || -> Result<(), Trouble> {
        loop {
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(mutant) = next else { return Ok(()) };
            let mut judged = judge(mutant)?;
            judged.argue(&mutant.site, equivalents);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            suite::append(results, &judged)?;
            let line = report::line(&judged);
            if bar.is_hidden() {
                eprintln!("{line}")
            } else {
                bar.println(line)
            }
            bar.inc(1);
            done.push(judged);
        }
    };
    let ended: Vec<Result<(), Trouble>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|_| Err("a job panicked".into()))
        };
        workers.into_iter().map(join).collect()
    });
    bar.finish_and_clear();
    ended.into_iter().collect::<Result<(), Trouble>>()?;
    Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn progress_bar(what: &str, count: usize) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(count as u64), target).with_message(what.to_owned());
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {elapsed}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(arguments: &Arguments, classes: &[Judged], drawn: &[Judged], figures: &Figures) {
    if arguments.only.is_some() {
        classes.iter().chain(drawn).for_each(|one| print!("{}", report::difference(one, arguments.seed)));
        return;
    }
    for class in classes {
        println!("{}", report::line(class));
    }
    if !classes.is_empty() {
        let rejected = classes.iter().filter(|class| class.seen == Seen::ByProperty).count();
        println!("{rejected} of {} classes are rejected by one of their properties\n", classes.len());
    }
    for open in drawn.iter().filter(|one| one.is_open()) {
        println!("{}", report::difference(open, arguments.seed));
    }
    if arguments.tests_first {
        println!("{} of {} mutants are open", figures.open, drawn.len());
    } else if !drawn.is_empty() {
        print!("{}", figures.describe());
    }
}
