//! Which ports the cluster of a directory has. Chosen once and kept in `cluster.json`, so that a
//! restart is found where it was.

use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::runtime::{Disk, File, OpenMode};

const FILE: &str = "cluster.json";
const TEMPORARY: &str = "cluster.json.tmp";
const VERSION: u32 = 1;
const BYTES_MAX: usize = 64 * 1024;

/// The ports of one coordinator server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CoordinatorPorts {
    pub(super) id: u32,
    pub(super) peers: u16,
    pub(super) clients: u16,
}

/// The port of one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BrokerPort {
    pub(super) id: i32,
    pub(super) clients: u16,
}

/// The whole cluster's ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    version: u32,
    pub(super) coordinators: Vec<CoordinatorPorts>,
    pub(super) brokers: Vec<BrokerPort>,
}

impl Layout {
    /// A cluster whose ports are free ones.
    pub(super) fn with_free_ports(coordinators: u32, brokers: i32) -> Self {
        let coordinators = (1..=coordinators).map(|id| CoordinatorPorts { id, peers: 0, clients: 0 }).collect();
        let brokers = (1..=brokers).map(|id| BrokerPort { id, clients: 0 }).collect();
        Layout { version: VERSION, coordinators, brokers }
    }

    /// What an earlier start has kept.
    pub(super) async fn read<D: Disk>(disk: &D) -> Result<Option<Self>, String> {
        let file = match disk.open(Path::new(FILE), OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let bytes = file.read_at(0, BYTES_MAX).await.map_err(|error| error.to_string())?;
        Layout::parse(&bytes).map(Some)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let layout: Layout = serde_json::from_slice(bytes).map_err(|error| format!("{FILE}: {error}"))?;
        if layout.version != VERSION {
            return Err(format!("{FILE}: version {} is not known to this version of wyrd", layout.version));
        }
        if layout.coordinators.is_empty() || layout.brokers.is_empty() {
            return Err(format!("{FILE}: names no coordinator or no broker"));
        }
        Ok(layout)
    }

    /// Keeps it, durably.
    pub(super) async fn write<D: Disk>(&self, disk: &D) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        let file = disk.open(Path::new(TEMPORARY), OpenMode::Create)?;
        file.truncate(0)?;
        file.write_at(0, &[IoSlice::new(&text)])?;
        file.sync().await?;
        disk.rename(Path::new(TEMPORARY), Path::new(FILE))?;
        disk.sync_directory(Path::new("")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_read_as_it_was_written_and_nothing_else_is() {
        let layout = Layout::with_free_ports(3, 3);
        let text = serde_json::to_string(&layout).expect("JSON");
        assert_eq!(Layout::parse(text.as_bytes()), Ok(layout));
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert!(Layout::parse(newer.as_bytes()).expect_err("newer").contains("version 2"));
        assert!(Layout::parse(b"{").is_err());
        assert!(Layout::parse(br#"{"version":1,"coordinators":[],"brokers":[]}"#).is_err());
    }
}
