//! `wyrd log dump FILE`: what a segment holds, batch by batch.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::Failure;
use super::logging::LogArgs;
use super::node;
use super::output::{self, OutputArgs};
use crate::base::batch_header::BatchHeader;
use crate::log::dump::{Dumped, dump_segment};
use crate::runtime::tokio_runtime::TokioRuntime;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// Prints the batches of a segment file, damaged ones included
    Dump(DumpArgs),
}

#[derive(Args, Debug)]
pub(super) struct DumpArgs {
    /// A segment, such as topic-0/00000000000000000000.log
    file: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// A line of the output.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Line {
    Batch(Box<Batch>),
    /// From here on no batch can be made out.
    Unreadable {
        position: u64,
        bytes: u64,
        problem: String,
    },
}

#[derive(Debug, Serialize)]
struct Batch {
    position: u64,
    bytes: usize,
    base_offset: i64,
    last_offset: i64,
    records: i32,
    leader_epoch: i32,
    max_timestamp: i64,
    compression: u8,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
    control: bool,
    crc: u32,
    /// What is wrong with the checksum, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Does it.
pub(super) fn execute(command: &LogCommand, log: &LogArgs) -> Result<(), Failure> {
    log.start("warn")?;
    let LogCommand::Dump(args) = command;
    node::block_on(dump(args))
}

/// Ends with exit code 1 if anything in the file is damaged.
#[allow(clippy::disallowed_methods, reason = "a file that was named, wherever it lies")]
async fn dump(args: &DumpArgs) -> Result<(), Failure> {
    let shown = args.file.display();
    let cannot = |error: std::io::Error| Failure::unusable(format!("cannot read {shown}: {error}"));
    let file = std::fs::canonicalize(&args.file).map_err(cannot)?;
    let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(Failure::unusable(format!("{shown}: is no file")));
    };
    if !std::fs::metadata(&file).map_err(cannot)?.is_file() {
        return Err(Failure::unusable(format!("{shown}: is no file; name a segment in it")));
    }
    let runtime = TokioRuntime::new("dump", directory).map_err(cannot)?;
    let mut result = Ok(());
    let mut problems = 0;
    let as_json = args.output.is_json();
    dump_segment(&runtime, Path::new(name), |dumped| {
        let line = line(dumped);
        problems += usize::from(line.is_bad());
        result = if as_json { line.json() } else { Ok(line.text()) }.and_then(|line| output::print(&line));
        result.is_ok()
    })
    .await
    .map_err(Failure::failed)?;
    result?;
    if problems > 0 { Err(Failure::failed(format!("{shown}: is damaged in {problems} place(s)"))) } else { Ok(()) }
}

fn line(dumped: Dumped) -> Line {
    match dumped {
        Dumped::Batch { position, header, bad } => {
            Line::Batch(Box::new(batch(position, &header, bad.map(|bad| bad.to_string()))))
        }
        Dumped::Unreadable { position, bytes, bad } => Line::Unreadable { position, bytes, problem: bad.to_string() },
    }
}

fn batch(position: u64, header: &BatchHeader, problem: Option<String>) -> Batch {
    Batch {
        position,
        bytes: header.size,
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        records: header.record_count,
        leader_epoch: header.leader_epoch.0,
        max_timestamp: header.max_timestamp,
        compression: header.compression(),
        producer_id: header.producer_id.0,
        producer_epoch: header.producer_epoch.0,
        base_sequence: header.base_sequence,
        transactional: header.is_transactional(),
        control: header.is_control(),
        crc: header.crc,
        problem,
    }
}

impl Line {
    fn is_bad(&self) -> bool {
        match self {
            Line::Batch(batch) => batch.problem.is_some(),
            Line::Unreadable { .. } => true,
        }
    }

    fn json(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map_err(Failure::failed)
    }

    /// In the words of Kafka's own dump tool.
    fn text(&self) -> String {
        match self {
            Line::Batch(batch) => {
                let Batch { base_offset, last_offset, records, base_sequence, producer_id, producer_epoch, .. } =
                    **batch;
                let Batch {
                    leader_epoch,
                    transactional,
                    control,
                    position,
                    max_timestamp,
                    bytes,
                    compression,
                    crc,
                    ..
                } = **batch;
                let valid =
                    batch.problem.as_ref().map_or("isvalid: true".to_owned(), |bad| format!("isvalid: false ({bad})"));
                format!(
                    "baseOffset: {base_offset} lastOffset: {last_offset} count: {records} baseSequence: {base_sequence} \
                     producerId: {producer_id} producerEpoch: {producer_epoch} partitionLeaderEpoch: {leader_epoch} \
                     isTransactional: {transactional} isControl: {control} position: {position} \
                     maxTimestamp: {max_timestamp} size: {bytes} compresscodec: {compression} crc: {crc} {valid}"
                )
            }
            Line::Unreadable { position, bytes, problem } => {
                format!("position: {position} unreadable: {bytes} bytes ({problem})")
            }
        }
    }
}
