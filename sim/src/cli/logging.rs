//! Logs of simulated nodes on standard error: with virtual time and the node's name. Logging never
//! changes a run.

use std::fmt;
use std::io::stderr;

use clap::Args;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::Trouble;
use crate::engine;

/// How a command logs.
#[derive(Args, Clone, Debug)]
pub(super) struct LogArguments {
    /// What simulated nodes log to standard error: error, warn, info, debug, trace, or directives.
    #[arg(long = "log", global = true, value_name = "FILTER", default_value = "off")]
    filter: String,
}

/// Virtual time, and the node whose task runs.
struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let Some((now_ns, node)) = engine::here() else { return Ok(()) };
        write!(
            writer,
            "{:>3}.{:09} {:<13}",
            now_ns / 1_000_000_000,
            now_ns % 1_000_000_000,
            node.as_deref().unwrap_or("-")
        )
    }
}

impl LogArguments {
    /// Starts logging.
    pub(super) fn start(&self) -> Result<(), Trouble> {
        if self.filter == "off" {
            return Ok(());
        }
        let filter = EnvFilter::builder().parse(&self.filter)?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(false);
        builder.with_timer(VirtualTime).try_init().map_err(|error| error.to_string().into())
    }
}
