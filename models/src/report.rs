//! What a model is asked, and what an exploration found.

#![expect(clippy::disallowed_types, reason = "how long the exploration takes is shown, and decides nothing")]

use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, Model};
use wyrdlog::base::plants::Plants;

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

/// One property and what became of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The claim.
    pub property: &'static str,
    /// Whether it must hold in every state, or be reached in some.
    pub expectation: Expectation,
    /// Whether it did.
    pub holds: bool,
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The model's name.
    pub model: &'static str,
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
    /// Explores `model` from end to end, or until every property is decided against it. Breadth
    /// first finds the shortest counterexample; depth first needs less memory.
    #[expect(clippy::disallowed_methods, reason = "how long the exploration takes is shown, and decides nothing")]
    pub fn explore<M>(name: &'static str, bounds: String, model: M, options: &Options) -> Report
    where
        M: Model + Send + Sync + 'static,
        M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
        M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
    {
        let started = Instant::now();
        let properties = model.properties();
        let builder = model.checker().threads(options.threads);
        if options.plants == Plants::NONE {
            Report::of(name, bounds, properties, builder.spawn_dfs().join(), started)
        } else {
            let builder = builder.finish_when(stateright::HasDiscoveries::AnyFailures);
            Report::of(name, bounds, properties, builder.spawn_bfs().join(), started)
        }
    }

    fn of<M>(
        model: &'static str,
        bounds: String,
        properties: Vec<stateright::Property<M>>,
        checker: impl Checker<M>,
        started: Instant,
    ) -> Report
    where
        M: Model,
        M::State: Clone + Debug + Hash + PartialEq,
        M::Action: Clone + Debug + PartialEq,
    {
        let discoveries = checker.discoveries();
        let verdict = |property: &stateright::Property<M>| Verdict {
            property: property.name,
            expectation: property.expectation.clone(),
            holds: discoveries.contains_key(property.name) != property.expectation.discovery_is_failure(),
        };
        let verdicts: Vec<Verdict> = properties.iter().map(verdict).collect();
        let failed = verdicts.iter().find(|verdict| !verdict.holds && verdict.expectation.discovery_is_failure());
        let path = failed.and_then(|failed| discoveries.get(failed.property).cloned());
        let actions = path.map(|path| path.into_actions()).unwrap_or_default();
        Report {
            model,
            bounds,
            unique_states: checker.unique_state_count(),
            generated_states: checker.state_count(),
            depth: checker.max_depth(),
            exhausted: failed.is_none(),
            took: started.elapsed(),
            counterexample: actions.iter().map(|action| format!("{action:?}")).collect(),
            verdicts,
        }
    }

    /// Whether every property holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.holds)
    }

    /// Whether a state was found in which something does not hold that must always hold.
    #[must_use]
    pub fn is_refuted(&self) -> bool {
        self.verdicts.iter().any(|verdict| !verdict.holds && verdict.expectation.discovery_is_failure())
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let scope = if self.exhausted { "every state within the bounds" } else { "stopped at a counterexample" };
        let mut text = format!(
            "{}: {}\n{} unique states ({} generated), depth {}, {:.1} s; {scope}",
            self.model,
            self.bounds,
            self.unique_states,
            self.generated_states,
            self.depth,
            self.took.as_secs_f64(),
        );
        for verdict in &self.verdicts {
            let mark = if verdict.holds { "ok  " } else { "FAIL" };
            text.push_str(&format!("\n  {mark} {:?}: {}", verdict.expectation, verdict.property).to_lowercase());
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
                "{{\"property\":{},\"expectation\":{},\"holds\":{}}}",
                quoted(verdict.property),
                quoted(&expectation),
                verdict.holds
            )
        };
        let verdicts: Vec<String> = self.verdicts.iter().map(verdict).collect();
        let actions: Vec<String> = self.counterexample.iter().map(|action| quoted(action)).collect();
        format!(
            "{{\"version\":1,\"model\":{},\"bounds\":{},\"unique_states\":{},\"generated_states\":{},\"depth\":{},\
             \"exhausted\":{},\"seconds\":{:.3},\"properties\":[{}],\"counterexample\":[{}]}}",
            quoted(self.model),
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
