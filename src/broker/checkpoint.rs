//! `replication-offset-checkpoint`: the high watermarks, in Kafka's text.
//!
//! ```text
//! 0            version
//! 2            number of entries
//! orders 0 42  topic, partition, high watermark
//! orders 1 17
//! ```
//!
//! To lose it is harmless: a high watermark that is too small is raised by the next leader. One
//! that is damaged is therefore taken for an empty one.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;

use super::disk_logs::io_error;
use crate::base::ids::TopicPartition;
use crate::log::LogError;
use crate::runtime::{Disk, File, OpenMode};

const FILE: &str = "replication-offset-checkpoint";
const TEMPORARY: &str = "replication-offset-checkpoint.tmp";

/// Reads the checkpoint in `directory`.
pub(super) async fn read<D: Disk>(disk: &D, directory: &Path) -> Result<BTreeMap<TopicPartition, i64>, LogError> {
    let path = directory.join(FILE);
    let file = match disk.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(io_error(&path, "open")(error)),
    };
    let len = file.len().map_err(io_error(&path, "measure"))?;
    let text = file.read_at(0, usize::try_from(len).unwrap_or(usize::MAX)).await.map_err(io_error(&path, "read"))?;
    Ok(decode(&text).unwrap_or_default())
}

/// Replaces the checkpoint in `directory`, durably.
pub(super) async fn write<D: Disk>(
    disk: &D,
    directory: &Path,
    high_watermarks: &BTreeMap<TopicPartition, i64>,
) -> Result<(), LogError> {
    let (path, temporary) = (directory.join(FILE), directory.join(TEMPORARY));
    let text = encode(high_watermarks);
    let file = disk.open(&temporary, OpenMode::Create).map_err(io_error(&temporary, "create"))?;
    file.write_at(0, &[IoSlice::new(text.as_bytes())]).map_err(io_error(&temporary, "write"))?;
    file.truncate(text.len() as u64).map_err(io_error(&temporary, "truncate"))?;
    file.sync().await.map_err(io_error(&temporary, "sync"))?;
    disk.rename(&temporary, &path).map_err(io_error(&temporary, "rename"))?;
    disk.sync_directory(directory).await.map_err(io_error(directory, "sync"))
}

fn encode(high_watermarks: &BTreeMap<TopicPartition, i64>) -> String {
    let mut text = format!("0\n{}\n", high_watermarks.len());
    for (TopicPartition { topic, partition }, high_watermark) in high_watermarks {
        text.push_str(&format!("{topic} {partition} {high_watermark}\n"));
    }
    text
}

fn decode(text: &[u8]) -> Option<BTreeMap<TopicPartition, i64>> {
    let mut lines = std::str::from_utf8(text).ok()?.lines();
    if lines.next()? != "0" {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let mut high_watermarks = BTreeMap::new();
    for line in lines {
        let mut fields = line.split(' ');
        let (topic, partition, high_watermark) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
        let high_watermark: i64 = high_watermark.parse().ok().filter(|offset| *offset >= 0)?;
        high_watermarks.insert(TopicPartition::new(topic, partition), high_watermark);
    }
    (high_watermarks.len() == count).then_some(high_watermarks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkpoint_is_kafkas_text_and_anything_else_is_none() {
        let high_watermarks =
            BTreeMap::from([(TopicPartition::new("orders", 0), 42), (TopicPartition::new("orders", 1), 17)]);
        let text = encode(&high_watermarks);
        assert_eq!(text, "0\n2\norders 0 42\norders 1 17\n");
        assert_eq!(decode(text.as_bytes()), Some(high_watermarks));
        for bad in ["", "1\n0\n", "0\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\n1\na 0 -1\n", "0\n1\na x 1\n"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
