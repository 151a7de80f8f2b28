//! What a sweep has covered, and whether that is enough for its cleanliness to mean anything.
//!
//! A sweep that never reached a rare state, or whose faults took no effect, has tested nothing
//! there, and is red. From [`SEEDS_MIN`] seeds on each share is held to the number; a smaller sweep, to
//! what chance leaves of it, three standard deviations away: the fewer seeds, the less it can demand.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::faults::Fate;
use crate::faults::form::Form;
use crate::probes::Probe;
use crate::run::Verdict;
use crate::scenario::{Parameters, Scenario};
use crate::schedule::FaultKind;
use crate::verdict::Property;

/// From so many seeds on every share is to be kept as it is written.
pub const SEEDS_MIN: u64 = 1_000;
/// From so many seeds on a sweep is judged at all.
pub const SMALL_SEEDS_MIN: u64 = 50;
/// Of a hundred seeds a stratum may have so many more or fewer than its share.
pub const STRATUM_POINTS_MAX: u64 = 5;
/// With so many seeds for each part of a parameter's range, each part was used.
pub const SEEDS_PER_PART: u64 = 100;
/// Of a hundred seeds so many at most are vacuous.
pub const VACUOUS_PERCENT_MAX: u64 = 2;
/// Of a hundred seeds so many at least go past the budget.
pub const BEYOND_BUDGET_PERCENT_MIN: u64 = 3;
/// The least that a seed simulates, in milliseconds.
pub const SIMULATED_MS_MIN: u64 = 60_000;
/// The fewest requests of a seed.
pub const REQUESTS_MIN: u64 = 1_000;
/// Of a hundred requests so many end ok.
pub const OK_PERCENT_MIN: u64 = 70;
/// Of a hundred of those so many were invoked while a fault lasted.
pub const UNDER_FAULT_PERCENT_MIN: u64 = 20;
/// Of a hundred seeds so many at most are free of faults.
pub const FAULT_FREE_PERCENT_MAX: u64 = 10;
/// Of a hundred seeds so many at most go past the budget.
pub const BEYOND_BUDGET_PERCENT_MAX: u64 = 10;
/// In so many of a hundred seeds the power is cut while something is not synced.
pub const UNSYNCED_POWER_CUT_PERCENT_MIN: u64 = 30;
/// In so many of a hundred seeds each kind of fault takes effect.
pub const FAULT_KIND_PERCENT_MIN: u64 = 5;
/// Of a thousand seeds so many reach each probe: 50 of 5,000.
pub const PROBE_PER_MILLE_MIN: u64 = 10;
/// In so many of a hundred seeds each property is evaluated, where it applies.
pub const EVALUATED_PERCENT_MIN: u64 = 90;
/// Of a hundred seeds so many have an eligible set to look at, at least.
pub const ELIGIBLE_PERCENT_MIN: u64 = 25;

/// Counts over the seeds of a sweep.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Coverage {
    /// Seeds.
    pub seeds: u64,
    /// The least that a seed simulated, in milliseconds.
    pub simulated_ms_min: u64,
    /// The fewest requests of a seed.
    pub requests_min: u64,
    /// Requests.
    pub requests: u64,
    /// Of these, those that ended ok.
    pub ok: u64,
    /// Of these, those that were invoked while a fault lasted.
    pub ok_under_fault: u64,
    /// By how much each seed misses the share of those, in hundredths of a request, squared and summed.
    #[serde(skip)]
    under_fault_spread: u128,
    /// Seeds in which no fault took effect.
    pub fault_free: u64,
    /// Seeds that went past the budget.
    pub beyond_budget: u64,
    /// Seeds that were vacuous, and what they lacked.
    pub vacuous: BTreeMap<u64, String>,
    /// Seeds in which a host lost power while its disk held bytes that were not synced.
    pub unsynced_power_cut: u64,
    /// The durability classes of topics.
    pub durability: BTreeSet<String>,
    /// In how many seeds each kind of fault took effect.
    pub fault_kinds: BTreeMap<FaultKind, u64>,
    /// How often each kind of fault took effect.
    pub effective: BTreeMap<FaultKind, u64>,
    /// In how many seeds faults took effect in each special form.
    pub forms: BTreeMap<Form, u64>,
    /// In how many seeds each probe was reached.
    pub probes: BTreeMap<String, u64>,
    /// In how many seeds each property was evaluated.
    pub evaluated: BTreeMap<Property, u64>,
    /// In how many of the others there was no occasion to.
    pub inapplicable: BTreeMap<Property, u64>,
    /// How many seeds each stratum of the mixture had.
    pub strata: BTreeMap<String, u64>,
    /// What was used of each stratum's parameters.
    pub parameters: BTreeMap<String, Parameters>,
    /// Seeds that have the hash of an earlier one.
    pub same_hash: u64,
    #[serde(skip)]
    hashes: BTreeSet<String>,
}

