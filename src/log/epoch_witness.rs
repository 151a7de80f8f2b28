//! Which of two is damaged where a batch and the checkpoint of leader epochs disagree below the durable point, where
//! both were synced. A batch's epoch is not under its checksum, since the leader sets it (Kafka's format), so that
//! rot in it shows nowhere else: a replica whose last batch has an epoch that never was finds that it diverges from
//! its leader, and would stay away from it for good (`swarm` seed 1361).
//!
//! Of an epoch that the checkpoint names and some batches confirm, a batch that contradicts it is damaged. One that
//! no batch confirms is the checkpoint's mistake, and so is a border between two of its epochs that all batches up to
//! another offset have elsewhere (`swarm` seed 26): the checkpoint is made anew.
//!
//! What lies before the log's start vouches for nothing: after a log was begun anew at a later offset, a power cut may
//! bring back the files of before, each as of another time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::LogError;
use super::leader_epochs::LeaderEpochs;
use crate::base::batch_header::BatchHeader;
use crate::base::ids::LeaderEpoch;

/// A checkpoint that was contradicted, while all batches are read again, in order.
#[derive(Debug)]
pub(super) struct EpochWitness {
    checkpoint: LeaderEpochs,
    /// The offsets whose batches were synced: from the log's start up to the recovery point.
    synced: Range<i64>,
    heard: BTreeMap<LeaderEpoch, Heard>,
}

/// A batch's segment, its position there and its first offset.
type Place = (PathBuf, u64, i64);

/// What the batches say of one epoch of the checkpoint.
#[derive(Debug, Default)]
struct Heard {
    is_confirmed: bool,
    /// The first batch that contradicts it, and none of those at its borders.
    contradicted: Option<Place>,
    /// The first of the latest batches, which are all of the next epoch.
    of_next: Option<Place>,
}

impl EpochWitness {
    pub(super) fn new(checkpoint: LeaderEpochs, synced: Range<i64>) -> Self {
        EpochWitness { checkpoint, synced, heard: BTreeMap::new() }
    }

    /// Hears a batch at `position` of the segment at `path`.
    pub(super) fn hear(&mut self, header: &BatchHeader, path: &Path, position: u64) {
        if !self.synced.contains(&header.base_offset) {
            return;
        }
        let Some(epoch) = self.checkpoint.epoch_at(header.base_offset) else { return };
        let (before, after) = self.checkpoint.beside(epoch);
        let heard = self.heard.entry(epoch).or_default();
        let place = || (path.to_owned(), position, header.base_offset);
        if epoch == header.leader_epoch {
            heard.is_confirmed = true;
            // They stand between batches of this epoch, at no border.
            heard.contradicted = heard.contradicted.take().or(heard.of_next.take());
        } else if after == Some(header.leader_epoch) {
            heard.of_next.get_or_insert_with(place);
        } else if heard.is_confirmed || before != Some(header.leader_epoch) {
            heard.contradicted.get_or_insert_with(place);
        }
    }

    /// An error if a batch is damaged.
    pub(super) fn judge(self) -> Result<(), LogError> {
        let confirmed = self.heard.into_iter().filter(|(_, heard)| heard.is_confirmed);
        let damaged = confirmed.filter_map(|(epoch, heard)| Some((epoch, heard.contradicted?))).next();
        let Some((epoch, (path, position, offset))) = damaged else { return Ok(()) };
        let reason = format!("its leader epoch is not {epoch}, which the checkpoint and other batches have there");
        Err(LogError::Corrupt { path, position, offset, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_batches::Recipe;
    use super::*;
    use crate::base::batch_header::assign;

    /// The offset of the batch that is damaged: batch number n is [n, n + 1), of these epochs.
    fn damaged(checkpoint: &[(i32, i64)], batches: &[i32], recovery_point: i64) -> Option<i64> {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in checkpoint {
            epochs.assign(LeaderEpoch(*epoch), *start);
        }
        let mut witness = EpochWitness::new(epochs, 0..recovery_point);
        for (offset, epoch) in (0..).zip(batches) {
            let mut batch = Recipe::default().make();
            assign(&mut batch, offset, LeaderEpoch(*epoch));
            witness.hear(&BatchHeader::read(&batch).expect("it was just made"), Path::new("0.log"), 0);
        }
        witness.judge().err().and_then(|error| error.damaged_from())
    }

    #[test]
    fn what_lies_above_the_recovery_point_contradicts_no_checkpoint() {
        assert_eq!(damaged(&[(1, 0)], &[1, 9], 1), None);
        assert_eq!(damaged(&[(1, 0)], &[1, 9], 2), Some(1));
    }

    #[test]
    fn a_batch_among_those_of_its_epoch_that_has_another_is_damaged() {
        for other in [0, 1, 3, 4, 9] {
            assert_eq!(damaged(&[(1, 0), (2, 2), (3, 5)], &[1, 1, 2, other, 2, 3], 6), Some(3), "{other}");
        }
        assert_eq!(damaged(&[(1, 0), (2, 2)], &[1, 1, 2, 1], 4), Some(3), "the last one, of the epoch before");
        assert_eq!(damaged(&[(1, 0), (2, 2)], &[1, 0, 2, 2], 4), Some(1), "of no epoch beside its own");
    }

    #[test]
    fn a_border_that_all_batches_have_elsewhere_is_the_checkpoints_mistake() {
        let batches = [1, 1, 2, 2, 2];
        assert_eq!(damaged(&[(1, 0), (2, 4)], &batches, 5), None, "too late");
        assert_eq!(damaged(&[(1, 0), (2, 9)], &batches, 5), None, "beyond the end");
        assert_eq!(damaged(&[(1, 0), (2, 1)], &batches, 5), None, "too early");
        assert_eq!(damaged(&[(1, 0), (3, 2)], &batches, 5), None, "of an epoch that no batch has");
    }
}
