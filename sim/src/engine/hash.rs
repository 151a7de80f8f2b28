//! The running hash of a schedule: a fast keyless 128-bit mixer, the checkpoints that let the
//! first divergence of two runs be found by bisection, and an optional window of plain entries.
//!
//! What is folded in: the time, node and kind of every step, the values that nodes drew, payload
//! bytes, disk writes, and, on demand, the disks. What observers and drivers do is not.

use std::ops::Range;

const LEFT: u64 = 0x9E37_79B9_7F4A_7C15;
const RIGHT: u64 = 0xD6E8_FEB8_6659_FD93;

/// The state of a hash. Not for keys that an attacker chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mixer(u64, u64);

fn folded_multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// One step of a lane over sixteen bytes.
#[inline]
fn mix(lane: u64, first: u64, second: u64) -> u64 {
    folded_multiply(lane ^ first, second ^ RIGHT).wrapping_add(lane.rotate_left(29))
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    let mut padded = [0; 8];
    padded[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(padded)
}

fn fold_blocks(lane: u64, blocks: &[[u8; 64]]) -> u64 {
    let mut lanes = [lane, !lane, lane ^ LEFT, lane ^ RIGHT];
    for block in blocks {
        for (lane, chunk) in lanes.iter_mut().zip(block.as_chunks::<16>().0) {
            *lane = mix(*lane, word(&chunk[..8]), word(&chunk[8..]));
        }
    }
    mix(mix(lanes[0], lanes[1], lanes[2]), lanes[3], lanes[0])
}

impl Mixer {
    pub fn new(seed: u64) -> Self {
        Mixer(seed ^ LEFT, seed.rotate_left(32) ^ RIGHT)
    }

    #[inline]
    pub fn fold(&mut self, value: u64) {
        let mixed = folded_multiply(self.0 ^ value, RIGHT);
        self.1 = self.1.rotate_left(23) ^ value.wrapping_mul(LEFT);
        self.0 = mixed.wrapping_add(self.1);
    }

    /// Folds two values at the price of one.
    #[inline]
    pub fn fold_pair(&mut self, first: u64, second: u64) {
        let mixed = folded_multiply(self.0 ^ first, self.1 ^ second ^ RIGHT);
        self.1 = self.1.rotate_left(23) ^ first.wrapping_mul(LEFT) ^ second.wrapping_mul(RIGHT);
        self.0 = mixed.wrapping_add(self.1);
    }

    /// Folds a length and the bytes: sixty-four at a time in four lanes, which do not wait for each
    /// other, then sixteen at a time.
    pub fn fold_bytes(&mut self, bytes: &[u8]) {
        let mut lane = bytes.len() as u64 ^ LEFT;
        let (blocks, rest) = bytes.as_chunks::<64>();
        if !blocks.is_empty() {
            lane = fold_blocks(lane, blocks);
        }
        let (chunks, rest) = rest.as_chunks::<16>();
        for chunk in chunks {
            lane = mix(lane, word(&chunk[..8]), word(&chunk[8..]));
        }
        if rest.len() > 8 {
            lane = mix(lane, word(&rest[..8]), word(&rest[8..]));
        } else if !rest.is_empty() {
            lane = mix(lane, word(rest), 0);
        }
        self.fold(lane);
    }

    pub fn value(self) -> u128 {
        let low = folded_multiply(self.0 ^ RIGHT, self.1 ^ LEFT) ^ self.0;
        let high = folded_multiply(self.1 ^ low, LEFT) ^ self.0.rotate_left(17);
        (u128::from(high) << 64) | u128::from(low)
    }

    /// A 64-bit hash of `text`.
    pub fn of_text(text: &str) -> u64 {
        let mut mixer = Mixer::new(0);
        mixer.fold_bytes(text.as_bytes());
        mixer.value() as u64
    }
}

/// What a step was: a name, and what of it is folded in, worked out once.
#[derive(Clone, Copy, Debug)]
pub(super) struct What {
    pub name: &'static str,
    tag: u64,
}

impl What {
    pub const fn new(name: &'static str) -> Self {
        // FNV-1a: it can be worked out when the engine is compiled.
        let (bytes, mut tag, mut at) = (name.as_bytes(), 0xCBF2_9CE4_8422_2325_u64, 0);
        while at < bytes.len() {
            tag = (tag ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01B3);
            at += 1;
        }
        What { name, tag }
    }
}

impl From<&'static str> for What {
    fn from(name: &'static str) -> Self {
        What::new(name)
    }
}

