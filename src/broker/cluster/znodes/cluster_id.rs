//! `/cluster/id`: the cluster's id, drawn by the first broker that ever registers.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadZnode, from_json, to_json};

/// The znode.
pub const PATH: &str = "/cluster/id";

#[derive(Serialize, Deserialize)]
struct Json {
    /// Text here alone, as Kafka writes it.
    version: String,
    id: Arc<str>,
}

/// The data for `id`.
#[must_use]
pub fn encode(id: &Arc<str>) -> Bytes {
    to_json(&Json { version: "1".to_owned(), id: id.clone() })
}

/// The id.
pub fn decode(data: &[u8]) -> Result<Arc<str>, BadZnode> {
    from_json::<Json>(PATH, data).map(|json| json.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_looks_as_kafkas_does_and_reads_back() {
        let id = Arc::from("fpvfhDHMTqeYfN3GbIVBVw");
        assert_eq!(&encode(&id)[..], br#"{"version":"1","id":"fpvfhDHMTqeYfN3GbIVBVw"}"#);
        assert_eq!(decode(&encode(&id)), Ok(id));
        assert_eq!(&*decode(b"").expect_err("bad").path, PATH);
    }
}
