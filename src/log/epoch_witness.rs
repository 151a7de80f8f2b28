//! Which of two is damaged where a batch and the checkpoint of leader epochs disagree below the durable point, where
//! both were synced. A batch's epoch is not under its checksum, since the leader sets it (Kafka's format), so that
//! rot in it shows nowhere else: a replica whose last batch has an epoch that never was finds that it diverges from
//! its leader, and would stay away from it for good (`swarm` seed 1361).
//!
//! Of an epoch that the checkpoint names and some batches confirm, a batch that contradicts it is damaged. One that
//! no batch confirms is the checkpoint's mistake, and the checkpoint is made anew.
//!
//! What lies before the log's start vouches for nothing: after a log was begun anew at a later offset, a power cut may
//! bring back the files of before, each as of another time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::LogError;
use super::leader_epochs::LeaderEpochs;
use crate::base::batch_header::BatchHeader;
use crate::base::ids::LeaderEpoch;

/// A checkpoint that was contradicted, while all batches are read again.
#[derive(Debug)]
pub(super) struct EpochWitness {
    checkpoint: LeaderEpochs,
    /// The offsets whose batches were synced: from the log's start up to the recovery point.
    synced: Range<i64>,
    confirmed: BTreeSet<LeaderEpoch>,
    /// The first batch that is of another epoch.
    contradicted: BTreeMap<LeaderEpoch, (PathBuf, u64, i64)>,
}

impl EpochWitness {
    pub(super) fn new(checkpoint: LeaderEpochs, synced: Range<i64>) -> Self {
        EpochWitness { checkpoint, synced, confirmed: BTreeSet::new(), contradicted: BTreeMap::new() }
    }

    /// Hears a batch at `position` of the segment at `path`.
    pub(super) fn hear(&mut self, header: &BatchHeader, path: &Path, position: u64) {
        if !self.synced.contains(&header.base_offset) {
            return;
        }
        let Some(epoch) = self.checkpoint.epoch_at(header.base_offset) else { return };
        if epoch == header.leader_epoch {
            self.confirmed.insert(epoch);
        } else {
            let place = || (path.to_owned(), position, header.base_offset);
            self.contradicted.entry(epoch).or_insert_with(place);
        }
    }

    /// An error if a batch is damaged.
    pub(super) fn judge(self) -> Result<(), LogError> {
        let damaged = self.contradicted.into_iter().find(|(epoch, _)| self.confirmed.contains(epoch));
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

    #[test]
    fn what_lies_above_the_recovery_point_contradicts_no_checkpoint() {
        for (recovery_point, is_damage) in [(1, false), (2, true)] {
            let mut checkpoint = LeaderEpochs::default();
            checkpoint.assign(LeaderEpoch(1), 0);
            let mut witness = EpochWitness::new(checkpoint, 0..recovery_point);
            for (offset, epoch) in [(0, 1), (1, 9)] {
                let mut batch = Recipe::default().make();
                assign(&mut batch, offset, LeaderEpoch(epoch));
                witness.hear(&BatchHeader::read(&batch).expect("it was just made"), Path::new("0.log"), 0);
            }
            assert_eq!(witness.judge().is_err(), is_damage, "with a recovery point of {recovery_point}");
        }
    }
}
