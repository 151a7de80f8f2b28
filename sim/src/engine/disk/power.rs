//! What a power cut leaves of a file: each write since the last sync is kept, lost or torn,
//! independently of the others.

use super::super::random::Stream;
use super::content::{Content, Redo};

/// What a device writes at once.
const SECTOR_BYTES: usize = 512;

/// What a power cut did to one node's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerLoss {
    /// Unsynced writes that survived.
    pub writes_kept: u64,
    /// Unsynced writes that are gone.
    pub writes_lost: u64,
    /// Unsynced writes of which a part survived.
    pub writes_torn: u64,
    /// Bytes of those writes that are gone.
    pub bytes_lost: u64,
    /// Creations, renames and removals that were taken back.
    pub names_rolled_back: u64,
    /// Files that are gone, or are back under another name.
    pub files_vanished: u64,
}

impl PowerLoss {
    /// Whether anything was lost: only then the fault took effect.
    #[must_use]
    pub fn took_effect(&self) -> bool {
        self.writes_lost + self.writes_torn + self.names_rolled_back > 0
    }
}

/// How one file fares: drawn first, so that all and nothing are both common.
#[derive(Clone, Copy)]
enum Mood {
    KeepAll,
    LoseAll,
    KeepSome { per_million: u32 },
}

fn mood(draws: &mut Stream) -> Mood {
    match draws.below(8) {
        0 => Mood::KeepAll,
        1 | 2 => Mood::LoseAll,
        choice => Mood::KeepSome { per_million: 150_000 * (choice as u32 - 2) },
    }
}

/// Decides what is left of `content`.
pub(super) fn cut(content: &mut Content, draws: &mut Stream, loss: &mut PowerLoss) {
    let mut bytes = content.durable();
    let visible_len = content.len();
    let mood = mood(draws);
    let mut is_tail_lost = false;
    for step in content.redo() {
        let is_kept = match mood {
            Mood::KeepAll => true,
            Mood::LoseAll => false,
            Mood::KeepSome { per_million } => draws.happens(per_million),
        };
        is_tail_lost = !is_kept;
        if is_kept {
            loss.writes_kept += 1;
            step.apply(&mut bytes);
            continue;
        }
        match step {
            Redo::Write { offset, bytes: data } if data.len() > 1 && draws.happens(300_000) => {
                loss.writes_torn += 1;
                loss.bytes_lost += tear(&mut bytes, offset, data, draws);
            }
            Redo::Write { bytes: data, .. } => {
                loss.writes_lost += 1;
                loss.bytes_lost += data.len() as u64;
            }
            Redo::Resize { .. } => loss.writes_lost += 1,
        }
    }
    // The length may have reached the medium before the bytes did.
    if is_tail_lost && bytes.len() < visible_len && draws.happens(250_000) {
        let start = bytes.len();
        bytes.resize(visible_len, 0);
        fill_some(&mut bytes[start..], draws);
    }
    content.become_durable(bytes);
}

/// A prefix of a write survives, up to a sector's boundary where it spans one. The rest is as it
/// was, or zeros, or garbage. Returns how many bytes were lost.
fn tear(bytes: &mut Vec<u8>, offset: usize, mut data: Vec<u8>, draws: &mut Stream) -> u64 {
    let first_boundary = (offset / SECTOR_BYTES + 1) * SECTOR_BYTES;
    let boundaries = (first_boundary..offset + data.len()).step_by(SECTOR_BYTES).count() as u64;
    let kept = match boundaries {
        0 => 1 + draws.below(data.len() as u64 - 1) as usize,
        _ => first_boundary + SECTOR_BYTES * draws.below(boundaries) as usize - offset,
    };
    let lost = data.len() - kept;
    if draws.happens(500_000) {
        data.truncate(kept);
    } else {
        data[kept..].fill(0);
        fill_some(&mut data[kept..], draws);
    }
    Redo::Write { offset, bytes: data }.apply(bytes);
    lost as u64
}

/// Leaves zeros, or puts garbage in their place.
fn fill_some(bytes: &mut [u8], draws: &mut Stream) {
    if draws.happens(500_000) {
        draws.fill(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io::IoSlice;

    fn after_cut(content: &Content, seed: u64) -> (Vec<u8>, PowerLoss) {
        let mut content = content.clone();
        let mut loss = PowerLoss::default();
        cut(&mut content, &mut Stream::new(seed, "test", 0, 0, ""), &mut loss);
        assert_eq!(content.unsynced_changes(), 0);
        (content.visible().to_vec(), loss)
    }

    #[test]
    fn each_unsynced_write_is_kept_lost_or_torn_independently() {
        let mut content = Content::default();
        content.write(0, 0, &[IoSlice::new(&[1; 1024])], usize::MAX);
        content.settle(content.sequence());
        content.write(0, 0, &[IoSlice::new(&[2; 4])], usize::MAX);
        content.write(0, 1024, &[IoSlice::new(&[3; 2048])], usize::MAX);
        content.write(0, 8, &[IoSlice::new(&[4; 4])], usize::MAX);
        let mut seen = BTreeSet::new();
        for seed in 0..500 {
            let (bytes, loss) = after_cut(&content, seed);
            assert_eq!(loss.writes_kept + loss.writes_lost + loss.writes_torn, 3);
            assert!(bytes[12..1024].iter().all(|&byte| byte == 1), "what was synced is there");
            let kept = (bytes[0] == 2, bytes.get(3071) == Some(&3), bytes[8] == 4);
            seen.insert(kept);
        }
        assert_eq!(seen.len(), 8, "every combination occurs: {seen:?}");
    }

    #[test]
    fn a_torn_write_ends_at_a_sector_and_the_rest_is_old_zeros_or_garbage() {
        let mut content = Content::default();
        content.write(0, 0, &[IoSlice::new(&[7; 4096])], usize::MAX);
        let mut shapes = BTreeSet::new();
        for seed in 0..500 {
            let (bytes, loss) = after_cut(&content, seed);
            if loss.writes_torn == 1 {
                let kept = bytes.iter().take_while(|&&byte| byte == 7).count();
                assert!(kept > 0 && (kept % 512 == 0 || bytes[kept..].iter().any(|&byte| byte != 0)), "{kept}");
                let rest = &bytes[kept - kept % 512..];
                shapes.insert(if rest.is_empty() {
                    0
                } else if rest.iter().all(|&byte| byte == 0) {
                    1
                } else {
                    2
                });
            }
        }
        assert_eq!(shapes, BTreeSet::from([0, 1, 2]));
    }

    #[test]
    fn a_file_without_unsynced_writes_is_left_alone() {
        let mut content = Content::default();
        content.write(0, 0, &[IoSlice::new(b"synced")], usize::MAX);
        content.settle(content.sequence());
        for seed in 0..50 {
            let (bytes, loss) = after_cut(&content, seed);
            assert_eq!((bytes.as_slice(), loss), (&b"synced"[..], PowerLoss::default()));
        }
    }
}
