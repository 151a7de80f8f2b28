//! What `wyrd` says and how it ends when it is given something that it cannot use: one line on
//! standard error and exit code 2, before anything is begun.

#![allow(clippy::disallowed_types, reason = "a test takes a port away from the process")]

mod processes;

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use processes::{Running, directory, free_ports, wait_for, wyrd};

const PATIENCE: Duration = Duration::from_secs(30);

/// The only line of standard error; the exit code is 2 and nothing was printed.
#[track_caller]
fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!((said.lines().count(), output.stdout.len()), (1, 0), "{said}");
    said
}

#[track_caller]
fn refused(arguments: &[&str], because: &str) {
    let said = refusal(&wyrd(arguments));
    assert!(said.starts_with("wyrd: ") && said.contains(because), "expected '{because}', got: {said}");
}

#[allow(clippy::disallowed_methods, reason = "a test writes a configuration file")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file below target/");
}

/// The arguments of the only server of an ensemble, in `home`, on ports of its own.
fn single(home: &Path) -> Vec<String> {
    let [peers, clients] = free_ports();
    let data = home.join("data");
    let set = [
        format!("dataDir={}", data.display()),
        format!("server.1=127.0.0.1:{peers};{clients}"),
        "clientPortAddress=127.0.0.1".to_owned(),
    ];
    set.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect()
}

fn coordinator<'a>(verb: &[&'a str], arguments: &'a [String]) -> Vec<&'a str> {
    let verb = ["coordinator"].iter().chain(verb).copied();
    verb.chain(arguments.iter().map(String::as_str)).collect()
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_in_one_line() {
    let home = directory("command_line_config");
    let file = home.join("zoo.cfg");
    let config = file.to_str().expect("ASCII");
    refused(&["coordinator", "--config", config], "cannot read the configuration");
    write(&file, "dataDir=/nowhere\nserver.1=localhost:2888\ntickTiem=2000\n");
    refused(&["coordinator", "--config", config], "zoo.cfg:3: unknown setting 'tickTiem': did you mean 'tickTime'?");
    write(&file, "dataDir=/nowhere\nserver.1=localhost\n");
    refused(&["coordinator", "--config", config], "zoo.cfg:2: server.1=localhost: expected HOST:PEERPORT");
    refused(&["coordinator"], "needs a configuration");
    refused(&["coordinator", "--set", "dataDir"], "expected KEY=VALUE");
    refused(&["broker"], "needs a configuration");
    let broker = ["broker", "--set", "broker.id=1", "--set", "zookeeper.connect=localhost"];
    refused(&broker, "zookeeper.connect=localhost: 'localhost' is not an address");
    refused(&["broker", "--set", "brokerid=1"], "did you mean 'broker.id'?");
    refused(&["--log", "wyrd=loud", "coordinator", "--set", "dataDir=d"], "--log wyrd=loud");
}

#[test]
fn a_data_directory_that_is_missing_or_not_the_servers_own_is_refused() {
    let home = directory("command_line_directory");
    let arguments = single(&home);
    refused(&coordinator(&[], &arguments), "data: the data directory does not exist: run `wyrd coordinator format`");
    let foreign: Vec<String> = arguments.iter().map(|part| part.replace("server.1", "server.7")).collect();
    assert!(wyrd(&coordinator(&["format"], &foreign)).status.success());
    refused(&coordinator(&[], &arguments), "this directory belongs to coordinator server 7, not to server 1");
    refused(&coordinator(&["format"], &arguments), "was formatted before: it belongs to coordinator server 7");
    let log = home.to_str().map(|home| format!("dataDir={home}")).expect("ASCII");
    let elsewhere: Vec<String> = arguments.iter().cloned().chain(["--set".to_owned(), log]).collect();
    refused(&coordinator(&[], &elsewhere), "never formatted for a coordinator");
    write(&home.join("file"), "");
    let file = format!("log.dirs={}", home.join("file").display());
    let broker = ["broker", "--set", "broker.id=1", "--set", "zookeeper.connect=localhost:1", "--set", &file];
    let listener = ["--set", "listeners=PLAINTEXT://127.0.0.1:0"];
    refused(&[&broker[..], &listener].concat(), "file: is no directory");
    let other = format!("log.dirs={}", home.display());
    refused(&[&broker[..5], &["--set", &other], &listener].concat(), "it is not a broker's log directory");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let home = directory("command_line_port");
    let mut arguments = single(&home);
    assert!(wyrd(&coordinator(&["format"], &arguments)).status.success());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    arguments.extend(["--set".to_owned(), format!("server.1=127.0.0.1:{port};0")]);
    refused(&coordinator(&[], &arguments), &format!("cannot listen on 127.0.0.1:{port} for other servers: "));
}

#[test]
fn a_data_directory_is_used_by_one_process_and_freed_by_a_graceful_stop() {
    let home = directory("command_line_lock");
    let arguments = single(&home);
    assert!(wyrd(&coordinator(&["format"], &arguments)).status.success());
    let started = coordinator(&[], &arguments);
    let mut first = Running::start(&started, &home.join("first.log"));
    wait_for("leadership", PATIENCE, || first.logged().contains(" leads ").then_some(()));
    refused(&started, "another process uses this data directory");
    assert!(first.terminate(PATIENCE).success(), "{}", first.logged());
    assert!(first.logged().contains("stopped"), "{}", first.logged());
    let mut second = Running::start(&started, &home.join("second.log"));
    wait_for("leadership", PATIENCE, || second.logged().contains(" leads ").then_some(()));
    assert!(second.terminate(PATIENCE).success(), "{}", second.logged());
}

#[test]
fn clients_say_whom_they_did_not_reach() {
    let [port] = free_ports();
    let server = format!("127.0.0.1:{port}");
    refused(&["coordinator", "tree", "--server", &server], &format!("no coordinator answers at {server}"));
    refused(&["topic", "list", "--bootstrap", &server], &format!("no broker answers at {server}"));
    refused(&["log", "dump", "/nowhere/0.log"], "cannot read /nowhere/0.log");
    refused(&["log", "dump", "/"], "is no file");
}

#[test]
fn a_damaged_segment_is_dumped_and_ends_with_1() {
    let home = directory("command_line_dump");
    let segment = home.join("00000000000000000000.log");
    write(&segment, "no batch at all, but long enough to be looked at as if it were a whole header");
    let output = wyrd(&["log", "dump", segment.to_str().expect("ASCII"), "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((&line["kind"], &line["position"]), (&"unreadable".into(), &0.into()));
}
