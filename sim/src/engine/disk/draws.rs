//! What a disk draws, each draw a function of a key: of the file that it is about and its ordinal in that
//! file, of the place that is struck, of the power cut. So one more write, fault or cut changes no draw of
//! another file, place or cut.

use std::collections::BTreeMap;

use super::super::hash::Mixer;
use super::super::random::Stream;

/// The name of a file for draws: the name under which it was made, and how many were made under it before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct FileKey(u64);

/// The draws of one disk.
#[derive(Debug)]
pub(in super::super) struct DiskDraws {
    seed: u64,
    node: u64,
    /// How many files were made under a name.
    made: BTreeMap<String, u64>,
    /// How many operations there were on each directory.
    directories: BTreeMap<String, u64>,
    armed: u64,
}

impl DiskDraws {
    pub fn new(seed: u64, node: u64) -> Self {
        DiskDraws { seed, node, made: BTreeMap::new(), directories: BTreeMap::new(), armed: 0 }
    }

    fn mixed(&self, purpose: u64, key: u64, ordinal: u64) -> u64 {
        let mut mixer = Mixer::new(self.seed);
        mixer.fold_pair(self.node, purpose);
        mixer.fold_pair(key, ordinal);
        mixer.fold(purpose);
        mixer.value() as u64
    }

    /// The key of a file that is made at `path`.
    pub fn make_file(&mut self, path: &str) -> FileKey {
        let made = self.made.entry(path.to_owned()).or_default();
        *made += 1;
        let mut mixer = Mixer::new(*made);
        mixer.fold_bytes(path.as_bytes());
        FileKey(mixer.value() as u64)
    }

    /// The number that operation `ordinal` on `file` draws.
    pub fn of_file(&self, file: FileKey, ordinal: u64) -> u64 {
        self.mixed(1, file.0, ordinal)
    }

    /// The number that the next operation on `directory` draws.
    pub fn of_directory(&mut self, directory: &str) -> u64 {
        let ordinal = self.directories.entry(directory.to_owned()).or_default();
        *ordinal += 1;
        let ordinal = *ordinal;
        self.mixed(2, Mixer::of_text(directory), ordinal)
    }

    /// What strikes a range of `file` draws from this.
    pub fn of_place(&self, file: FileKey, offset: u64, len: usize) -> Stream {
        Stream::new(self.seed, "disk place", self.node, self.mixed(3, file.0, offset), &len.to_string())
    }

    /// What the power cut `key` leaves of `file` is drawn from this.
    pub fn of_cut(&self, key: u64, file: FileKey) -> Stream {
        Stream::new(self.seed, "disk cut", self.node, self.mixed(4, key, file.0), "bytes")
    }

    /// What the power cut `key` leaves of the names is drawn from this.
    pub fn of_names(&self, key: u64) -> Stream {
        Stream::new(self.seed, "disk cut", self.node, key, "names")
    }

    /// When the next fault that is armed strikes is drawn from this.
    pub fn of_armed(&mut self) -> Stream {
        self.armed += 1;
        Stream::new(self.seed, "disk fault", self.node, self.armed, "")
    }
}

/// `number`, any number, brought into `0..=most`.
pub(super) fn up_to(number: u64, most: u64) -> u64 {
    ((u128::from(number) * (u128::from(most) + 1)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_draws_by_itself() {
        let (mut plain, mut disturbed) = (DiskDraws::new(1, 2), DiskDraws::new(1, 2));
        let other = disturbed.make_file("other");
        let _ = (0..9).map(|ordinal| disturbed.of_file(other, ordinal)).max();
        let draws = |draws: &mut DiskDraws| {
            let file = draws.make_file("log");
            [0, 1, 2].map(|ordinal| draws.of_file(file, ordinal))
        };
        assert_eq!(draws(&mut plain), draws(&mut disturbed));
        // A second file of the same name draws otherwise.
        assert_ne!(draws(&mut plain), {
            let file = DiskDraws::new(1, 2).make_file("log");
            [0, 1, 2].map(|ordinal| plain.of_file(file, ordinal))
        });
    }

    #[test]
    fn numbers_are_spread_evenly() {
        let mut draws = DiskDraws::new(1, 2);
        let file = draws.make_file("log");
        let below = (0..10_000).filter(|ordinal| up_to(draws.of_file(file, *ordinal), 999_999) < 250_000).count();
        assert!((2_300..2_700).contains(&below), "{below}");
        assert_eq!((up_to(u64::MAX, 7), up_to(0, 7), up_to(u64::MAX, 0)), (7, 0, 0));
    }
}
