//! How a mutant is judged: by a bounded sweep with nothing but it switched on, and, where that sees
//! nothing, by the unit tests of its module.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::child::{self, End};
use crate::listed::{CLASS_SEEDS, Equivalent};
use crate::outcome::{Seed, Seen, Violated, seen};
use crate::sites::Site;
use crate::suite::Mutant;

/// The seeds that judge a mutant.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The first.
    pub from: u64,
    /// How many.
    pub count: u64,
    /// The scenarios, which they take in turn.
    pub scenarios: Vec<String>,
}

/// What a mutant came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Its number.
    pub id: u32,
    /// The class that it stands for.
    pub class: Option<String>,
    /// The file.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The function.
    pub function: String,
    /// The operator.
    pub operator: String,
    /// The text as it is.
    pub original: String,
    /// The text in its place.
    pub mutated: String,
    /// How it is seen.
    pub seen: Seen,
    /// What says so first: the properties, or what the node did.
    pub violated: Vec<Violated>,
    /// The seed and scenario in which it is seen.
    pub at: Option<(u64, String)>,
    /// How many seeds were run.
    pub seeds: u64,
    /// In how many of them the mutated code was executed.
    pub reached: u64,
    /// Why it is equivalent, where somebody argued so.
    pub equivalent: Option<String>,
}

impl Judged {
    /// Whether nobody has seen it, nor said why nobody can.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.seen == Seen::NotAtAll && self.equivalent.is_none()
    }

    /// One of which nothing is known.
    #[must_use]
    pub fn of(mutant: &Mutant) -> Self {
        let Site { file, line, function, operator, original, mutated, .. } = mutant.site.clone();
        let class = mutant.class.as_ref().map(|class| class.name.clone());
        Judged {
            id: mutant.id,
            class,
            file,
            line,
            function,
            operator: operator.to_owned(),
            original,
            mutated,
            seen: Seen::NotAtAll,
            violated: Vec::new(),
            at: None,
            seeds: 0,
            reached: 0,
            equivalent: None,
        }
    }
}

/// Runs the sweep. A class is seen only by the properties that it breaks, within its own bound.
pub fn by_seeds(judge: &Path, mutant: &Mutant, sweep: &Sweep) -> io::Result<Judged> {
    let mut judged = Judged::of(mutant);
    let count = if mutant.class.is_some() { sweep.count.min(CLASS_SEEDS) } else { sweep.count };
    let until: &[String] = mutant.class.as_ref().map_or(&[], |class| &class.properties);
    let mut arguments: Vec<String> =
        ["--mutant", &mutant.id.to_string(), "--from", &sweep.from.to_string()].map(str::to_owned).to_vec();
    arguments.extend(["--seeds", &count.to_string(), "--scenarios", &sweep.scenarios.join(",")].map(str::to_owned));
    if !until.is_empty() {
        arguments.extend(["--until".to_owned(), until.join(",")]);
    }
    let end = child::run(judge, &arguments, mutant.id, |line| {
        if let Ok(seed) = serde_json::from_str::<Seed>(&line) {
            judged.take(seed, until);
        }
    })?;
    let next = sweep.from + judged.seeds;
    match end {
        End::Exited(status) if status.success() => {}
        End::Exited(status) if status.code() == Some(2) => {
            return Err(io::Error::other(format!("mutant-judge refuses to judge {}", mutant.id)));
        }
        End::Exited(status) => judged.ended(Seen::ByPanic, next, &format!("the process ended: {status}")),
        End::Hung => judged.ended(Seen::ByHang, next, "the seed does not end"),
    }
    Ok(judged)
}

impl Judged {
    fn take(&mut self, seed: Seed, until: &[String]) {
        self.seeds += 1;
        self.reached += u64::from(seed.executed > 0);
        let wanted = |one: &Violated| until.is_empty() || until.contains(&one.property);
        let Some(seen) = seen(&seed.violated) else { return };
        let counts = if until.is_empty() { true } else { seed.violated.iter().any(wanted) };
        let seen = if until.is_empty() { seen } else { Seen::ByProperty };
        // What a property sees counts before a panic that came first.
        if counts && seen < self.seen {
            (self.seen, self.at, self.violated) = (seen, Some((seed.seed, seed.scenario)), seed.violated);
        } else if self.violated.is_empty() {
            // Another property than those of the class: told, but not counted.
            self.violated = seed.violated;
        }
    }

    /// The process ended in the seed after the last one that it told of.
    fn ended(&mut self, seen: Seen, seed: u64, evidence: &str) {
        if self.class.is_none() && seen < self.seen {
            (self.seen, self.at) = (seen, Some((seed, String::new())));
            let (property, evidence) = ("stays-up".to_owned(), evidence.to_owned());
            self.violated = vec![Violated { property, evidence, time_ns: 0 }];
        }
        self.seeds += 1;
        self.reached += 1;
    }

    /// Looks for an argument that it is equivalent.
    pub fn argue(&mut self, site: &Site, equivalents: &[Equivalent]) {
        let found = equivalents.iter().find(|equivalent| equivalent.is(site));
        self.equivalent = found.map(|equivalent| equivalent.argument.clone());
    }
}

/// The part of the tests that is about the file at `path`: the module right below `src`, or the
/// tree of the coordinator.
#[must_use]
pub fn module_of(path: &str) -> String {
    let below = path.trim_start_matches("src/");
    if below.starts_with("coordinator/tree/") {
        return "coordinator::tree::".to_owned();
    }
    format!("{}::", below.split('/').next().unwrap_or(below))
}

/// Whether the tests of the module of `path` fail with `mutant` on.
pub fn by_tests(tests: &Path, mutant: u32, path: &str) -> io::Result<bool> {
    let end = child::run(tests, &[module_of(path)], mutant, |_| {})?;
    Ok(!matches!(end, End::Exited(status) if status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_the_directory_below_the_sources() {
        assert_eq!(module_of("src/log/append.rs"), "log::");
        assert_eq!(module_of("src/coordinator/tree/txn.rs"), "coordinator::tree::");
        assert_eq!(module_of("src/coordinator/server/mod.rs"), "coordinator::");
        assert_eq!(module_of("src/broker/cluster/mod.rs"), "broker::");
    }
}
