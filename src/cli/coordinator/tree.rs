//! `wyrd coordinator tree`: what an ensemble's tree holds. Works with any ZooKeeper ensemble.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde::Serialize;

use crate::base::address::Address;
use crate::base::znode::{ErrorCode, Stat};
use crate::cli::failure::Failure;
use crate::cli::logging::LogArgs;
use crate::cli::node;
use crate::cli::output::OutputArgs;
use crate::client::coordinator::{Config, CoordinatorClient, CoordinatorError};
use crate::runtime::timeout;

/// The session is closed at the end; should that fail, it lives on for so long.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a server may take to accept the session.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// A line of text shows so much of a node's data.
const SHOWN_CHARS_MAX: usize = 100;

/// Where to look.
#[derive(Args, Debug)]
pub(super) struct TreeArgs {
    /// A server of the ensemble, or several
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    server: Vec<Address>,
    /// Where to begin
    #[arg(default_value = "/")]
    path: String,
    /// How many levels below it are shown; all of them unless given
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    #[command(flatten)]
    output: OutputArgs,
}

/// A node of the tree, as it is printed. Parents come before their children.
#[derive(Debug, Serialize)]
struct Node {
    path: Arc<str>,
    /// The data, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// The data in hexadecimal, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_hex: Option<String>,
    version: i32,
    czxid: i64,
    mzxid: i64,
    /// The session that owns an ephemeral node, in hexadecimal as logs have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral_owner: Option<String>,
    children: usize,
}

/// Prints it.
pub(super) fn execute(args: &TreeArgs, log: &LogArgs) -> Result<(), Failure> {
    log.start("warn")?;
    node::block_on(async {
        let runtime = node::client()?;
        let (client, _events) = CoordinatorClient::start(&runtime, Config::new(args.server.clone(), SESSION_TIMEOUT));
        let root: Arc<str> = args.path.as_str().into();
        let found = timeout(&runtime, CONNECT_TIMEOUT, client.exists(root.clone(), false)).await;
        let servers = args.server.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match found {
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None)) => return Err(Failure::unusable(format!("{}: there is no such node", args.path))),
            Err(_) | Ok(Err(CoordinatorError::NotSent | CoordinatorError::ConnectionLoss)) => {
                return Err(Failure::unusable(format!("no coordinator answers at {servers}")));
            }
            Ok(Err(error)) => return Err(Failure::unusable(format!("{}: {error}", args.path))),
        }
        let nodes = collect(&client, root, args.depth).await.map_err(|error| Failure::failed(error.to_string()))?;
        // The session ends by itself if this fails.
        let _ = timeout(&runtime, CONNECT_TIMEOUT, client.close()).await;
        args.output.print(&nodes, |nodes| text(nodes))
    })
}

/// The nodes from `root` down, each before its children, children by name.
async fn collect(
    client: &CoordinatorClient,
    root: Arc<str>,
    depth: Option<usize>,
) -> Result<Vec<Node>, CoordinatorError> {
    let (mut nodes, mut waiting) = (Vec::new(), VecDeque::from([(root, 0)]));
    while let Some((path, level)) = waiting.pop_front() {
        let (data, stat) = match client.get_data(path.clone(), false).await {
            Ok(found) => found,
            // Deleted since its parent was listed.
            Err(error) if error.is(ErrorCode::NoNode) => continue,
            Err(error) => return Err(error),
        };
        if depth.is_none_or(|depth| level < depth) {
            let mut names = match client.get_children(path.clone(), false).await {
                Ok((names, _)) => names,
                Err(error) if error.is(ErrorCode::NoNode) => continue,
                Err(error) => return Err(error),
            };
            names.sort();
            let base = if &*path == "/" { "" } else { &path };
            names.iter().rev().for_each(|name| waiting.push_front((format!("{base}/{name}").into(), level + 1)));
        }
        nodes.push(node_of(path, &data, &stat));
    }
    Ok(nodes)
}

fn node_of(path: Arc<str>, data: &Bytes, stat: &Stat) -> Node {
    let text = std::str::from_utf8(data).ok().map(str::to_owned);
    let hex = || data.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    Node {
        path,
        data_hex: text.is_none().then(hex),
        data: text,
        version: stat.version,
        czxid: stat.czxid,
        mzxid: stat.mzxid,
        ephemeral_owner: Some(stat.ephemeral_owner).filter(|&owner| owner != 0).map(|owner| format!("{owner:#x}")),
        children: usize::try_from(stat.num_children).unwrap_or(0),
    }
}

fn text(nodes: &[Node]) -> String {
    let mut text = String::new();
    for node in nodes {
        text.push_str(&node.path);
        if let Some(owner) = &node.ephemeral_owner {
            let _ = write!(text, " (ephemeral of {owner})");
        }
        match (&node.data, &node.data_hex) {
            (Some(data), _) if !data.is_empty() => text.push_str(&format!(" = {}", shown(data))),
            (None, Some(hex)) => text.push_str(&format!(" = 0x{}", shown(hex))),
            _ => {}
        }
        text.push('\n');
    }
    text
}

/// The beginning of `data`, on one line and without control characters.
fn shown(data: &str) -> String {
    let clean = |character: char| if character.is_control() { ' ' } else { character };
    let mut shown: String = data.chars().take(SHOWN_CHARS_MAX).map(clean).collect();
    if data.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(data: &'static [u8], owner: i64) -> String {
        let stat = Stat { ephemeral_owner: owner, ..Stat::default() };
        text(&[node_of("/a".into(), &Bytes::from_static(data), &stat)])
    }

    #[test]
    fn a_node_is_one_line_whatever_its_data() {
        assert_eq!(line(b"", 0), "/a\n");
        assert_eq!(line(b"one\ntwo\x1b[2J", 0), "/a = one two [2J\n");
        assert_eq!(line(&[0xff, 0x01], 0x2a), "/a (ephemeral of 0x2a) = 0xff01\n");
        assert!(line(&[b'x'; 1000], 0).chars().count() < 120);
    }
}
