//! What commands print. A reader that goes away (`| head`) ends the command quietly, as it ends other
//! programs, and nobody who reads standard error is owed anything.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::exit;

use super::INFRASTRUCTURE;

/// What a shell tells of a program whose reader went away (128 + SIGPIPE).
const READER_GONE: i32 = 141;

/// Prints to standard output.
pub(super) fn print_out(text: Arguments<'_>) {
    match stdout().lock().write_fmt(text) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(READER_GONE),
        Err(error) => {
            print_error(format_args!("wyrd-sim: standard output: {error}\n"));
            exit(i32::from(INFRASTRUCTURE));
        }
    }
}

/// Prints to standard error.
pub(super) fn print_error(text: Arguments<'_>) {
    let _ = stderr().lock().write_fmt(text);
}

/// A line on standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::out::print_out(format_args!("{}\n", format_args!($($text)*))) };
}

/// A line on standard error.
macro_rules! tell {
    ($($text:tt)*) => { $crate::cli::out::print_error(format_args!("{}\n", format_args!($($text)*))) };
}

pub(super) use {say, tell};