impl Coverage {
    /// Takes one seed's outcome.
    pub fn take(&mut self, verdict: &Verdict) {
        let (simulated_ms, requests) = (verdict.simulated_ns / 1_000_000, verdict.requests.total());
        let is_first = self.seeds == 0;
        self.simulated_ms_min = if is_first { simulated_ms } else { self.simulated_ms_min.min(simulated_ms) };
        self.requests_min = if is_first { requests } else { self.requests_min.min(requests) };
        self.seeds += 1;
        self.requests += requests;
        self.ok += verdict.requests.ok;
        self.ok_under_fault += verdict.requests.ok_under_fault;
        let share = (verdict.requests.ok_under_fault * 100).abs_diff(verdict.requests.ok * UNDER_FAULT_PERCENT_MIN);
        self.under_fault_spread += u128::from(share).pow(2);
        self.beyond_budget += u64::from(verdict.beyond_budget);
        self.unsynced_power_cut += u64::from(verdict.unsynced_power_cuts > 0);
        self.durability.extend(verdict.durability.values().cloned());
        let effective = verdict.faults.iter().filter(|struck| struck.fate == Fate::TookEffect);
        effective.clone().for_each(|struck| *self.effective.entry(struck.kind).or_default() += 1);
        let kinds: BTreeSet<FaultKind> = effective.map(|struck| struck.kind).collect();
        let forms: BTreeSet<Form> = verdict.faults.iter().flat_map(|struck| struck.forms.iter().copied()).collect();
        forms.into_iter().for_each(|form| *self.forms.entry(form).or_default() += 1);
        self.fault_free += u64::from(kinds.is_empty());
        kinds.into_iter().for_each(|kind| *self.fault_kinds.entry(kind).or_default() += 1);
        for (probe, count) in &verdict.probes {
            *self.probes.entry(probe.clone()).or_default() += u64::from(*count > 0);
        }
        for one in verdict.findings.iter().filter(|one| one.evaluations > 0) {
            *self.evaluated.entry(one.property).or_default() += 1;
        }
        let evaluated =
            |property: &Property| verdict.findings.iter().any(|one| one.property == *property && one.evaluations > 0);
        // Without brokers there is no occasion for what is theirs.
        let has_brokers = !verdict.durability.is_empty();
        let of_brokers = Property::ALL.iter().filter(|property| !has_brokers && !property.is_of_coordinators());
        let inapplicable: BTreeSet<Property> = verdict.inapplicable.iter().chain(of_brokers).copied().collect();
        for property in inapplicable.into_iter().filter(|property| !evaluated(property)) {
            *self.inapplicable.entry(property).or_default() += 1;
        }
        if let Some(lacking) = &verdict.vacuous {
            self.vacuous.insert(verdict.seed, lacking.clone());
        }
        self.take_parameters(verdict);
        self.same_hash += u64::from(!self.hashes.insert(verdict.schedule_hash.clone()));
    }

