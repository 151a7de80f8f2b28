//! Three coordinator processes as an operator starts them, and kazoo, an unmodified ZooKeeper
//! client, against them: operations, watches, sessions, and `kill -9` of whoever leads.
//!
//! Skipped, and said so on the terminal, where kazoo is not installed.

mod processes;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use processes::{Running, directory, free_ports, python_with, wait_for, wyrd};

/// How long a server may take for what it does within a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An ensemble of three servers with a configuration file that they share.
struct Ensemble {
    config: PathBuf,
    home: PathBuf,
    clients: [u16; 3],
    servers: [Option<Running>; 3],
}

impl Ensemble {
    fn start(test: &str) -> Ensemble {
        let home = directory(test);
        let [p1, p2, p3, c1, c2, c3] = free_ports();
        let config = home.join("zoo.cfg");
        let text = format!(
            "tickTime=1000\ninitLimit=5\nsyncLimit=2\nclientPortAddress=127.0.0.1\n\
             server.1=127.0.0.1:{p1};{c1}\nserver.2=127.0.0.1:{p2};{c2}\nserver.3=127.0.0.1:{p3};{c3}\n"
        );
        write(&config, &text);
        let mut ensemble = Ensemble { config, home, clients: [c1, c2, c3], servers: [None, None, None] };
        for index in 0..3 {
            ensemble.command(index, |arguments| {
                let output = wyrd(&[&["coordinator", "format"], arguments].concat());
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            });
            ensemble.run(index);
        }
        ensemble
    }

    fn command<T>(&self, index: usize, with: impl FnOnce(&[&str]) -> T) -> T {
        let directory = format!("dataDir={}", self.home.join(format!("{}", index + 1)).display());
        let config = self.config.to_str().expect("a path of ASCII");
        with(&["--config", config, "--id", &(index + 1).to_string(), "--set", &directory])
    }

    fn run(&mut self, index: usize) {
        let log = self.home.join(format!("{}.log", index + 1));
        let server = self.command(index, |arguments| {
            Running::start(&[&["coordinator", "--log-format", "json"], arguments].concat(), &log)
        });
        self.servers[index] = Some(server);
    }

    /// The server that leads, by what the servers log: the latest term in which one says so.
    fn leader(&self) -> Option<usize> {
        let running = self.servers.iter().enumerate().filter_map(|(index, server)| Some((index, server.as_ref()?)));
        let terms = running.filter_map(|(index, server)| Some((last_term_led(&server.logged())?, index)));
        terms.max().map(|(_, index)| index)
    }

    fn hosts(&self) -> String {
        self.clients.map(|port| format!("127.0.0.1:{port}")).join(",")
    }

    /// Does what the script asks for, and says what it did.
    fn obey(&mut self, what: &str) -> String {
        match what {
            "kill the leader" => {
                let leader = wait_for("a leader", PATIENCE, || self.leader());
                self.servers[leader].take().expect("it runs").kill();
                format!("server {}", leader + 1)
            }
            "restart it" => {
                let down = self.servers.iter().position(Option::is_none).expect("one is down");
                self.run(down);
                format!("server {}", down + 1)
            }
            "kill all and restart" => {
                self.servers.iter_mut().filter_map(Option::take).for_each(Running::kill);
                (0..3).for_each(|index| self.run(index));
                "all".to_owned()
            }
            other => panic!("the script asks for something unknown: {other}"),
        }
    }
}

/// The term in which this log last says that its server leads.
fn last_term_led(log: &str) -> Option<u64> {
    let led = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line["message"] == "leads").then(|| line["term"].as_str()?.parse().ok())?
    };
    log.lines().filter_map(led).next_back()
}

#[allow(clippy::disallowed_methods, reason = "a test writes a configuration file")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file below target/");
}

struct Script {
    child: Child,
    input: ChildStdin,
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn kazoo_works_with_three_processes_and_loses_nothing_when_they_are_killed() {
    let Some(python) = python_with("kazoo") else { return };
    let mut ensemble = Ensemble::start("real_coordinator_kazoo");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_clients/coordinator.py");
    let mut command = Command::new(python);
    command.arg(script).arg(ensemble.hosts()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("Python runs");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let input = child.stdin.take().expect("it is piped");
    let mut script = Script { child, input };
    let mut done = false;
    for line in output.lines() {
        let line = line.expect("text");
        println!("{line}");
        if let Some(what) = line.strip_prefix("do: ") {
            let answer = ensemble.obey(what);
            writeln!(script.input, "{answer}").expect("it listens");
        }
        done = line == "done";
    }
    let status = script.child.wait().expect("its end");
    assert!(status.success() && done, "the script failed; servers' logs are in {}", ensemble.home.display());
    for server in ensemble.servers.iter_mut().flatten() {
        assert!(server.terminate(PATIENCE).success(), "{}", server.logged());
        assert!(!server.logged().contains("panicked"), "{}", server.logged());
    }
}

#[test]
fn the_tree_of_three_processes_can_be_printed_from_each() {
    let ensemble = Ensemble::start("real_coordinator_tree");
    for port in ensemble.clients {
        let server = format!("127.0.0.1:{port}");
        let output = wait_for("an answer", PATIENCE, || {
            let output = wyrd(&["coordinator", "tree", "--server", &server, "-o", "json"]);
            output.status.success().then_some(output)
        });
        let nodes: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let paths: Vec<&str> =
            nodes.as_array().expect("a list").iter().filter_map(|node| node["path"].as_str()).collect();
        assert_eq!(paths, ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"]);
        let missing = wyrd(&["coordinator", "tree", "--server", &server, "/nowhere"]);
        assert_eq!(missing.status.code(), Some(2));
        assert_eq!(String::from_utf8_lossy(&missing.stderr), "wyrd: /nowhere: there is no such node\n");
    }
}
