//! What a follower makes of the records in a fetch's answer: verified pieces that continue its log,
//! and what its replica has to know of them.
//!
//! The bytes are a peer's: whatever does not continue the log is left out and fetched again.

use bytes::Bytes;

use crate::base::batch_header::verify;
use crate::replication::{EpochStart, FetchedBatches};

/// Records to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetched {
    /// What the replica is told.
    pub(super) batches: FetchedBatches,
    /// Whole batches, in pieces that each fit into a segment.
    pub(super) pieces: Vec<Bytes>,
}

/// The longest prefix of `records` that continues a log at `offset`; none if there is none. A last
/// batch that is cut short is no error (KIP-74). Says why the rest was left out, if it should not be.
pub(super) fn continuing(offset: i64, records: &Bytes, segment_bytes: u64) -> (Option<Fetched>, Option<String>) {
    let mut fetched = Walk { end: offset, epochs: Vec::new(), pieces: Vec::new(), piece: 0..0 };
    let mut rejected = None;
    while fetched.piece.end < records.len() {
        match fetched.take(records, segment_bytes) {
            Ok(true) => {}
            Ok(false) => break,
            Err(reason) => {
                rejected = Some(reason);
                break;
            }
        }
    }
    fetched.cut(records);
    let batches = FetchedBatches { base_offset: offset, end: fetched.end, epochs: fetched.epochs };
    let found = (!fetched.pieces.is_empty()).then_some(Fetched { batches, pieces: fetched.pieces });
    (found, rejected)
}

struct Walk {
    end: i64,
    epochs: Vec<EpochStart>,
    pieces: Vec<Bytes>,
    /// The batches that are not yet in a piece.
    piece: std::ops::Range<usize>,
}

impl Walk {
    /// Takes the next batch; false if it is cut short.
    fn take(&mut self, records: &Bytes, segment_bytes: u64) -> Result<bool, String> {
        use crate::base::batch_header::BadBatch;
        let header = match verify(&records[self.piece.end..]) {
            Ok(header) => header,
            Err(BadBatch::Short { .. }) => return Ok(false),
            Err(bad) => return Err(bad.to_string()),
        };
        if header.base_offset != self.end {
            return Err(format!("offset {} where {} is next", header.base_offset, self.end));
        }
        if header.size as u64 > segment_bytes {
            return Err(format!("a batch of {} bytes does not fit into a segment", header.size));
        }
        match self.epochs.last() {
            Some(last) if header.leader_epoch < last.leader_epoch => {
                return Err(format!("leader epoch {} after {}", header.leader_epoch, last.leader_epoch));
            }
            Some(last) if header.leader_epoch == last.leader_epoch => {}
            _ => {
                self.epochs.push(EpochStart { leader_epoch: header.leader_epoch, start_offset: header.base_offset });
            }
        }
        if (self.piece.len() + header.size) as u64 > segment_bytes {
            self.cut(records);
        }
        self.piece.end += header.size;
        self.end = header.next_offset();
        Ok(true)
    }

    fn cut(&mut self, records: &Bytes) {
        if !self.piece.is_empty() {
            self.pieces.push(records.slice(self.piece.clone()));
            self.piece = self.piece.end..self.piece.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::LeaderEpoch;
    use crate::wire::kafka::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};

    fn batch(base_offset: i64, leader_epoch: i32, records: usize) -> Vec<u8> {
        let mut builder = RecordBatchBuilder::new().stored_at(base_offset, LeaderEpoch(leader_epoch));
        (0..records).for_each(|_| builder.push(NewRecord::default()));
        builder.build(ProducerStamp::NONE).expect("builds").to_vec()
    }

    fn taken(offset: i64, records: Vec<u8>, segment_bytes: u64) -> (Option<(i64, usize, Vec<i32>)>, bool) {
        let (fetched, rejected) = continuing(offset, &Bytes::from(records), segment_bytes);
        let summary = |fetched: Fetched| {
            let epochs = fetched.batches.epochs.iter().map(|entry| entry.leader_epoch.0).collect();
            (fetched.batches.end, fetched.pieces.len(), epochs)
        };
        (fetched.map(summary), rejected.is_some())
    }

    #[test]
    fn batches_that_continue_the_log_are_taken_with_their_epochs() {
        let records = [batch(5, 1, 2), batch(7, 1, 1), batch(8, 3, 1)].concat();
        assert_eq!(taken(5, records, 1_000_000), (Some((9, 1, vec![1, 3])), false));
    }

    #[test]
    fn a_batch_that_is_cut_short_is_left_out_without_a_reproach() {
        let mut records = [batch(5, 1, 2), batch(7, 1, 1)].concat();
        records.pop();
        assert_eq!(taken(5, records, 1_000_000), (Some((7, 1, vec![1])), false));
        assert_eq!(taken(5, Vec::new(), 1_000_000), (None, false));
    }

    #[test]
    fn what_does_not_continue_the_log_ends_what_is_taken() {
        let mut damaged = batch(7, 1, 1);
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        for wrong in [batch(8, 1, 1), batch(6, 1, 1), batch(7, 0, 1), damaged] {
            let records = [batch(5, 1, 2), wrong].concat();
            assert_eq!(taken(5, records, 1_000_000), (Some((7, 1, vec![1])), true));
        }
        assert_eq!(taken(4, batch(5, 1, 1), 1_000_000), (None, true));
    }

    #[test]
    fn pieces_fit_into_a_segment() {
        let one = batch(0, 1, 1).len() as u64;
        let records = [batch(0, 1, 1), batch(1, 1, 1), batch(2, 1, 1)].concat();
        assert_eq!(taken(0, records.clone(), 2 * one), (Some((3, 2, vec![1])), false));
        assert_eq!(taken(0, records.clone(), one), (Some((3, 3, vec![1])), false));
        assert_eq!(taken(0, records, one - 1), (None, true));
    }
}
