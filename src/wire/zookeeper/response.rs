//! The bodies of replies, after their header. A reply with an error has none.

use std::sync::Arc;

use bytes::Bytes;

use super::header::OpCode;
use super::jute::{DecodeError, PutJute, Reader};
use super::multi::{self, MultiResult};
use super::records::{put_acls, put_stat, read_acls, read_stat};
use crate::base::znode::{Acl, Stat};

/// What a request got.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The fields are those of the protocol, told in the variants' docs.
pub enum Response {
    /// To ping, delete, auth, setWatches, check and closeSession: no body.
    Empty,
    /// To create, and to sync: path ustring.
    Path { path: Arc<str> },
    /// To create2: path ustring, Stat.
    Created { path: Arc<str>, stat: Stat },
    /// To exists, setData and setACL: Stat.
    Stat { stat: Stat },
    /// To getData: data buffer, Stat.
    Data { data: Option<Bytes>, stat: Stat },
    /// To getACL: vector of ACL, Stat.
    Acl { acl: Vec<Acl>, stat: Stat },
    /// To getChildren: vector of ustring.
    Children { children: Vec<Arc<str>> },
    /// To getChildren2: vector of ustring, Stat.
    Children2 { children: Vec<Arc<str>>, stat: Stat },
    /// To multi.
    Multi(Vec<MultiResult>),
}

impl Response {
    /// The response of which `body` is what follows the header of a reply to this operation.
    pub fn decode(op_code: OpCode, body: Bytes) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(body);
        Ok(match op_code {
            OpCode::Create | OpCode::Sync => Response::Path { path: reader.text("the path")? },
            OpCode::Create2 => Response::Created { path: reader.text("the path")?, stat: read_stat(reader)? },
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => Response::Stat { stat: read_stat(reader)? },
            OpCode::GetData => Response::Data { data: reader.buffer()?, stat: read_stat(reader)? },
            OpCode::GetAcl => Response::Acl { acl: read_acls(reader)?, stat: read_stat(reader)? },
            OpCode::GetChildren => Response::Children { children: names(reader)? },
            OpCode::GetChildren2 => Response::Children2 { children: names(reader)?, stat: read_stat(reader)? },
            OpCode::Multi => Response::Multi(multi::read_results(reader)?),
            OpCode::Delete
            | OpCode::Ping
            | OpCode::Check
            | OpCode::Auth
            | OpCode::SetWatches
            | OpCode::CloseSession => Response::Empty,
        })
    }

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            Response::Empty => {}
            Response::Path { path } => out.put_text(path),
            Response::Created { path, stat } => {
                out.put_text(path);
                put_stat(out, stat);
            }
            Response::Stat { stat } => put_stat(out, stat),
            Response::Data { data, stat } => {
                out.put_buffer(data.as_deref());
                put_stat(out, stat);
            }
            Response::Acl { acl, stat } => {
                put_acls(out, acl);
                put_stat(out, stat);
            }
            Response::Children { children } => out.put_texts(children),
            Response::Children2 { children, stat } => {
                out.put_texts(children);
                put_stat(out, stat);
            }
            Response::Multi(results) => multi::put_results(out, results),
        }
    }
}

fn names(reader: &mut Reader) -> Result<Vec<Arc<str>>, DecodeError> {
    reader.vector(|reader| reader.text("a child's name"))
}
