//! Processes of the built binary, for tests that run it for real: directories of their own, free
//! ports, and an end by process id whatever becomes of the test.

#![allow(dead_code, reason = "each test uses what it needs of it")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test of real processes and their files")]

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The binary under test.
pub const WYRD: &str = env!("CARGO_BIN_EXE_wyrd");

/// A directory of one test, emptied when it begins and kept for whoever looks into a failure.
pub fn directory(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory below target/");
    directory
}

/// From here to `PORTS_END` no system takes the ports of outgoing connections: one that is free now is not taken by
/// some client before its server starts.
const PORTS_BEGIN: u32 = 10_000;
const PORTS_END: u32 = 32_000;

/// Ports that were free a moment ago, all different.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(101);
    [(); N].map(|()| {
        let next = || first.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % (PORTS_END - PORTS_BEGIN);
        let mut ports = (PORTS_BEGIN..PORTS_END).map(|_| (PORTS_BEGIN + next()) as u16);
        ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
    })
}

/// Runs the binary to its end.
pub fn wyrd(arguments: &[&str]) -> Output {
    Command::new(WYRD).args(arguments).env_remove("WYRD_LOG").stdin(Stdio::null()).output().expect("the binary runs")
}

/// A running process of the binary, which is killed when this is dropped.
pub struct Running {
    child: Child,
    /// What it logs; appended to by each life.
    pub log: PathBuf,
}

impl Running {
    /// Starts the binary with its output going to `log`.
    pub fn start(arguments: &[&str], log: &Path) -> Running {
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        let both = file.try_clone().expect("a second handle");
        let mut command = Command::new(WYRD);
        command.args(arguments).env_remove("WYRD_LOG").stdin(Stdio::null()).stdout(file).stderr(both);
        Running { child: command.spawn().expect("the binary runs"), log: log.to_owned() }
    }

    /// All that it has logged so far, earlier lives included.
    pub fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as a crash would (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("its end");
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub fn terminate(&mut self, patience: Duration) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not stop within {patience:?}:\n{}", self.logged());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `found` gives something.
pub fn wait_for<T>(what: &str, patience: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {patience:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A Python that has the clients: `WYRD_TEST_PYTHON`, or the one that `tests/real_clients/install.sh`
/// makes. None, and a loud word on the terminal, where there is none.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/real_clients/bin/python");
    let python = std::env::var_os("WYRD_TEST_PYTHON").map_or(made, PathBuf::from);
    let import = format!("import {module}");
    let imports = Command::new(&python).args(["-c", &import]).stderr(Stdio::null()).status();
    if imports.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    skipped(&format!("{} has no {module}: run tests/real_clients/install.sh", python.display()));
    None
}

/// Says on the terminal, past the capture of test output, that a test was skipped. Where skipping
/// is not accepted (`WYRD_REQUIRE_REAL_CLIENTS` is set), it fails instead.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("WYRD_REQUIRE_REAL_CLIENTS").is_none(), "not run, although it must be: {why}");
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED, NOT RUN: {name}: {why}");
}