/// The hash after a number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many steps had been taken.
    pub step: u64,
    /// The simulated time, in nanoseconds.
    pub time_ns: u64,
    /// The schedule's hash.
    pub hash: u128,
}

/// One step in the window that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEntry {
    /// Its number.
    pub step: u64,
    /// The simulated time, in nanoseconds.
    pub time_ns: u64,
    /// The index of the node.
    pub node: u32,
    /// What it was: the name of the task that was polled, or the kind of event.
    pub what: &'static str,
    /// The hash after its announcement, before its consequences.
    pub hash: u128,
}

/// How many checkpoints are kept. When there are more, every other one is dropped.
pub const CHECKPOINTS_MAX: usize = 1024;

/// A schedule's hash with its checkpoints.
#[derive(Debug)]
pub(super) struct Trace {
    pub mixer: Mixer,
    step: u64,
    interval: u64,
    next_checkpoint: u64,
    /// The next step at which a checkpoint is due or the window is open.
    next_special: u64,
    checkpoints: Vec<Checkpoint>,
    window: Range<u64>,
    entries: Vec<TraceEntry>,
}

impl Trace {
    pub fn new(seed: u64, window: Option<Range<u64>>) -> Self {
        Trace {
            mixer: Mixer::new(seed),
            step: 0,
            interval: 64,
            next_checkpoint: 64,
            next_special: 0,
            checkpoints: Vec::new(),
            window: window.unwrap_or(0..0),
            entries: Vec::new(),
        }
    }

    /// Counts and folds in one step.
    #[inline]
    pub fn step(&mut self, time_ns: u64, node: u32, what: impl Into<What>, detail: u64) {
        let what = what.into();
        self.step += 1;
        self.mixer.fold_pair(time_ns, ((u64::from(node) << 40) ^ detail).wrapping_add(what.tag));
        if self.step >= self.next_special {
            self.special(time_ns, node, what.name);
        }
    }

    /// A step after which there may be more to do than to fold it in.
    #[cold]
    fn special(&mut self, time_ns: u64, node: u32, what: &'static str) {
        if self.step >= self.next_checkpoint {
            self.checkpoint(time_ns);
        }
        if self.window.contains(&self.step) {
            let hash = self.mixer.value();
            self.entries.push(TraceEntry { step: self.step, time_ns, node, what, hash });
        }
        self.next_special = self.next_checkpoint;
        if self.step < self.window.end {
            self.next_special = self.next_special.min(self.window.start.max(self.step + 1));
        }
    }

    fn checkpoint(&mut self, time_ns: u64) {
        if self.checkpoints.len() == CHECKPOINTS_MAX {
            self.interval *= 2;
            let interval = self.interval;
            self.checkpoints.retain(|checkpoint| checkpoint.step % interval == 0);
        }
        if self.step.is_multiple_of(self.interval) {
            self.checkpoints.push(Checkpoint { step: self.step, time_ns, hash: self.mixer.value() });
        }
        self.next_checkpoint = (self.step / self.interval + 1) * self.interval;
    }

    pub fn steps(&self) -> u64 {
        self.step
    }

    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    pub fn entries(&self) -> &[TraceEntry] {
        &self.entries
    }
}

