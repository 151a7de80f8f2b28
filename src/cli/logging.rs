//! Structured logs on standard error, as text or as JSON.

use std::io::{IsTerminal, stderr};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::failure::Failure;

/// Names the filter where `--log` does not.
const FILTER_VARIABLE: &str = "WYRD_LOG";

/// How a command logs.
#[derive(Args, Clone, Debug)]
pub(super) struct LogArgs {
    /// What is logged to standard error: error, warn, info, debug, trace, off, or directives such
    /// as `info,wyrd::event=debug`, which adds every event of the nodes
    #[arg(long = "log", global = true, value_name = "FILTER", help_heading = "Logs")]
    filter: Option<String>,
    /// How it is written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, help_heading = "Logs")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

impl LogArgs {
    /// Starts logging. Where neither the flag nor `WYRD_LOG` says what, `default` does.
    pub(super) fn start(&self, default: &str) -> Result<(), Failure> {
        let (directives, origin) = match (&self.filter, std::env::var(FILTER_VARIABLE)) {
            (Some(given), _) => (given.clone(), "--log"),
            (None, Ok(set)) => (set, FILTER_VARIABLE),
            (None, Err(_)) => (default.to_owned(), "--log"),
        };
        let bad = |error| Failure::unusable(format!("{origin} {directives}: {error}; expected a level such as info"));
        let filter = EnvFilter::builder().parse(&directives).map_err(bad)?;
        let builder =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal());
        let started = match self.log_format {
            LogFormat::Text => builder.try_init(),
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
        };
        started.map_err(|error| Failure::failed(format!("cannot start logging: {error}")))
    }
}
