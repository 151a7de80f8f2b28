//! Which mutants are made: lines are drawn by a seed, evenly over all lines of code of the modules,
//! and for each the nearest site of its file that was not drawn before.

use std::collections::BTreeSet;

use crate::schemata::cross;
use crate::sites::{Offer, Site};

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0; a bias of 2^-40 and less is no matter here.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// A stream of mutants.
pub struct Draw<'o> {
    random: Random,
    offers: &'o [Offer],
    /// Every line: its file's place among the offers, and its number.
    lines: Vec<(usize, usize)>,
    /// Sites that were given already.
    given: BTreeSet<(usize, usize)>,
}

impl<'o> Draw<'o> {
    /// The stream of `seed` over `offers`.
    #[must_use]
    pub fn new(seed: u64, offers: &'o [Offer]) -> Self {
        let of_file =
            |(file, offer): (usize, &Offer)| offer.lines.iter().map(move |line| (file, *line)).collect::<Vec<_>>();
        let lines = offers.iter().enumerate().flat_map(of_file).collect();
        Draw { random: Random(seed), offers, lines, given: BTreeSet::new() }
    }

    /// The next mutant that crosses none of `taken`; none if nothing is left.
    pub fn next(&mut self, taken: &[Site]) -> Option<&'o Site> {
        let sites: usize = self.offers.iter().map(|offer| offer.sites.len()).sum();
        // A line whose file has nothing left is drawn in vain; this many are not all of that kind.
        for _ in 0..64 * self.lines.len().max(1) {
            if self.given.len() >= sites {
                return None;
            }
            let (file, line) = self.lines[self.random.below(self.lines.len())];
            let Some(found) = self.nearest(file, line, taken) else { continue };
            self.given.insert((file, found));
            return Some(&self.offers[file].sites[found]);
        }
        None
    }

    fn nearest(&mut self, file: usize, line: usize, taken: &[Site]) -> Option<usize> {
        let offer = &self.offers[file];
        let is_free = |(index, site): &(usize, &Site)| {
            let crosses = |other: &Site| other.file == site.file && cross(&other.range, &site.range);
            !self.given.contains(&(file, *index)) && !taken.iter().any(crosses)
        };
        let free: Vec<(usize, usize)> = offer
            .sites
            .iter()
            .enumerate()
            .filter(is_free)
            .map(|(index, site)| (site.line.abs_diff(line), index))
            .collect();
        let nearest = free.iter().map(|(distance, _)| *distance).min()?;
        let at_hand: Vec<usize> =
            free.iter().filter(|(distance, _)| *distance == nearest).map(|(_, index)| *index).collect();
        Some(at_hand[self.random.below(at_hand.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sites::Source;

    fn offers() -> Vec<Offer> {
        let text = "fn f(a: u8, b: u8) -> bool {\n    g();\n    h();\n    a < b\n}\n";
        vec![Source { path: "src/x.rs".to_owned(), text: text.to_owned() }.offer().expect("it is Rust")]
    }

    #[test]
    fn a_seed_draws_the_same_mutants_each_time_and_every_one_once() {
        let offers = offers();
        let all = |seed| {
            let mut draw = Draw::new(seed, &offers);
            std::iter::from_fn(|| draw.next(&[]).cloned()).collect::<Vec<Site>>()
        };
        assert_eq!(all(3), all(3));
        assert_ne!(all(3), all(4));
        let mut texts: Vec<String> = all(3).into_iter().map(|site| site.mutated).collect();
        texts.sort();
        assert_eq!(texts, ["", "", "a <= b", "a >= b"]);
    }
}
