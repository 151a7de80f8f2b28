//! Why a node stopped by itself, as a type: an operator reads the error's text, whoever watches the
//! node reads this.

use std::path::{Path, PathBuf};

/// What made a node stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StopCause {
    /// Bytes that had been durable cannot be read any more.
    Damage {
        /// In this file, where one is known.
        path: Option<PathBuf>,
    },
    /// A call of the disk failed.
    Disk,
    /// Anything else.
    #[default]
    Other,
}

impl StopCause {
    /// Damage in this file.
    #[must_use]
    pub fn damage_in(path: &Path) -> Self {
        StopCause::Damage { path: Some(path.to_owned()) }
    }
}
