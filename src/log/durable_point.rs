//! Up to where a log is known to be durable: `durable-point`, a file of ours beside Kafka's.
//!
//! Recovery must tell a torn tail, which it cuts, from damage, which it must never cut. What lies
//! below the durable point was synced, so whatever is wrong there is damage.
//!
//! Two slots, at 0 and at 512, so that a torn write spoils one of them only. The slot with the
//! newest *synced* record is never written to: every write goes to the other one. The valid slot
//! with the larger sequence counts. Big-endian.
//!
//! | offset | bytes | field                                                            |
//! |---:|--:|-------------------------------------------------------------------------|
//! |  0 | 4 | "WDP" and the version, 1                                                |
//! |  4 | 4 | CRC-32C of what follows                                                 |
//! |  8 | 8 | sequence, one more at each write                                        |
//! | 16 | 8 | log start: segments that end at or before it are leftovers              |
//! | 24 | 8 | recovery point: every batch below it was synced                         |
//! | 32 | 8 | producer snapshot: the offset of the newest one that was synced, or -1  |

use std::io::{self, IoSlice};

use bytes::{Buf, BufMut};

use crate::base::checksum::crc32c;
use crate::runtime::File;

const MAGIC: [u8; 4] = *b"WDP\x01";
const SLOT_BYTES: usize = 40;
const SLOT_POSITIONS: [u64; 2] = [0, 512];
const FILE_BYTES: usize = 512 + SLOT_BYTES;

/// What is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurablePoint {
    /// The first offset that is kept.
    pub log_start: i64,
    /// Every batch below it was synced.
    pub recovery_point: i64,
    /// The newest producer snapshot that was synced.
    pub snapshot_offset: Option<i64>,
}

/// The file, and which of its slots must not be written to.
#[derive(Clone, Debug)]
pub struct DurablePointFile<F> {
    file: F,
    durable_slot: usize,
    sequence: u64,
}

impl<F: File> DurablePointFile<F> {
    /// Reads the file. No point where no slot is valid: the file is new, or damaged.
    pub async fn open(file: F) -> io::Result<(Self, Option<DurablePoint>)> {
        let bytes = file.read_at(0, FILE_BYTES).await?;
        let read = |slot: usize| decode(bytes.get(SLOT_POSITIONS[slot] as usize..)?);
        let newest =
            (0..2).filter_map(|slot| read(slot).map(|(sequence, point)| (sequence, slot, point))).max_by_key(|x| x.0);
        let (sequence, durable_slot, point) = match newest {
            Some((sequence, slot, point)) => (sequence, slot, Some(point)),
            None => (0, 1, None),
        };
        Ok((DurablePointFile { file, durable_slot, sequence }, point))
    }

    /// Writes `point`, which is durable once the file was synced and [`Self::synced`] was told so.
    pub fn write(&mut self, point: DurablePoint) -> io::Result<()> {
        self.sequence += 1;
        let slot = encode(self.sequence, point);
        self.file.write_at(SLOT_POSITIONS[1 - self.durable_slot], &[IoSlice::new(&slot)])
    }

    /// What was written last is durable now.
    pub fn synced(&mut self) {
        self.durable_slot = 1 - self.durable_slot;
    }

    /// The file, to sync it.
    pub fn file(&self) -> &F {
        &self.file
    }
}

fn encode(sequence: u64, point: DurablePoint) -> Vec<u8> {
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.put_slice(&MAGIC);
    slot.put_u32(0);
    slot.put_u64(sequence);
    slot.put_i64(point.log_start);
    slot.put_i64(point.recovery_point);
    slot.put_i64(point.snapshot_offset.unwrap_or(-1));
    let crc = crc32c(&slot[8..]);
    slot[4..8].copy_from_slice(&crc.to_be_bytes());
    slot
}

fn decode(bytes: &[u8]) -> Option<(u64, DurablePoint)> {
    let mut slot = bytes.get(..SLOT_BYTES)?;
    let crc = crc32c(&slot[8..]);
    if !slot.starts_with(&MAGIC) {
        return None;
    }
    slot.advance(MAGIC.len());
    if slot.get_u32() != crc {
        return None;
    }
    let sequence = slot.get_u64();
    let (log_start, recovery_point, snapshot) = (slot.get_i64(), slot.get_i64(), slot.get_i64());
    let point = DurablePoint { log_start, recovery_point, snapshot_offset: (snapshot >= 0).then_some(snapshot) };
    Some((sequence, point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_these_bytes_and_no_other() {
        let point = DurablePoint { log_start: 3, recovery_point: 515, snapshot_offset: None };
        let slot = encode(2, point);
        assert_eq!(slot[..4], *b"WDP\x01");
        let rest = [[0, 0, 0, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 0, 0, 3], [0, 0, 0, 0, 0, 0, 2, 3], [255; 8]].concat();
        assert_eq!(slot[8..], rest);
        assert_eq!(slot[4..8], crc32c(&rest).to_be_bytes());
        assert_eq!(decode(&slot), Some((2, point)));
        for at in 0..slot.len() {
            let mut bad = slot.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad), None, "byte {at}");
        }
        assert_eq!(decode(&slot[..39]), None);
        assert_eq!(decode(&[0; 64]), None);
    }
}
