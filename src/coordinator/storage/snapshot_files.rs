//! Snapshots as files: whole, named by what they cover, and those still on their way.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::StorageError;
use crate::base::ids::Zxid;
use crate::consensus::Position;
use crate::runtime::{Disk, File, OpenMode};

const INCOMING: &str = "incoming.tmp";
const OWN: &str = "snapshot.tmp";
const READ_BYTES: usize = 4 * 1024 * 1024;

/// The snapshot files of one server.
pub struct SnapshotFiles<D: Disk> {
    disk: D,
    latest: Option<(Position, D::File)>,
    incoming: Option<(Position, D::File)>,
}

impl<D: Disk> SnapshotFiles<D> {
    pub(super) fn new(disk: D) -> Self {
        SnapshotFiles { disk, latest: None, incoming: None }
    }

    /// Finds the latest whole snapshot, removes older ones and reads it. Whether its bytes are
    /// intact is for their reader to say.
    pub(super) async fn open(&mut self) -> Result<Option<(Position, Bytes)>, StorageError> {
        let root = Path::new("");
        let entries = self.disk.list(root).map_err(StorageError::io(root))?;
        let mut found: Vec<Position> = entries.iter().filter_map(|entry| position_of(&entry.name)).collect();
        found.sort_unstable();
        let Some(latest) = found.pop() else { return Ok(None) };
        for older in found {
            let path = path_of(older);
            self.disk.remove_file(&path).map_err(StorageError::io(&path))?;
        }
        let path = path_of(latest);
        let file = self.disk.open(&path, OpenMode::Read).map_err(StorageError::io(&path))?;
        let bytes = read_whole(&file, &path).await?;
        self.latest = Some((latest, file));
        Ok(Some((latest, bytes)))
    }

    /// Makes a snapshot of this server's own state durable, as the latest one.
    pub async fn store(&mut self, position: Position, parts: &[Bytes]) -> Result<(), StorageError> {
        let path = Path::new(OWN);
        let file = self.disk.open(path, OpenMode::Create).map_err(StorageError::io(path))?;
        file.truncate(0).map_err(StorageError::io(path))?;
        let mut offset = 0;
        for part in parts {
            file.write_at(offset, &[IoSlice::new(part)]).map_err(StorageError::io(path))?;
            offset += part.len() as u64;
        }
        self.finish(path, position, file).await
    }

    /// A part of the latest snapshot and whether it ends there; none if `position` is not the latest.
    pub async fn read(
        &self,
        position: Position,
        offset: u64,
        len: usize,
    ) -> Result<Option<(Bytes, bool)>, StorageError> {
        let Some((_, file)) = self.latest.as_ref().filter(|(latest, _)| *latest == position) else {
            return Ok(None);
        };
        let path = path_of(position);
        let data = file.read_at(offset, len).await.map_err(StorageError::io(&path))?;
        let end = file.len().map_err(StorageError::io(&path))?;
        let done = offset + data.len() as u64 >= end;
        Ok(Some((data, done)))
    }

    /// Stores a part of another server's snapshot aside. Offset 0 begins anew.
    pub fn store_incoming(&mut self, position: Position, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let path = Path::new(INCOMING);
        if offset == 0 {
            let file = self.disk.open(path, OpenMode::Create).map_err(StorageError::io(path))?;
            file.truncate(0).map_err(StorageError::io(path))?;
            self.incoming = Some((position, file));
        }
        let (_, file) = self.incoming.as_ref().expect("consensus begins a snapshot at offset 0");
        file.write_at(offset, &[IoSlice::new(data)]).map_err(StorageError::io(path))
    }

    /// The bytes of the snapshot that was stored aside.
    pub async fn read_incoming(&self, position: Position) -> Result<Option<Bytes>, StorageError> {
        match &self.incoming {
            Some((incoming, file)) if *incoming == position => Ok(Some(read_whole(file, Path::new(INCOMING)).await?)),
            _ => Ok(None),
        }
    }

    /// Makes the snapshot that was stored aside the latest one, durably.
    pub async fn install_incoming(&mut self, position: Position) -> Result<(), StorageError> {
        let (_, file) = self.incoming.take().expect("only a snapshot that was read whole is installed");
        self.finish(Path::new(INCOMING), position, file).await
    }

    /// Syncs, names and syncs the name; then removes the one before.
    async fn finish(&mut self, temporary: &Path, position: Position, file: D::File) -> Result<(), StorageError> {
        let (path, root) = (path_of(position), Path::new(""));
        file.sync().await.map_err(StorageError::io(&path))?;
        self.disk.rename(temporary, &path).map_err(StorageError::io(&path))?;
        self.disk.sync_directory(root).await.map_err(StorageError::io(root))?;
        let before = self.latest.replace((position, file));
        match before {
            Some((older, _)) if older != position => {
                let path = path_of(older);
                self.disk.remove_file(&path).map_err(StorageError::io(&path))
            }
            _ => Ok(()),
        }
    }
}

fn path_of(position: Position) -> PathBuf {
    PathBuf::from(format!("snapshot-{:020}-{:016x}", position.index, position.zxid.0))
}

pub(super) fn position_of(name: &str) -> Option<Position> {
    let (index, zxid) = name.strip_prefix("snapshot-")?.split_once('-')?;
    Some(Position { index: index.parse().ok()?, zxid: Zxid(i64::from_str_radix(zxid, 16).ok()?) })
}

async fn read_whole(file: &impl File, path: &Path) -> Result<Bytes, StorageError> {
    let len = file.len().map_err(StorageError::io(path))?;
    let mut bytes = BytesMut::new();
    while (bytes.len() as u64) < len {
        let part = file.read_at(bytes.len() as u64, READ_BYTES).await.map_err(StorageError::io(path))?;
        if part.is_empty() {
            break;
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}
