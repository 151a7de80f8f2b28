//! `Random`: one stream per purpose. That one stream's draws depend on nothing else can only be
//! shown where a seed can be given, and is shown there.

use std::time::Duration;

use wyrdlog::runtime::Random;

use super::{World, on_one};

fn draws(random: &impl Random, purpose: &'static str, count: usize) -> Vec<u64> {
    (0..count).map(|_| random.random_u64(purpose)).collect()
}

pub fn streams_differ_by_purpose<W: World>() {
    on_one::<W, _>(async |node| {
        assert_ne!(draws(&node, "election", 4), draws(&node, "jitter", 4));
    });
}

pub fn clones_share_their_streams<W: World>() {
    on_one::<W, _>(async |node| {
        let before = draws(&node, "election", 4);
        assert_ne!(draws(&node.clone(), "election", 4), before, "a clone started the stream again");
    });
}

pub fn nodes_draw_different_values<W: World>() {
    W::run(2, async |nodes| {
        let [first, second] = [0, 1].map(|index| draws(&nodes[index].runtime, "election", 4));
        assert_ne!(first, second);
    });
}

/// Of 4096 fair draws a bit is set 2048 times, give or take 32 (one standard deviation); ten of
/// those pass by once in 10^22 runs.
pub fn every_bit_is_drawn_about_half_the_time<W: World>() {
    on_one::<W, _>(async |node| {
        let drawn = draws(&node, "bits", 4096);
        for bit in 0..u64::BITS {
            let set = drawn.iter().filter(|value| **value & (1 << bit) != 0).count();
            assert!((2048 - 320..=2048 + 320).contains(&set), "bit {bit} was set {set} times of 4096");
        }
    });
}

pub fn bounded_draws_keep_their_bound_and_reach_it<W: World>() {
    on_one::<W, _>(async |node| {
        assert_eq!(node.random_below("none", 0), 0);
        assert_eq!(node.random_below("one", 1), 0);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[usize::try_from(node.random_below("five", 5)).expect("below five")] = true;
        }
        assert_eq!(seen, [true; 5]);
    });
}

pub fn durations_stay_in_their_range<W: World>() {
    on_one::<W, _>(async |node| {
        let (shortest, longest) = (Duration::from_millis(150), Duration::from_millis(300));
        for _ in 0..1000 {
            let drawn = node.random_duration("election", shortest, longest);
            assert!((shortest..=longest).contains(&drawn), "{drawn:?}");
        }
        assert_eq!(node.random_duration("fixed", longest, longest), longest);
        assert_eq!(node.random_duration("reversed", longest, shortest), longest);
    });
}