/// The steps among which two runs first differ, by their checkpoints: from the last common one
/// that agrees to the first that does not. None if all common ones agree. A window of
/// [`TraceEntry`] over that range, in two more runs, names the step.
#[must_use]
pub fn first_divergence(left: &[Checkpoint], right: &[Checkpoint]) -> Option<Range<u64>> {
    let common = |of: &Checkpoint| right.binary_search_by_key(&of.step, |checkpoint| checkpoint.step).ok();
    let pairs: Vec<_> = left.iter().filter_map(|of| common(of).map(|at| (of, &right[at]))).collect();
    let first_bad = pairs.partition_point(|(a, b)| a.hash == b.hash);
    let bad = pairs.get(first_bad)?;
    let good = first_bad.checked_sub(1).map_or(0, |at| pairs[at].0.step);
    Some(good + 1..bad.0.step + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_and_any_length_changes_the_hash() {
        let hash = |bytes: &[u8]| {
            let mut mixer = Mixer::new(1);
            mixer.fold_bytes(bytes);
            mixer.value()
        };
        for length in [1usize, 7, 8, 9, 15, 16, 17, 31, 40, 63, 64, 65, 100, 256] {
            let good = vec![0u8; length];
            assert_ne!(hash(&good), hash(&good[1..]), "length {length}");
            for bit in 0..length * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(hash(&good), hash(&bad), "bit {bit} of {length} bytes");
            }
        }
    }

    #[test]
    fn the_order_of_what_is_folded_in_matters() {
        let (mut one, mut other) = (Mixer::new(1), Mixer::new(1));
        [1, 2].into_iter().for_each(|value| one.fold(value));
        [2, 1].into_iter().for_each(|value| other.fold(value));
        assert_ne!(one.value(), other.value());
    }

    #[test]
    fn in_a_long_text_the_order_of_its_parts_matters() {
        let text: Vec<u8> = (0..128).collect();
        let hash = |bytes: &[u8]| {
            let mut mixer = Mixer::new(1);
            mixer.fold_bytes(bytes);
            mixer.value()
        };
        for from in (0..128).step_by(8) {
            for to in (from + 8..128).step_by(8) {
                let mut swapped = text.clone();
                (0..8).for_each(|at| swapped.swap(from + at, to + at));
                assert_ne!(hash(&text), hash(&swapped), "words at {from} and {to}");
            }
        }
    }

    #[test]
    fn each_part_of_a_step_changes_the_hash() {
        let hash = |time_ns, node, what: &'static str, detail| {
            let mut trace = Trace::new(7, None);
            trace.step(time_ns, node, what, detail);
            trace.mixer.value()
        };
        let all = [
            hash(1, 1, "arrival", 1),
            hash(2, 1, "arrival", 1),
            hash(1, 2, "arrival", 1),
            hash(1, 1, "arrivals of another kind", 1),
            hash(1, 1, "arrivals of a third kind", 1),
            hash(1, 1, "arrival", 2),
        ];
        for (at, value) in all.iter().enumerate() {
            assert!(!all[..at].contains(value), "part {at}");
        }
    }

    #[test]
    fn a_window_holds_its_steps_and_no_others() {
        for window in [0..3, 5..9, 60..70, 64..65, 1000..1001] {
            let mut trace = Trace::new(7, Some(window.clone()));
            (0..2000).for_each(|time_ns| trace.step(time_ns, 0, "x", 0));
            let steps: Vec<u64> = trace.entries().iter().map(|entry| entry.step).collect();
            let wanted: Vec<u64> = window.filter(|&step| step > 0).collect();
            assert_eq!(steps, wanted);
        }
    }

    #[test]
    fn the_first_divergence_is_bracketed_and_checkpoints_stay_bounded() {
        for divergence in [0u64, 100, 70_000, 999_999] {
            let run = |differ: bool| {
                let mut trace = Trace::new(7, None);
                (0..1_000_000u64).for_each(|step| trace.step(step, 0, "x", u64::from(differ && step == divergence)));
                trace
            };
            let (good, bad) = (run(false), run(true));
            assert!(good.checkpoints().len() <= CHECKPOINTS_MAX);
            if let Some(range) = first_divergence(good.checkpoints(), bad.checkpoints()) {
                assert!(range.contains(&(divergence + 1)), "{range:?} for {divergence}");
            } else {
                assert!(divergence + 1 > good.checkpoints().last().map_or(0, |last| last.step));
            }
        }
    }
}
