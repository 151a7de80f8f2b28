//! The contract on tokio, and what only the real world can show: a second handle on one data
//! directory, a panic that is logged, events that reach the traces.

#![allow(clippy::disallowed_methods, reason = "data directories are made and removed around a node's life")]

use std::fs;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use wyrdlog::base::event::Event;
use wyrdlog::base::plants::Plant;
use wyrdlog::runtime::tokio_runtime::{self, TokioRuntime};
use wyrdlog::runtime::{Disk, Observe, OpenMode, Tasks, timeout};

use crate::conformance::{Node, World};

/// Nodes that share one process and the loopback interface.
struct OnTokio;

/// A check that takes this long hangs. It is no measure of speed: the machine may be busy.
const HANGS_AFTER: Duration = Duration::from_secs(300);

impl World for OnTokio {
    type Runtime = TokioRuntime;

    // RFC 5737: reserved for documentation, nobody's address.
    const FOREIGN_HOST: &'static str = "192.0.2.1";

    fn run<Test>(nodes: usize, test: impl FnOnce(Vec<Node<TokioRuntime>>) -> Test)
    where
        Test: Future<Output = ()> + Send + 'static,
    {
        let directory = TemporaryDirectory::new();
        let ended = tokio_runtime::run(async {
            let nodes: Vec<_> = (0..nodes).map(|index| node(&directory.0.join(index.to_string()))).collect();
            let clock = nodes[0].runtime.clone();
            timeout(&clock, HANGS_AFTER, test(nodes)).await
        });
        ended.expect("an executor").expect("the check hangs");
    }
}

crate::conformance!(OnTokio);

fn node(directory: &Path) -> Node<TokioRuntime> {
    let name = directory.file_name().expect("a name").to_string_lossy();
    let runtime = TokioRuntime::new(name, directory).expect("a node");
    Node { runtime, host: "127.0.0.1".into() }
}

/// A directory of one test, removed at its end.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("conformance-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a temporary directory");
        TemporaryDirectory(path)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `test` with a directory of its own.
fn with_directory<Test: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> Test) {
    let directory = TemporaryDirectory::new();
    tokio_runtime::run(test(directory.0.clone())).expect("an executor");
}

#[test]
fn a_second_handle_is_refused_the_lock_until_the_first_is_gone() {
    with_directory(async |directory| {
        let first = TokioRuntime::new("first", &directory).expect("a node");
        let second = TokioRuntime::new("second", &directory).expect("a node");
        first.lock().expect("nobody else uses the directory");
        first.clone().lock().expect("it holds the lock already");
        let error = second.lock().expect_err("another uses the directory");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(first);
        second.lock().expect("the first is gone");
    });
}

#[test]
fn a_node_finds_its_files_again() {
    with_directory(async |directory| {
        let before = TokioRuntime::new("before", &directory).expect("a node");
        before.open(Path::new("meta"), OpenMode::CreateNew).expect("a new file");
        drop(before);
        let after = TokioRuntime::new("after", &directory).expect("a node");
        after.open(Path::new("meta"), OpenMode::Read).expect("the same file");
    });
}

#[test]
fn a_link_below_the_directory_is_the_operators_business() {
    with_directory(async |directory| {
        let elsewhere = TemporaryDirectory::new();
        let node = TokioRuntime::new("node", &directory).expect("a node");
        std::os::unix::fs::symlink(&elsewhere.0, directory.join("big-disk")).expect("a link");
        node.open(Path::new("big-disk/log"), OpenMode::CreateNew).expect("a file behind the link");
        let entries = node.list(Path::new("")).expect("a listing");
        assert!(entries.len() == 1 && entries[0].is_directory, "{entries:?}");
    });
}

/// What was logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no writer panics")).into_owned()
    }
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logged {
    type Writer = Logged;

    fn make_writer(&self) -> Logged {
        self.clone()
    }
}

fn logging(logged: &Logged) -> impl tracing::Subscriber + Send + Sync + use<> {
    tracing_subscriber::fmt()
        .with_writer(logged.clone())
        .with_ansi(false)
        .with_env_filter(format!("error,{}=debug", tokio_runtime::EVENT_TARGET))
        .finish()
}

#[test]
fn an_event_reaches_the_traces_of_those_who_look() {
    with_directory(async |directory| {
        let node = TokioRuntime::new("broker-7", &directory).expect("a node");
        let logged = Logged::default();
        tracing::subscriber::with_default(logging(&logged), || {
            node.observe(|| Event::PlantTaken(Plant::Canary));
        });
        let text = logged.text();
        assert!(text.contains("broker-7") && text.contains("PlantTaken(Canary)"), "{text}");
    });
}

#[test]
fn a_panic_ends_its_task_is_logged_and_harms_no_other() {
    let directory = TemporaryDirectory::new();
    let logged = Logged::default();
    // One thread, so that its subscriber is the one that the tasks see.
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an executor");
    let _guard = tracing::subscriber::set_default(logging(&logged));
    executor.block_on(async {
        let node = TokioRuntime::new("broker-7", &directory.0).expect("a node");
        let other = node.spawn("bystander", std::future::pending());
        node.spawn("unlucky", async { panic!("number {}", 13) }).await;
        let text = logged.text();
        assert!(["broker-7", "unlucky", "number 13"].iter().all(|part| text.contains(part)), "{text}");
        assert!(timeout(&node, Duration::from_millis(5), other).await.is_err(), "the other task ended too");
    });
}
