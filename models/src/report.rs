//! What a model is asked, and what an exploration found.

#![expect(clippy::disallowed_types, reason = "how long the exploration takes is shown, and decides nothing")]

use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::Checker;
use wyrdlog::base::plants::{Plant, Plants};

use crate::claims::Claims;

/// How to explore.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Planted bugs.
    pub plants: Plants,
    /// Threads that explore.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { plants: Plants::NONE, threads: 2 }
    }
}

/// What is asked of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It holds in every state.
    Always,
    /// It is seen in some state.
    Sometimes,
}

/// One property and what became of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The claim.
    pub property: &'static str,
    /// Whether it must hold in every state, or be reached in some.
    pub expectation: Expectation,
    /// Whether it did.
    pub holds: bool,
    /// In how many states it said something, or was seen.
    pub states: u64,
}

impl Verdict {
    /// Whether it is more than vacuously true.
    fn is_shown(&self) -> bool {
        self.holds && self.states > 0
    }
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The model's name.
    pub model: &'static str,
    /// The name of its bounds, if they have one.
    pub profile: Option<&'static str>,
    /// The plant that was switched on.
    pub plant: Option<&'static str>,
    /// Its bounds, in words.
    pub bounds: String,
    /// Different states that were visited.
    pub unique_states: usize,
    /// States that were generated, repetitions included.
    pub generated_states: usize,
    /// The longest path.
    pub depth: usize,
    /// Whether every state within the bounds was visited.
    pub exhausted: bool,
    /// How long it took.
    pub took: Duration,
    /// Every property.
    pub verdicts: Vec<Verdict>,
    /// The actions that lead to the first property that does not hold.
    pub counterexample: Vec<String>,
}

impl Report {
    /// Explores `model` from end to end or, with a plant, until something that must always hold does
    /// not. Breadth first finds the shortest counterexample; depth first needs less memory.
    #[expect(clippy::disallowed_methods, reason = "how long the exploration takes is shown, and decides nothing")]
    pub fn explore<M>(
        name: &'static str,
        profile: Option<&'static str>,
        bounds: String,
        model: M,
        options: &Options,
    ) -> Report
    where
        M: Claims + Send + Sync,
        M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
        M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
    {
        let started = Instant::now();
        let builder = model.checker().threads(options.threads).finish_when(stateright::HasDiscoveries::AnyFailures);
        let mut report = if options.plants == Plants::NONE {
            Report::of(name, bounds, builder.spawn_dfs().join())
        } else {
            Report::of(name, bounds, builder.spawn_bfs().join())
        };
        let plant = Plant::ALL.iter().find(|plant| options.plants.is(**plant)).map(|plant| plant.id());
        (report.profile, report.plant, report.took) = (profile, plant, started.elapsed());
        report
    }

    fn of<M>(model: &'static str, bounds: String, checker: impl Checker<M>) -> Report
    where
        M: Claims,
        M::State: Clone + Debug + Hash + PartialEq,
        M::Action: Clone + Debug + PartialEq,
    {
        let discoveries = checker.discoveries();
        let verdicts = verdicts(checker.model(), |name| !discoveries.contains_key(name));
        let failed = verdicts.iter().find(|verdict| !verdict.holds && verdict.expectation == Expectation::Always);
        let path = failed.and_then(|failed| discoveries.get(failed.property).cloned());
        let actions = path.map(|path| path.into_actions()).unwrap_or_default();
        Report {
            model,
            profile: None,
            plant: None,
            bounds,
            unique_states: checker.unique_state_count(),
            generated_states: checker.state_count(),
            depth: checker.max_depth(),
            exhausted: failed.is_none(),
            took: Duration::ZERO,
            counterexample: actions.iter().map(|action| format!("{action:?}")).collect(),
            verdicts,
        }
    }

    /// Whether every property holds, and not only for want of a state that it speaks of.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(Verdict::is_shown)
    }

    /// Whether a state was found in which something does not hold that must always hold.
    #[must_use]
    pub fn is_refuted(&self) -> bool {
        self.verdicts.iter().any(|verdict| !verdict.holds && verdict.expectation == Expectation::Always)
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let scope = if self.exhausted { "every state within the bounds" } else { "stopped at a counterexample" };
        let mut text = format!(
            "{}{}: {}\n{} unique states ({} generated), depth {}, {:.1} s; {scope}",
            self.model,
            self.profile.map(|name| format!(" --bounds {name}")).unwrap_or_default(),
            self.bounds,
            self.unique_states,
            self.generated_states,
            self.depth,
            self.took.as_secs_f64(),
        );
        for verdict in &self.verdicts {
            let mark = match (verdict.is_shown(), verdict.holds) {
                (true, _) => "ok    ",
                (false, true) => "VACANT",
                (false, false) => "FAIL  ",
            };
            let expectation = format!("{:?}", verdict.expectation).to_lowercase();
            text.push_str(&format!("\n  {mark} {:>9}  {expectation}: {}", verdict.states, verdict.property));
        }
        for (at, action) in self.counterexample.iter().enumerate() {
            text.push_str(&format!("\n  {:>3}. {action}", at + 1));
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let verdict = |verdict: &Verdict| {
            let expectation = format!("{:?}", verdict.expectation).to_lowercase();
            format!(
                "{{\"property\":{},\"expectation\":{},\"holds\":{},\"states\":{}}}",
                quoted(verdict.property),
                quoted(&expectation),
                verdict.holds,
                verdict.states,
            )
        };
        let verdicts: Vec<String> = self.verdicts.iter().map(verdict).collect();
        let actions: Vec<String> = self.counterexample.iter().map(|action| quoted(action)).collect();
        format!(
            "{{\"version\":1,\"model\":{},\"profile\":{},\"plant\":{},\"bounds\":{},\"unique_states\":{},\"generated_states\":{},\"depth\":{},\
             \"exhausted\":{},\"seconds\":{:.3},\"properties\":[{}],\"counterexample\":[{}]}}",
            quoted(self.model),
            self.profile.map_or("null".to_owned(), quoted),
            self.plant.map_or("null".to_owned(), quoted),
            quoted(&self.bounds),
            self.unique_states,
            self.generated_states,
            self.depth,
            self.exhausted,
            self.took.as_secs_f64(),
            verdicts.join(","),
            actions.join(","),
        )
    }
}

/// What became of each claim that applies and of each sight that must be reached.
fn verdicts<M: Claims>(model: &M, holds: impl Fn(&'static str) -> bool) -> Vec<Verdict> {
    let tally = model.tally();
    let claims = M::CLAIMS.iter().enumerate().filter(|(_, claim)| (claim.applies)(model)).map(|(at, claim)| Verdict {
        property: claim.name,
        expectation: Expectation::Always,
        holds: holds(claim.name),
        states: tally.claim(at),
    });
    let sights = M::SIGHTS.iter().enumerate().filter(|(_, sight)| model.reaches().contains(&sight.name));
    let sights = sights.map(|(at, sight)| Verdict {
        property: sight.name,
        expectation: Expectation::Sometimes,
        holds: tally.sight(at) > 0,
        states: tally.sight(at),
    });
    claims.chain(sights).collect()
}
