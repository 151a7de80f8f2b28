//! A 64-bit hash that is the same on every machine and in every build, for comparing the states of
//! servers. Not cryptographic: it finds mistakes, not forgeries.

/// An odd constant with no structure: the golden ratio's fraction.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash over a sequence of words and byte strings.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

impl Digest {
    /// An empty hash; `purpose` keeps hashes of different things apart.
    #[must_use]
    pub const fn new(purpose: u64) -> Self {
        Digest(purpose)
    }

    /// With `word` appended.
    #[must_use]
    pub const fn word(self, word: u64) -> Self {
        Digest((self.0 ^ word).wrapping_mul(MULTIPLIER).rotate_left(29))
    }

    /// With a signed word appended.
    #[must_use]
    pub const fn signed(self, word: i64) -> Self {
        self.word(word as u64)
    }

    /// With `bytes` and their length appended.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut digest = self.word(bytes.len() as u64);
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            digest = digest.word(u64::from_le_bytes(word));
        }
        digest
    }

    /// The value, with its bits spread (the finalizer of SplitMix64), so that a sum of values
    /// is not easily the same for two sets.
    #[must_use]
    pub const fn value(self) -> u64 {
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_never_changes_between_builds() {
        let digest = Digest::new(1).word(2).signed(-3).bytes(b"/zookeeper/config");
        assert_eq!(digest.value(), 17_459_153_946_642_979_397);
    }

    #[test]
    fn strings_do_not_run_into_each_other() {
        let digest = |a: &[u8], b: &[u8]| Digest::new(0).bytes(a).bytes(b).value();
        assert_ne!(digest(b"ab", b"c"), digest(b"a", b"bc"));
        assert_ne!(digest(b"a\0", b""), digest(b"a", b""));
    }
}
