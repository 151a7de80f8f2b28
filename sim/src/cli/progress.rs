//! How far a command is, on standard error: a line that changes where somebody looks, and elsewhere a
//! plain line now and then, so that a log tells it as well.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "how long a person has waited, outside of any simulation"
)]

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::out::tell;

/// A command that takes longer says what it does.
const SILENT_MAX: Duration = Duration::from_secs(1);
/// So often a plain line is written where nobody looks.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is being done, and how far it is.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    count: Option<u64>,
    done: u64,
    message: String,
    told: Instant,
    /// How long after the last line the next one comes.
    wait: Duration,
}

impl Progress {
    /// Begins `what`, of `count` steps if their number is known.
    pub(super) fn begin(what: &str, count: Option<u64>) -> Self {
        let bar = stderr().is_terminal().then(|| bar(what, count));
        let (what, told) = (what.to_owned(), Instant::now());
        Progress { bar, what, count, done: 0, message: String::new(), told, wait: SILENT_MAX }
    }

    /// One more step is done.
    pub(super) fn step(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        self.line();
    }

    /// What there is to say about it from the next step on.
    pub(super) fn note(&mut self, message: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.clone());
        }
        self.message = message;
    }

    /// Lets `write` print a line that stays.
    pub(super) fn aside(&mut self, write: impl FnOnce()) {
        self.told = Instant::now();
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn line(&mut self) {
        if self.bar.is_some() || self.told.elapsed() < self.wait {
            return;
        }
        (self.told, self.wait) = (Instant::now(), LINE_EVERY);
        let message = if self.message.is_empty() { String::new() } else { format!("; {}", self.message) };
        match self.count {
            Some(count) => tell!("{}: {} of {count}{message}", self.what, self.done),
            None => tell!("{}: {}{message}", self.what, self.done),
        }
    }

    /// It is over; nothing of it stays on the screen.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &str, count: Option<u64>) -> ProgressBar {
    let (bar, template) = match count {
        Some(count) => (ProgressBar::new(count), "{prefix} {bar:30} {pos}/{len}, {per_sec}, {eta} left; {msg}"),
        None => (ProgressBar::new_spinner(), "{prefix} {spinner} {pos} {elapsed}; {msg}"),
    };
    let style = ProgressStyle::with_template(template).expect("the templates are constants that were tried");
    bar.set_style(style);
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
