//! What the suite prints.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::judging::Judged;
use crate::outcome::Seen;

/// What all drawn mutants come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// How many were judged.
    pub mutants: usize,
    /// How many of those drawn the compiler refused.
    pub refused: usize,
    /// How many each way of seeing has seen, those that are equivalent left out.
    pub seen: BTreeMap<Seen, usize>,
    /// How many are argued to be equivalent.
    pub equivalent: usize,
    /// How many are open: neither seen nor argued about.
    pub open: usize,
    /// By which properties, and how often; a mutant counts for each that its seed violated.
    pub properties: BTreeMap<String, usize>,
}

impl Figures {
    /// Those of `judged`.
    #[must_use]
    pub fn of(judged: &[Judged], refused: usize) -> Self {
        let mut figures = Figures { mutants: judged.len(), refused, ..Figures::default() };
        for one in judged {
            if one.seen == Seen::NotAtAll {
                figures.equivalent += usize::from(one.equivalent.is_some());
                figures.open += usize::from(one.is_open());
                continue;
            }
            *figures.seen.entry(one.seen).or_default() += 1;
            if one.seen == Seen::ByProperty {
                one.violated.iter().for_each(|one| *figures.properties.entry(one.property.clone()).or_default() += 1);
            }
        }
        figures
    }

    /// How many `ways` have seen.
    #[must_use]
    pub fn by(&self, ways: &[Seen]) -> usize {
        ways.iter().filter_map(|way| self.seen.get(way)).sum()
    }

    /// How many the simulator has seen, in whatever way.
    #[must_use]
    pub fn by_simulator(&self) -> usize {
        self.by(&[Seen::ByProperty, Seen::ByPanic, Seen::ByFailedStart, Seen::ByHang])
    }

    /// For people.
    #[must_use]
    pub fn describe(&self) -> String {
        let judged = self.mutants - self.equivalent;
        let share = |count: usize| format!("{count} ({:.1} %)", 100.0 * count as f64 / judged.max(1) as f64);
        let mut text = format!(
            "{} mutants, {} equivalent, {} drawn and refused by the compiler; of the other {judged}:\n",
            self.mutants, self.equivalent, self.refused
        );
        let _ = writeln!(text, "  seen by the simulator  {}", share(self.by_simulator()));
        for (way, what) in [
            (Seen::ByProperty, "by a property"),
            (Seen::ByPanic, "by a panic"),
            (Seen::ByFailedStart, "by a failed start"),
            (Seen::ByHang, "by a hang"),
        ] {
            let _ = writeln!(text, "    {what:<20} {}", share(self.by(&[way])));
        }
        let _ = writeln!(text, "  by unit tests alone    {}", share(self.by(&[Seen::ByTests])));
        let _ = writeln!(text, "  open                   {}", share(self.open));
        let mut properties: Vec<(&String, &usize)> = self.properties.iter().collect();
        properties.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let properties: Vec<String> =
            properties.iter().map(|(property, count)| format!("{property} {count}")).collect();
        let _ = writeln!(text, "properties: {}", properties.join(", "));
        text
    }
}

/// One mutant in one line.
#[must_use]
pub fn line(judged: &Judged) -> String {
    let name = judged.class.clone().unwrap_or_else(|| judged.id.to_string());
    let place = format!("{}:{}", judged.file, judged.line);
    let at = judged.at.as_ref().map_or(String::new(), |(seed, scenario)| format!(" in seed {seed} of {scenario}"));
    let properties: Vec<&str> = judged.violated.iter().map(|one| one.property.as_str()).collect();
    let properties = properties.join(", ");
    let reached = match judged.seeds {
        0 => "no seed was asked".to_owned(),
        seeds => format!("reached in {} of {seeds}", judged.reached),
    };
    let fate = match (judged.seen, &judged.equivalent) {
        (Seen::ByProperty, _) => format!("{properties}{at}"),
        (Seen::ByPanic, _) => format!("panic{at}"),
        (Seen::ByFailedStart, _) => format!("failed start{at}"),
        (Seen::ByHang, _) => format!("hang{at}"),
        (Seen::ByTests, _) => format!("unit tests alone; {reached}"),
        (Seen::NotAtAll, Some(_)) => format!("equivalent; {reached}"),
        (Seen::NotAtAll, None) if judged.class.is_some() && !properties.is_empty() => {
            format!("SURVIVED, although {properties} failed; {reached}")
        }
        (Seen::NotAtAll, None) => format!("SURVIVED; {reached}"),
    };
    format!("{name:>5}  {place:<44} {:<18} {fate}", judged.operator)
}

/// One mutant as a difference.
#[must_use]
pub fn difference(judged: &Judged, seed: u64) -> String {
    let mut text =
        format!("{}\n  {}:{}, in {}\n", line(judged).trim_start(), judged.file, judged.line, judged.function);
    for (sign, side) in [('-', &judged.original), ('+', &judged.mutated)] {
        side.lines().for_each(|line| text += &format!("  {sign} {line}\n"));
    }
    if let Some(argument) = &judged.equivalent {
        let _ = writeln!(text, "  equivalent: {argument}");
    }
    for one in &judged.violated {
        let _ = writeln!(text, "  {} at {:.3} s: {}", one.property, one.time_ns as f64 / 1e9, one.evidence);
    }
    let _ = writeln!(text, "  cargo sim mutants --seed {seed} --only {}", judged.id);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Violated;

    fn judged(id: u32, seen: Seen, equivalent: Option<&str>) -> Judged {
        let violated = Violated { property: "duplicate".to_owned(), evidence: "twice".to_owned(), time_ns: 1 };
        Judged {
            id,
            class: None,
            file: "src/log/read.rs".to_owned(),
            line: 9,
            function: "Log::read".to_owned(),
            operator: "comparison".to_owned(),
            original: "a < b".to_owned(),
            mutated: "a <= b".to_owned(),
            seen,
            violated: if seen == Seen::ByProperty { vec![violated] } else { Vec::new() },
            at: None,
            seeds: 100,
            reached: 3,
            equivalent: equivalent.map(str::to_owned),
        }
    }

    #[test]
    fn shares_are_of_the_mutants_that_are_not_equivalent() {
        let all = [
            judged(1, Seen::ByProperty, None),
            judged(2, Seen::ByPanic, None),
            judged(3, Seen::ByTests, None),
            judged(4, Seen::NotAtAll, None),
            judged(5, Seen::NotAtAll, Some("because")),
        ];
        let figures = Figures::of(&all, 2);
        assert_eq!((figures.by_simulator(), figures.equivalent, figures.open), (2, 1, 1));
        let text = figures.describe();
        assert!(text.contains("by the simulator  2 (50.0 %)") && text.contains("duplicate 1"), "{text}");
    }

    #[test]
    fn a_survivor_is_shown_as_a_difference_with_the_command_that_judges_it_again() {
        let text = difference(&judged(17, Seen::NotAtAll, None), 5);
        let expected =
            "  src/log/read.rs:9, in Log::read\n  - a < b\n  + a <= b\n  cargo sim mutants --seed 5 --only 17\n";
        assert!(text.contains("SURVIVED; reached in 3 of 100") && text.ends_with(expected), "{text}");
    }
}
