//! Multis: operations, or results, each behind a header, up to a header that says done.
//!
//! | field of the header | type | |
//! |---------------------|------|-|
//! | type | int | the operation; -1 for an error, and for done |
//! | done | boolean | |
//! | err | int | -1 in requests; in results the error, 0 for a success |

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::header::OpCode;
use super::jute::{DecodeError, PutJute, Reader};
use super::records::{put_stat, read_stat};
use super::request::CreateRequest;
use crate::base::znode::{ErrorCode, Stat};

/// One operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MultiOp {
    /// Creates a node.
    Create(CreateRequest),
    /// Creates a node; the result has its statistics.
    Create2(CreateRequest),
    /// Deletes a node.
    Delete {
        /// Its path.
        path: Arc<str>,
        /// Its expected version; -1 for any.
        version: i32,
    },
    /// Sets a node's data.
    SetData {
        /// Its path.
        path: Arc<str>,
        /// The data.
        data: Option<Bytes>,
        /// Its expected version; -1 for any.
        version: i32,
    },
    /// Checks a node's version.
    Check {
        /// Its path.
        path: Arc<str>,
        /// Its expected version; -1 for any.
        version: i32,
    },
}

/// The result of one operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MultiResult {
    /// A node was created.
    Create {
        /// Its path.
        path: Arc<str>,
    },
    /// A node was created.
    Create2 {
        /// Its path.
        path: Arc<str>,
        /// Its statistics.
        stat: Stat,
    },
    /// A node was deleted.
    Delete,
    /// A node's data was set.
    SetData {
        /// Its statistics.
        stat: Stat,
    },
    /// A check held.
    Check,
    /// The multi failed: `Ok` for an operation before the one that failed, its error for that
    /// one, `RuntimeInconsistency` after it.
    Error(ErrorCode),
}

const ERROR: i32 = -1;

fn put_header(out: &mut Vec<u8>, op_code: i32, done: bool, error: i32) {
    out.put_i32(op_code);
    out.put_boolean(done);
    out.put_i32(error);
}

/// The next header's operation, or that all have come.
fn read_header(reader: &mut Reader) -> Result<Option<i32>, DecodeError> {
    let (op_code, done, _error) = (reader.int()?, reader.boolean()?, reader.int()?);
    Ok((!done).then_some(op_code))
}

pub(super) fn put_ops(out: &mut Vec<u8>, ops: &[MultiOp]) {
    for op in ops {
        put_header(out, op.op_code() as i32, false, -1);
        match op {
            MultiOp::Create(create) | MultiOp::Create2(create) => create.put(out),
            MultiOp::Delete { path, version } | MultiOp::Check { path, version } => {
                out.put_text(path);
                out.put_i32(*version);
            }
            MultiOp::SetData { path, data, version } => {
                out.put_text(path);
                out.put_buffer(data.as_deref());
                out.put_i32(*version);
            }
        }
    }
    put_header(out, -1, true, -1);
}

impl MultiOp {
    fn op_code(&self) -> OpCode {
        match self {
            MultiOp::Create(_) => OpCode::Create,
            MultiOp::Create2(_) => OpCode::Create2,
            MultiOp::Delete { .. } => OpCode::Delete,
            MultiOp::SetData { .. } => OpCode::SetData,
            MultiOp::Check { .. } => OpCode::Check,
        }
    }

    fn read(op_code: i32, reader: &mut Reader) -> Result<Self, DecodeError> {
        const PATH: &str = "the path";
        Ok(match OpCode::from_code(op_code) {
            Ok(OpCode::Create) => MultiOp::Create(CreateRequest::read(reader)?),
            Ok(OpCode::Create2) => MultiOp::Create2(CreateRequest::read(reader)?),
            Ok(OpCode::Delete) => MultiOp::Delete { path: reader.text(PATH)?, version: reader.int()? },
            Ok(OpCode::Check) => MultiOp::Check { path: reader.text(PATH)?, version: reader.int()? },
            Ok(OpCode::SetData) => {
                MultiOp::SetData { path: reader.text(PATH)?, data: reader.buffer()?, version: reader.int()? }
            }
            _ => return Err(DecodeError::NotInMulti(op_code)),
        })
    }
}

pub(super) fn read_ops(reader: &mut Reader) -> Result<Vec<MultiOp>, DecodeError> {
    let mut ops = Vec::new();
    while let Some(op_code) = read_header(reader)? {
        ops.push(MultiOp::read(op_code, reader)?);
    }
    Ok(ops)
}

pub(super) fn put_results(out: &mut Vec<u8>, results: &[MultiResult]) {
    for result in results {
        match result {
            MultiResult::Create { path } => {
                put_header(out, OpCode::Create as i32, false, 0);
                out.put_text(path);
            }
            MultiResult::Create2 { path, stat } => {
                put_header(out, OpCode::Create2 as i32, false, 0);
                out.put_text(path);
                put_stat(out, stat);
            }
            MultiResult::Delete => put_header(out, OpCode::Delete as i32, false, 0),
            MultiResult::SetData { stat } => {
                put_header(out, OpCode::SetData as i32, false, 0);
                put_stat(out, stat);
            }
            MultiResult::Check => put_header(out, OpCode::Check as i32, false, 0),
            MultiResult::Error(error) => {
                put_header(out, ERROR, false, error.code());
                out.put_i32(error.code());
            }
        }
    }
    put_header(out, -1, true, -1);
}

pub(super) fn read_results(reader: &mut Reader) -> Result<Vec<MultiResult>, DecodeError> {
    let mut results = Vec::new();
    while let Some(op_code) = read_header(reader)? {
        results.push(MultiResult::read(op_code, reader)?);
    }
    Ok(results)
}

impl MultiResult {
    fn read(op_code: i32, reader: &mut Reader) -> Result<Self, DecodeError> {
        if op_code == ERROR {
            return reader.int().map(|error| MultiResult::Error(ErrorCode::from_code(error)));
        }
        Ok(match OpCode::from_code(op_code) {
            Ok(OpCode::Create) => MultiResult::Create { path: reader.text("the path")? },
            Ok(OpCode::Create2) => MultiResult::Create2 { path: reader.text("the path")?, stat: read_stat(reader)? },
            Ok(OpCode::Delete) => MultiResult::Delete,
            Ok(OpCode::SetData) => MultiResult::SetData { stat: read_stat(reader)? },
            Ok(OpCode::Check) => MultiResult::Check,
            _ => return Err(DecodeError::NotInMulti(op_code)),
        })
    }
}