    fn take_parameters(&mut self, verdict: &Verdict) {
        let Some(stratum) = &verdict.stratum else { return };
        *self.strata.entry(stratum.clone()).or_default() += 1;
        let parameters = self.parameters.entry(stratum.clone()).or_default();
        for (name, used) in &verdict.parameters {
            match parameters.get_mut(name) {
                Some(known) => known.add(used),
                None => drop(parameters.insert(name.clone(), used.clone())),
            }
        }
    }

    /// What was not covered, each in words. Empty for a sweep that is too small to be judged.
    /// The scenario says what applies.
    #[must_use]
    pub fn misses(&self, scenario: &Scenario) -> Vec<String> {
        if self.seeds < SMALL_SEEDS_MIN {
            return Vec::new();
        }
        let has_brokers = scenario.has_brokers();
        let mut misses = Misses { seeds: self.seeds, found: Vec::new() };
        self.misses_of_strata(scenario, &mut misses);
        if self.same_hash > 0 {
            misses.found.push(format!("{} seeds have the hash of another one", self.same_hash));
        }
        misses.at_most("seeds are free of faults", self.fault_free, FAULT_FREE_PERCENT_MAX);
        misses.at_most("seeds are past the budget", self.beyond_budget, BEYOND_BUDGET_PERCENT_MAX);
        misses.at_most("seeds are vacuous", self.vacuous.len() as u64, VACUOUS_PERCENT_MAX);
        if has_brokers {
            misses.at_least("seeds went past the budget", self.beyond_budget, BEYOND_BUDGET_PERCENT_MIN * 10);
            self.misses_of_load(scenario.strata.is_empty(), &mut misses);
        }
        for kind in FaultKind::ALL.iter().filter(|kind| has_brokers || !kind.is_of_brokers()) {
            let count = self.fault_kinds.get(kind).copied().unwrap_or(0);
            misses.at_least(&format!("seeds felt {kind:?}"), count, FAULT_KIND_PERCENT_MIN * 10);
        }
        for form in Form::ALL.iter().filter(|form| has_brokers || !form.is_of_brokers()) {
            let count = self.forms.get(form).copied().unwrap_or(0);
            misses.at_least(&format!("seeds felt {}", form.id()), count, FAULT_KIND_PERCENT_MIN * 10);
        }
        for probe in Probe::ALL.iter().filter(|probe| has_brokers || probe.is_of_coordinators()) {
            let count = self.probes.get(probe.id()).copied().unwrap_or(0);
            misses.at_least(&format!("seeds reached {}", probe.id()), count, PROBE_PER_MILLE_MIN);
        }
        for property in Property::ALL.iter().filter(|property| has_brokers || property.is_of_coordinators()) {
            let count = self.evaluated.get(property).copied().unwrap_or(0);
            let inapplicable = self.inapplicable.get(property).copied().unwrap_or(0);
            let applicable = self.seeds - inapplicable;
            // A single shape may have no lookups by time.
            let may_lack = *property == Property::OffsetForTime && scenario.strata.is_empty();
            if applicable == 0 && self.seeds >= SEEDS_MIN && !may_lack {
                misses.found.push(format!("no seed gave occasion to evaluate {property}"));
            }
            // Few seeds shrink an in-sync set below min.insync.replicas with a member left that may lead.
            let rare = *property == Property::EligibleCompleteness;
            let percent = if rare { ELIGIBLE_PERCENT_MIN } else { EVALUATED_PERCENT_MIN };
            misses.share_of_seeds(&format!("seeds evaluated {property}"), count, applicable, percent);
        }
        misses.found
    }

