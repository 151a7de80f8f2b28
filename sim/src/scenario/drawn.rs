//! Numbers that a scenario fixes or leaves to the seed: `3`, `[1, 3, 5]`, or
//! `{ from = 500, to = 5000, scale = "logarithmic" }`.
//!
//! Each is drawn from a stream of its own, so that fixing one shifts no other. What was drawn is kept
//! with the plan: a sweep shows which part of every range it has used.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::draw::Draw;

/// A range is looked at in so many parts, or by powers of two.
const PARTS: u32 = 8;

/// A number, or how to draw one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, a list of numbers, or a table such as { from = 1, to = 7 }")]
pub enum Drawn {
    /// Always this.
    Fixed(u64),
    /// One of these; what stands there twice is drawn twice as often.
    OneOf(Vec<u64>),
    /// Any in a range.
    Between(Between),
}

/// A range of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// The least.
    pub from: u64,
    /// The most.
    pub to: u64,
    /// How it is drawn: `linear` or `logarithmic`.
    #[serde(default)]
    pub scale: Scale,
}

/// How a number of a range is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Each number with the same weight.
    #[default]
    Linear,
    /// Each power of two with the same weight.
    Logarithmic,
}

impl From<u32> for Drawn {
    fn from(number: u32) -> Self {
        Drawn::Fixed(u64::from(number))
    }
}

impl From<u64> for Drawn {
    fn from(number: u64) -> Self {
        Drawn::Fixed(number)
    }
}

impl Between {
    fn draw(self, draw: &mut Draw) -> u64 {
        match self.scale {
            Scale::Linear => draw.between(self.from, self.to),
            Scale::Logarithmic => {
                let (first, last) = self.octaves();
                let octave = draw.between(u64::from(first), u64::from(last)) as u32;
                let (from, to) = ((1 << octave) - 1, (2 << octave) - 2);
                draw.between(self.from.max(from), self.to.min(to))
            }
        }
    }

    /// The powers of two between which it lies; counted from 1, so that 0 has one.
    fn octaves(self) -> (u32, u32) {
        let octave = |number: u64| number.saturating_add(1).ilog2().min(62);
        (octave(self.from), octave(self.to))
    }

    fn part_of(self, number: u64) -> u32 {
        match self.scale {
            Scale::Linear => {
                let part = (number - self.from) * u64::from(self.parts()) / (self.to - self.from + 1);
                part as u32
            }
            Scale::Logarithmic => Between { to: number, ..self }.octaves().1 - self.octaves().0,
        }
    }

    /// Small ranges are looked at number by number.
    fn parts(self) -> u32 {
        match self.scale {
            Scale::Linear => u32::try_from(self.to - self.from + 1).unwrap_or(u32::MAX).min(PARTS),
            Scale::Logarithmic => self.octaves().1 - self.octaves().0 + 1,
        }
    }
}

impl Drawn {
    /// The number, if it is always the same.
    #[must_use]
    pub fn fixed(&self) -> Option<u64> {
        if let Drawn::Fixed(number) = self { Some(*number) } else { None }
    }

    /// The least and the most that it can be; none for an empty list or range.
    #[must_use]
    pub fn bounds(&self) -> Option<(u64, u64)> {
        match self {
            Drawn::Fixed(number) => Some((*number, *number)),
            Drawn::OneOf(numbers) => numbers.iter().min().copied().zip(numbers.iter().max().copied()),
            Drawn::Between(range) => (range.from <= range.to).then_some((range.from, range.to)),
        }
    }

    /// Whether everything that it can be is `fit`; never so for an empty list or range.
    pub(super) fn all(&self, fit: impl Fn(u64) -> bool) -> bool {
        match self {
            Drawn::Fixed(number) => fit(*number),
            Drawn::OneOf(numbers) => !numbers.is_empty() && numbers.iter().all(|number| fit(*number)),
            Drawn::Between(range) => range.from <= range.to && (range.from..=range.to).all(fit),
        }
    }

    /// Those of its numbers that are `most` or less, or `most` itself.
    fn up_to(&self, most: u64) -> Drawn {
        match self {
            Drawn::Fixed(number) => Drawn::Fixed(*number.min(&most)),
            Drawn::OneOf(numbers) => {
                let possible: Vec<u64> = numbers.iter().copied().filter(|number| *number <= most).collect();
                if possible.is_empty() { Drawn::Fixed(most) } else { Drawn::OneOf(possible) }
            }
            Drawn::Between(range) if range.from >= most => Drawn::Fixed(most),
            Drawn::Between(range) => Drawn::Between(Between { to: range.to.min(most), ..*range }),
        }
    }

    fn draw(&self, draw: &mut Draw) -> u64 {
        match self {
            Drawn::Fixed(number) => *number,
            Drawn::OneOf(numbers) => draw.pick(numbers).copied().unwrap_or(0),
            Drawn::Between(range) => range.draw(draw),
        }
    }

