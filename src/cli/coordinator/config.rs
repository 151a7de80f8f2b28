//! A coordinator server's configuration from settings with ZooKeeper's names.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::address::Address;
use crate::base::ids::ServerId;
use crate::cli::failure::Failure;
use crate::cli::settings::{Key, Settings};
use crate::cli::values::{at_least, boolean, millis, text};
use crate::coordinator::{Config, Member};

/// ZooKeeper's default, in milliseconds.
const TICK_TIME: Duration = Duration::from_millis(2000);
/// ZooKeeper's usual port for clients.
const CLIENT_PORT: u16 = 2181;
/// Where a server listens that shall be reached from everywhere.
const EVERYWHERE: &str = "0.0.0.0";
const OWN_TIMING: &str = "elections and heartbeats have a timing of their own, see docs/OPERATIONS.md";
const NOT_SERVED: &str = "only ZooKeeper's client protocol is served";

/// The settings that a coordinator knows.
pub(super) const KEYS: &[Key] = &[
    Key::used("myid"),
    Key::used("tickTime"),
    Key::used("dataDir"),
    Key::used("clientPort"),
    Key::used("clientPortAddress"),
    Key::used("server.*"),
    Key::used("minSessionTimeout"),
    Key::used("maxSessionTimeout"),
    Key::used("snapCount"),
    Key::used("quorumListenOnAllIPs"),
    Key::without_effect("initLimit", OWN_TIMING),
    Key::without_effect("syncLimit", OWN_TIMING),
    Key::without_effect("maxClientCnxns", "connections are bounded by what each may have under way"),
    Key::without_effect("autopurge.*", "old snapshots are removed when a newer one is durable"),
    Key::without_effect("standaloneEnabled", "an ensemble of one server needs no mode"),
    Key::without_effect("reconfigEnabled", "the ensemble is what the configuration says"),
    Key::without_effect("admin.*", NOT_SERVED),
    Key::without_effect("4lw.commands.whitelist", NOT_SERVED),
];

/// A server's configuration, its directory and where it binds.
#[derive(Debug)]
pub(super) struct ServerSettings {
    /// What the server is told.
    pub(super) config: Config,
    /// `dataDir`.
    pub(super) data_directory: PathBuf,
    /// Where it listens for the other servers.
    pub(super) peer_bind: Address,
    /// Where it listens for clients.
    pub(super) client_bind: Address,
}

/// One `server.N` line.
struct ServerLine {
    id: ServerId,
    peer_address: Address,
    client_address: Option<Address>,
}

impl ServerSettings {
    /// Reads and checks all of them.
    pub(super) fn from(settings: &Settings) -> Result<Self, Failure> {
        settings.check(KEYS)?;
        let data_directory = PathBuf::from(settings.require("dataDir", text)?);
        let port = settings.get("clientPort", at_least(0_u16))?;
        let lines = server_lines(settings)?;
        let id = own_id(settings, &data_directory, &lines)?;
        let ensemble: Vec<Member> = lines.into_iter().map(|line| member(line, port)).collect();
        let mut config = Config::new(id, ensemble);
        config.check().map_err(Failure::unusable)?;
        let stranger = || Failure::unusable(format!("server {id} is not a member of its own ensemble"));
        let own = config.own().cloned().ok_or_else(stranger)?;
        let tick = settings.get("tickTime", millis)?.unwrap_or(TICK_TIME);
        config.session_timeout_min = settings.get("minSessionTimeout", millis)?.unwrap_or(tick * 2);
        config.session_timeout_max = settings.get("maxSessionTimeout", millis)?.unwrap_or(tick * 20);
        if config.session_timeout_min > config.session_timeout_max {
            return Err(settings.bad("minSessionTimeout", "is larger than maxSessionTimeout"));
        }
        config.snapshot_entries = settings.get("snapCount", at_least(1_u64))?.unwrap_or(config.snapshot_entries);
        let peer_bind = if settings.get("quorumListenOnAllIPs", boolean)?.unwrap_or(false) {
            Address::new(EVERYWHERE, own.peer_address.port)
        } else {
            own.peer_address.clone()
        };
        let host = settings.get("clientPortAddress", text)?.unwrap_or_else(|| EVERYWHERE.to_owned());
        let client_bind = Address::new(host, own.client_address.port);
        Ok(ServerSettings { config, data_directory, peer_bind, client_bind })
    }
}

fn member(line: ServerLine, port: Option<u16>) -> Member {
    let ServerLine { id, peer_address, client_address } = line;
    let at_port = || Address::new(peer_address.host.clone(), port.unwrap_or(CLIENT_PORT));
    let client_address = client_address.unwrap_or_else(at_port);
    Member { id, peer_address, client_address }
}

fn server_lines(settings: &Settings) -> Result<Vec<ServerLine>, Failure> {
    let mut lines = Vec::new();
    for (number, value) in settings.starting_with("server.") {
        let bad = |problem: &str| settings.bad(&format!("server.{number}"), problem);
        let id = at_least(1_u32)(number).map_err(|_| bad("servers are numbered from 1 on"))?;
        let (peer_address, client_address) = server_value(value).map_err(|problem| bad(&problem))?;
        lines.push(ServerLine { id: ServerId(id), peer_address, client_address });
    }
    if lines.is_empty() {
        let what = "no server of the ensemble is set: expected server.N=HOST:PEERPORT for each, also for a single one";
        return Err(Failure::unusable(what));
    }
    Ok(lines)
}