    /// Each stratum has its share, and used the whole range of each of its parameters.
    fn misses_of_strata(&self, scenario: &Scenario, misses: &mut Misses) {
        for (name, percent) in scenario.shares() {
            let count = self.strata.get(name).copied().unwrap_or(0);
            let points = (count * 100).div_ceil(self.seeds).abs_diff(percent);
            if points > STRATUM_POINTS_MAX {
                misses
                    .found
                    .push(format!("{count} of {} seeds are of stratum {name}, {percent} % were to", self.seeds));
            }
            for (parameter, used) in self.parameters.get(name).into_iter().flatten() {
                let parts = used.parts.len() as u64;
                if count >= SEEDS_PER_PART * u64::from(used.of) && parts < u64::from(used.of) {
                    let range = format!("{} to {}", used.least, used.most);
                    misses.found.push(format!("{name} used {parts} of {} parts of {parameter}: {range}", used.of));
                }
            }
        }
    }

    /// `has_length` if all seeds are to be as long and as busy as each other.
    fn misses_of_load(&self, has_length: bool, misses: &mut Misses) {
        if has_length && self.simulated_ms_min < SIMULATED_MS_MIN {
            misses.found.push(format!("a seed simulated only {} ms", self.simulated_ms_min));
        }
        if has_length && self.requests_min < REQUESTS_MIN {
            misses.found.push(format!("a seed had only {} requests", self.requests_min));
        }
        misses.share("requests ended ok", self.ok, self.requests, OK_PERCENT_MIN);
        // The requests of a seed come under its faults together, so that seeds are what chance is counted by.
        let slack = if self.seeds < SEEDS_MIN { 3 * self.under_fault_spread.isqrt() as u64 / 100 } else { 0 };
        misses.share("of those came under a fault", self.ok_under_fault + slack, self.ok, UNDER_FAULT_PERCENT_MIN);
        let cuts = self.unsynced_power_cut;
        misses.at_least("seeds cut power over unsynced bytes", cuts, UNSYNCED_POWER_CUT_PERCENT_MIN * 10);
        if self.durability.len() < 2 {
            misses.found.push(format!("the only durability class was {:?}", self.durability));
        }
    }
}

/// What was not covered so far.
struct Misses {
    seeds: u64,
    found: Vec<String>,
}

impl Misses {
    /// Three standard deviations of how many of `of` seeds have what `per_mille` of all have; none for
    /// many seeds.
    fn slack(&self, of: u64, per_mille: u64) -> u64 {
        let variance = 9 * of * per_mille * (1_000 - per_mille.min(1_000)) / 1_000_000;
        if self.seeds < SEEDS_MIN { variance.isqrt() + 1 } else { 0 }
    }

    fn at_least(&mut self, what: &str, count: u64, per_mille: u64) {
        let least = (self.seeds * per_mille).div_ceil(1_000).saturating_sub(self.slack(self.seeds, per_mille));
        if count < least {
            self.found.push(format!("{count} {what}, at least {least} were to"));
        }
    }

    fn at_most(&mut self, what: &str, count: u64, percent: u64) {
        let most = self.seeds * percent / 100 + self.slack(self.seeds, percent * 10);
        if count > most {
            self.found.push(format!("{count} {what}, at most {most} may be"));
        }
    }

    fn share(&mut self, what: &str, count: u64, of: u64, percent: u64) {
        if count * 100 < of * percent {
            self.found.push(format!("{count} of {of} {what}, at least {percent} % were to"));
        }
    }

