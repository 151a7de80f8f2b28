//! The strata of a mixture: of each block of seeds every stratum has its share exactly, in an order
//! that differs from block to block.

use serde::{Deserialize, Serialize};

use super::{ClusterShape, Drawn, FaultMix, Phases, Workload};
use crate::draw::Draw;

/// The largest block of seeds: the sum of all shares.
const BLOCK_MAX: u64 = 1_000;

/// One shape of a mixture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stratum {
    /// Its name, which sweeps report.
    pub name: String,
    /// How many seeds it has of a block, whose size is the sum of all strata's shares.
    pub share: u32,
    /// The cluster.
    #[serde(default)]
    pub cluster: ClusterShape,
    /// What clients do; where absent, each seed draws it.
    #[serde(default)]
    pub workload: Option<Vec<Workload<Drawn>>>,
    /// The faults.
    #[serde(default)]
    pub faults: FaultMix,
    /// The phases.
    #[serde(default)]
    pub phases: Phases<Drawn>,
}

fn block_of(strata: &[Stratum]) -> u64 {
    strata.iter().map(|stratum| u64::from(stratum.share)).sum()
}

/// The stratum that `seed` is of; none if there are none.
pub(super) fn stratum_of(strata: &[Stratum], seed: u64) -> Option<&Stratum> {
    let size = block_of(strata);
    let block = seed.checked_div(size)?;
    let draw = &mut Draw::new(block, "strata");
    let mut places: Vec<usize> = Vec::new();
    for (at, stratum) in strata.iter().enumerate() {
        places.extend(std::iter::repeat_n(at, stratum.share as usize));
    }
    // Each place of the block takes one of those that are left.
    let place = (seed % size) as usize;
    for next in 0..=place {
        let taken = next + draw.below((places.len() - next) as u64) as usize;
        places.swap(next, taken);
    }
    strata.get(places[place])
}

/// What contradicts itself, and the remedy.
pub(super) fn contradiction(strata: &[Stratum]) -> Option<(String, String)> {
    if !(1..=BLOCK_MAX).contains(&block_of(strata)) {
        let message = format!("the shares of all strata come to {}", block_of(strata));
        return Some((message, format!("let them come to 1 at least and {BLOCK_MAX} at most")));
    }
    strata.iter().find_map(|stratum| {
        let (message, remedy) = stratum.cluster.contradiction()?;
        Some((format!("stratum {}: {message}", stratum.name), remedy))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn strata() -> Vec<Stratum> {
        let stratum = |(name, share): (&str, u32)| Stratum {
            name: name.to_owned(),
            share,
            cluster: ClusterShape::default(),
            workload: None,
            faults: FaultMix::default(),
            phases: Phases::default(),
        };
        [("a", 8), ("b", 5), ("c", 7)].map(stratum).to_vec()
    }

    #[test]
    fn every_block_of_seeds_has_each_stratum_s_share_in_an_order_of_its_own() {
        let strata = strata();
        let mut orders = std::collections::BTreeSet::new();
        for block in 0..50 {
            let names: Vec<&str> = (block * 20..(block + 1) * 20)
                .filter_map(|seed| stratum_of(&strata, seed).map(|stratum| stratum.name.as_str()))
                .collect();
            let mut shares: BTreeMap<&str, u32> = BTreeMap::new();
            names.iter().for_each(|name| *shares.entry(name).or_default() += 1);
            assert_eq!(shares, BTreeMap::from([("a", 8), ("b", 5), ("c", 7)]));
            orders.insert(names);
        }
        assert!(orders.len() > 45, "{} orders of 50 blocks", orders.len());
    }

    #[test]
    fn without_strata_a_seed_is_of_none() {
        assert_eq!(stratum_of(&[], 7), None);
    }
}