/// `HOST:PEERPORT[:ELECTIONPORT][:participant][;[CLIENTHOST:]CLIENTPORT]`, as ZooKeeper has it
/// since 3.5. Elections have no port of their own here.
fn server_value(value: &str) -> Result<(Address, Option<Address>), String> {
    let expected = || "expected HOST:PEERPORT, such as server.1=10.0.0.1:2888".to_owned();
    let (peers, client) = match value.split_once(';') {
        Some((peers, client)) => (peers, Some(client)),
        None => (value, None),
    };
    let host_end = if peers.starts_with('[') { peers.find(']').ok_or_else(expected)? } else { 0 };
    let colon = peers[host_end..].find(':').ok_or_else(expected)? + host_end;
    let (host, mut rest) = (&peers[..colon], peers[colon + 1..].split(':'));
    let peer_port = rest.next().unwrap_or_default();
    let peer_address: Address = format!("{host}:{peer_port}").parse().map_err(|_| expected())?;
    for extra in rest {
        match extra {
            "participant" => {}
            "observer" => return Err("observers are not supported: every server votes".to_owned()),
            other if other.parse::<u16>().is_ok() => {}
            other => return Err(format!("'{other}' is neither an election port nor a role")),
        }
    }
    let client_address = client.map(|client| client_value(client, &peer_address)).transpose()?;
    Ok((peer_address, client_address))
}

fn client_value(text: &str, peer_address: &Address) -> Result<Address, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok(Address::new(peer_address.host.clone(), port)),
        Err(_) => text.parse::<Address>().map_err(|error| error.to_string()),
    }
}

/// `myid` among the settings, or what the file `myid` in the data directory says, as with
/// ZooKeeper; the only server of an ensemble need not be told.
#[allow(clippy::disallowed_methods, reason = "who it is has to be known before there is a node")]
fn own_id(settings: &Settings, data_directory: &std::path::Path, lines: &[ServerLine]) -> Result<ServerId, Failure> {
    let number = at_least::<u32>;
    if let Some(id) = settings.get("myid", number(1))? {
        return Ok(ServerId(id));
    }
    let path = data_directory.join("myid");
    match (std::fs::read_to_string(&path), lines) {
        (Ok(found), _) => number(1)(found.trim())
            .map(ServerId)
            .map_err(|problem| Failure::unusable(format!("{}: '{}': {problem}", path.display(), found.trim()))),
        (Err(_), [only]) => Ok(only.id),
        (Err(_), _) => Err(Failure::unusable(format!(
            "which of the ensemble's servers is this one? Set it with --id N, with myid=N, or in the file {}",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(settings: &[&str]) -> Result<ServerSettings, Failure> {
        let flags: Vec<String> = settings.iter().map(|&flag| flag.to_owned()).collect();
        ServerSettings::from(&Settings::read(None, &flags)?)
    }

    const THREE: [&str; 4] =
        ["dataDir=d", "server.1=a:2888:3888", "server.2=b:2888:3888;b2:2182", "server.3=[::1]:2888;2183"];

    fn three_and(more: &[&str]) -> Result<ServerSettings, Failure> {
        server(&[&THREE, more].concat())
    }

    #[test]
    fn a_configuration_of_zookeeper_is_understood() {
        let read =
            three_and(&["myid=3", "tickTime=1000", "clientPort=2181", "initLimit=5", "syncLimit=2"]).expect("valid");
        let member = |id, peer: &str, client: &str| Member {
            id: ServerId(id),
            peer_address: peer.parse().expect("an address"),
            client_address: client.parse().expect("an address"),
        };
        let expected =
            [member(1, "a:2888", "a:2181"), member(2, "b:2888", "b2:2182"), member(3, "[::1]:2888", "[::1]:2183")];
        assert_eq!(read.config.ensemble, expected);
        assert_eq!(read.config.session_timeout_min, Duration::from_secs(2));
        assert_eq!(read.config.session_timeout_max, Duration::from_secs(20));
        assert_eq!((read.peer_bind, read.client_bind), (Address::new("::1", 2888), Address::new("0.0.0.0", 2183)));
    }

    #[test]
    fn what_cannot_be_an_ensemble_is_refused_in_one_line() {
        for (more, said) in [
            (&["myid=4"][..], "server 4 is not a member of its own ensemble"),
            (&[], "which of the ensemble's servers is this one?"),
            (&["myid=1", "server.0=c:1"], "servers are numbered from 1 on"),
            (&["myid=1", "server.4=c:1", "server.5=c:2", "server.6=c:3"], "an ensemble has 1 to 5 servers, not 6"),
            (&["myid=1", "server.4=c"], "expected HOST:PEERPORT"),
            (&["myid=1", "server.4=c:1:2:observer"], "observers are not supported"),
            (&["myid=1", "server.4=c:1:2:elector"], "'elector' is neither"),
            (&["myid=1", "clientPort=70000"], "expected a whole number"),
            (&["myid=1", "minSessionTimeout=9000", "maxSessionTimeout=8000"], "is larger than maxSessionTimeout"),
            (&["myid=1", "clientport=1"], "did you mean 'clientPort'?"),
        ] {
            let error = three_and(more).expect_err(said).to_string();
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_single_server_needs_no_id() {
        let read = server(&["dataDir=d", "server.7=localhost:2888"]).expect("valid");
        assert_eq!(read.config.id, ServerId(7));
        assert_eq!(read.client_bind, Address::new("0.0.0.0", 2181));
    }
}
