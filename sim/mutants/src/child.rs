//! A process of its own for whatever runs mutated code, bounded in CPU time, in real time and in
//! memory: a mutant that never ends has been seen.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The most CPU time between two lines of output.
const CPU_MAX: Duration = Duration::from_secs(40);
/// The most real time between two lines of output, on a machine however busy.
const WAIT_MAX: Duration = Duration::from_secs(900);
/// The most memory, in KiB.
const MEMORY_KIB_MAX: u64 = 6 << 20;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(ExitStatus),
    /// It was stopped: it said nothing for too long.
    Hung,
}

/// Runs `program`, and gives each line that it prints to `line`.
pub fn run(program: &Path, arguments: &[String], mutant: u32, mut line: impl FnMut(String)) -> io::Result<End> {
    let script = format!("ulimit -v {MEMORY_KIB_MAX}; exec \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(program)
        .args(arguments)
        .env("WYRD_MUTANT", mutant.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for text in BufReader::new(output).lines() {
            if text.is_ok_and(|text| sender.send(text).is_err()) {
                return;
            }
        }
    });
    let (mut since, mut cpu_before) = (Instant::now(), Duration::ZERO);
    let end = loop {
        match receiver.recv_timeout(Duration::from_millis(200)) {
            Ok(text) => {
                line(text);
                (since, cpu_before) = (Instant::now(), cpu(&child));
            }
            Err(RecvTimeoutError::Disconnected) => break End::Exited(child.wait()?),
            Err(RecvTimeoutError::Timeout) => {
                if cpu(&child).saturating_sub(cpu_before) > CPU_MAX || since.elapsed() > WAIT_MAX {
                    child.kill()?;
                    child.wait()?;
                    break End::Hung;
                }
            }
        }
    };
    // The pipe is closed: the reader has ended, or does now.
    let _ = reader.join();
    Ok(end)
}

/// The CPU time of all threads of `child` so far; nothing where the system does not tell.
fn cpu(child: &Child) -> Duration {
    // Linux: fields 14 and 15 are user and system time in hundredths; the second field may hold blanks.
    let text = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_prints_is_given_line_by_line_with_its_end() {
        let mut lines = Vec::new();
        let arguments = ["-c", "echo one; echo $WYRD_MUTANT; exit 3"].map(str::to_owned);
        let end = run(Path::new("sh"), &arguments, 7, |line| lines.push(line)).expect("it runs");
        assert_eq!(lines, ["one", "7"]);
        assert!(matches!(end, End::Exited(status) if status.code() == Some(3)), "{end:?}");
    }
}