    fn share_of_seeds(&mut self, what: &str, count: u64, of: u64, percent: u64) {
        self.share(what, count + self.slack(of, percent * 10), of, percent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Used;

    fn thousand() -> Coverage {
        let all = |count| move |id: &str| (id.to_owned(), count);
        Coverage {
            seeds: 1_000,
            simulated_ms_min: 60_000,
            requests_min: 1_000,
            requests: 1_000_000,
            ok: 700_000,
            ok_under_fault: 140_000,
            fault_free: 100,
            beyond_budget: 100,
            vacuous: (0..20).map(|seed| (seed, "no load".to_owned())).collect(),
            unsynced_power_cut: 300,
            durability: ["Synced", "PageCache"].map(str::to_owned).into(),
            fault_kinds: FaultKind::ALL.iter().map(|kind| (*kind, 50)).collect(),
            forms: Form::ALL.iter().map(|form| (*form, 50)).collect(),
            probes: Probe::ALL.iter().map(|probe| probe.id()).map(all(10)).collect(),
            evaluated: Property::ALL.iter().map(|property| (*property, 900)).collect(),
            ..Coverage::default()
        }
    }

    #[test]
    fn a_sweep_that_covered_just_enough_is_accepted() {
        assert_eq!(thousand().misses(&Scenario::default()), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_is_missing_is_named() {
        type TakeAway = fn(&mut Coverage);
        let missing: [(&str, TakeAway); 14] = [
            ("simulated", |coverage| coverage.simulated_ms_min -= 1),
            ("requests", |coverage| coverage.requests_min -= 1),
            ("ended ok", |coverage| coverage.ok -= 1),
            ("under a fault", |coverage| coverage.ok_under_fault -= 1),
            ("free of faults", |coverage| coverage.fault_free += 1),
            ("past the budget", |coverage| coverage.beyond_budget += 1),
            ("went past", |coverage| coverage.beyond_budget = 29),
            ("vacuous", |coverage| drop(coverage.vacuous.insert(99, "no load".to_owned()))),
            ("unsynced", |coverage| coverage.unsynced_power_cut -= 1),
            ("durability", |coverage| drop(coverage.durability.pop_first())),
            ("BitRot", |coverage| *coverage.fault_kinds.entry(FaultKind::BitRot).or_default() = 49),
            ("torn-tail-cut", |coverage| *coverage.probes.entry("torn-tail-cut".to_owned()).or_default() = 9),
            ("duplicate", |coverage| *coverage.evaluated.entry(Property::Duplicate).or_default() = 899),
            ("hash", |coverage| coverage.same_hash = 1),
        ];
        for (named, take_away) in missing {
            let mut coverage = thousand();
            take_away(&mut coverage);
            let misses = coverage.misses(&Scenario::default());
            assert!(misses.len() == 1 && misses[0].contains(named), "{named}: {misses:?}");
        }
    }

    #[test]
    fn a_small_sweep_is_judged_by_what_chance_leaves_of_the_shares() {
        let scenario = Scenario::default();
        assert_eq!(
            Coverage { seeds: SMALL_SEEDS_MIN - 1, ..Coverage::default() }.misses(&scenario),
            Vec::<String>::new()
        );
        let hundred = |fault_free| Coverage {
            seeds: 100,
            fault_free,
            beyond_budget: 5,
            unsynced_power_cut: 30,
            evaluated: Property::ALL.iter().map(|property| (*property, 90)).collect(),
            ..thousand()
        };
        let of = |coverage: Coverage| {
            coverage.misses(&scenario).into_iter().filter(|miss| miss.contains("free of faults")).count()
        };
        assert_eq!((of(hundred(10)), of(hundred(15)), of(hundred(30))), (0, 0, 1));
    }

    #[test]
    fn a_mixture_has_every_stratum_s_share_and_the_whole_range_of_its_parameters() {
        let text = "[[strata]]\nname = \"a\"\nshare = 1\n[[strata]]\nname = \"b\"\nshare = 3\n";
        let scenario = Scenario::parse(text).unwrap_or_else(|error| panic!("{error}"));
        let used = |parts: u32| Used { least: 1, most: 9, parts: (0..parts).collect(), of: 3 };
        let mixed = |a: u64, parts: u32| Coverage {
            strata: BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), 1_000 - a)]),
            parameters: BTreeMap::from([("b".to_owned(), BTreeMap::from([("brokers".to_owned(), used(parts))]))]),
            ..thousand()
        };
        assert_eq!(mixed(250, 3).misses(&scenario), Vec::<String>::new());
        assert!(mixed(150, 3).misses(&scenario)[0].contains("stratum a"));
        assert!(mixed(250, 2).misses(&scenario)[0].contains("2 of 3 parts of brokers"));
    }
}
