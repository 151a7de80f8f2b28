//! Faults of a disk that are armed now and strike later.

use std::io;

use super::super::random::Stream;

/// What a fault waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOperation {
    /// A read of a file.
    Read,
    /// A write to or truncation of a file.
    Write,
    /// A sync of a file. It fails as fsync does: once, with the data gone.
    Sync,
    /// A sync of a directory.
    SyncDirectory,
    /// Opening or creating a file.
    Open,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskEffect {
    /// The call fails with EIO.
    Error,
    /// A write reports success and is not done: a stale block.
    Forget,
    /// A write lands so many bytes further on (or before, if negative).
    Misdirect(i64),
    /// One bit of what is read or written is flipped on the way.
    FlipBit,
}

/// A fault that strikes a node's disk when an operation matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFault {
    /// What it waits for.
    pub operation: DiskOperation,
    /// A part of the file's path; empty for any file.
    pub path: String,
    /// What it does.
    pub effect: DiskEffect,
    /// In how many of a million matching operations.
    pub per_million: u32,
    /// How often it strikes before it is gone; none for always.
    pub times: Option<u32>,
}

impl DiskFault {
    /// EIO on `operation` for every file, always.
    #[must_use]
    pub fn error(operation: DiskOperation) -> Self {
        let path = String::new();
        DiskFault { operation, path, effect: DiskEffect::Error, per_million: 1_000_000, times: None }
    }

    /// The same, once.
    #[must_use]
    pub fn once(self) -> Self {
        DiskFault { times: Some(1), ..self }
    }

    /// The same, for files whose path contains `path`.
    #[must_use]
    pub fn on(self, path: impl Into<String>) -> Self {
        DiskFault { path: path.into(), ..self }
    }

    /// The same, with another effect.
    #[must_use]
    pub fn with(self, effect: DiskEffect) -> Self {
        DiskFault { effect, ..self }
    }
}

/// A fault that waits, with draws of its own.
#[derive(Debug)]
pub(super) struct Armed {
    pub fault: DiskFault,
    pub draws: Stream,
}

/// The effect of the first armed fault that strikes, if any does.
pub(super) fn strike(armed: &mut Vec<Armed>, operation: DiskOperation, path: &str) -> Option<DiskEffect> {
    for at in 0..armed.len() {
        let Armed { fault, draws } = &mut armed[at];
        if fault.operation != operation || !path.contains(&fault.path) || !draws.happens(fault.per_million) {
            continue;
        }
        let effect = fault.effect;
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                armed.remove(at);
            }
        }
        return Some(effect);
    }
    None
}

/// What Linux gives for EIO, which has no [`io::ErrorKind`] of its own.
pub(super) fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// Damage at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit of the first byte of the range is flipped.
    FlipBit,
    /// The range reads as zeros.
    Zeros,
    /// The range reads as drawn bytes.
    Garbage,
}