    /// In which part of its range `number` is, and of how many.
    fn part_of(&self, number: u64) -> (u32, u32) {
        match self {
            Drawn::Fixed(_) => (0, 1),
            Drawn::OneOf(numbers) => {
                let each: BTreeSet<u64> = numbers.iter().copied().collect();
                (each.range(..number).count() as u32, each.len() as u32)
            }
            Drawn::Between(range) if (range.from..=range.to).contains(&number) => {
                (range.part_of(number), range.parts())
            }
            Drawn::Between(range) => (0, range.parts()),
        }
    }
}

/// What was used of a parameter's range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The least number that was drawn.
    pub least: u64,
    /// The most.
    pub most: u64,
    /// The parts of the range of which one was drawn.
    pub parts: BTreeSet<u32>,
    /// How many parts there are.
    pub of: u32,
}

impl Used {
    /// Takes in what another seed used of it.
    pub fn add(&mut self, other: &Used) {
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
        self.parts.extend(&other.parts);
        self.of = self.of.max(other.of);
    }
}

/// What was used of each parameter that is drawn, by its name.
pub type Parameters = BTreeMap<String, Used>;

/// The draws of one seed, and a record of them.
#[derive(Clone, Debug)]
pub struct Draws {
    seed: u64,
    /// What was drawn.
    pub made: Parameters,
}

impl Draws {
    /// Those of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Draws { seed, made: Parameters::new() }
    }

    /// The number of the parameter `name`.
    pub fn number(&mut self, name: &str, of: &Drawn) -> u64 {
        self.number_up_to(name, of, u64::MAX)
    }

    /// The number of the parameter `name`, where it may be `most` at most.
    pub fn number_up_to(&mut self, name: &str, of: &Drawn, most: u64) -> u64 {
        let number = of.up_to(most).draw(&mut Draw::new(self.seed, name));
        if of.fixed().is_none() {
            let (part, of) = of.part_of(number);
            let used = Used { least: number, most: number, parts: BTreeSet::from([part]), of };
            match self.made.get_mut(name) {
                Some(known) => known.add(&used),
                None => drop(self.made.insert(name.to_owned(), used)),
            }
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64, scale: Scale) -> Drawn {
        Drawn::Between(Between { from, to, scale })
    }

    #[test]
    fn every_part_of_every_range_is_reached() {
        let all = [
            Drawn::OneOf(vec![1, 3, 3, 5]),
            range(1, 7, Scale::Linear),
            range(0, 100, Scale::Linear),
            range(1, 12, Scale::Logarithmic),
            range(0, 3, Scale::Logarithmic),
            range(500, 5_000, Scale::Logarithmic),
            range(8, 65_536, Scale::Logarithmic),
        ];
        for drawn in all {
            let mut used: Option<Used> = None;
            for seed in 0..1_000 {
                let mut draws = Draws::new(seed);
                let number = draws.number("x", &drawn);
                assert!(drawn.bounds().is_some_and(|(least, most)| (least..=most).contains(&number)), "{number}");
                let one = draws.made.remove("x").expect("it was drawn");
                match &mut used {
                    Some(used) => used.add(&one),
                    None => used = Some(one),
                }
            }
            let used = used.expect("a thousand draws");
            assert_eq!(used.parts.len(), used.of as usize, "{drawn:?}: {used:?}");
            assert!(used.of >= 2, "{drawn:?}: {used:?}");
        }
    }

    #[test]
    fn each_power_of_two_of_a_logarithmic_scale_is_drawn_alike() {
        let drawn = range(10, 10_000, Scale::Logarithmic);
        let numbers = (0..3_000).map(|seed| Draws::new(seed).number("x", &drawn));
        let small = numbers.filter(|number| *number < 127).count();
        assert!((950..1_250).contains(&small), "{small} of 3000 in the first four of eleven");
    }

    #[test]
    fn a_bound_leaves_a_draw_below_it() {
        for seed in 0..100 {
            assert!((1..=2).contains(&Draws::new(seed).number_up_to("x", &range(1, 5, Scale::Linear), 2)));
            assert_eq!(Draws::new(seed).number_up_to("x", &Drawn::OneOf(vec![3, 5]), 2), 2);
        }
    }

    #[test]
    fn a_number_a_list_and_a_range_are_read() {
        #[derive(Deserialize)]
        struct File {
            x: Drawn,
        }
        let read = |text: &str| toml::from_str::<File>(text).map(|file| file.x);
        assert_eq!(read("x = 3"), Ok(Drawn::Fixed(3)));
        assert_eq!(read("x = [1, 3]"), Ok(Drawn::OneOf(vec![1, 3])));
        assert_eq!(read("x = { from = 1, to = 7 }"), Ok(range(1, 7, Scale::Linear)));
        let error = read("x = \"many\"").expect_err("no number").to_string();
        assert!(error.contains("a list of numbers"), "{error}");
    }
}
