//! The machine's limit for produce: frames of 128 KiB come over loopback, each is checked by its
//! CRC-32C and written to a file. Nothing else is done: no protocol, no index, no answer, no sync,
//! one buffer for all frames.
//!
//! One thread receives, another one sends. CPU time is a thread's time on a processor as the
//! scheduler accounts it. Prints one JSON object; fails on a frame that is damaged or missing.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures the operating system itself")]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, thread};

use wyrdlog::base::checksum::crc32c;

/// A frame begins with the checksum of the rest, big-endian.
const FRAME_BYTES: usize = 128 * 1024;
const CHECKSUM_BYTES: usize = 4;
/// So many frames differ, then they come again.
const DISTINCT_FRAMES: usize = 16;

/// What receiving all frames took.
struct Measured {
    wall: Duration,
    receiver_cpu: Duration,
    sender_cpu: Duration,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let parsed = match &*arguments {
        [file, frames] => frames.parse().ok().filter(|frames| *frames > 0).map(|frames| (file, frames)),
        _ => None,
    };
    let Some((file, frames)) = parsed else {
        eprintln!("usage: receive-limit FILE FRAMES");
        return ExitCode::from(2);
    };
    match measure(Path::new(file), frames) {
        Ok(measured) => {
            print(frames, &measured);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("receive-limit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(frames: u64, measured: &Measured) {
    let gigabytes = (frames * FRAME_BYTES as u64) as f64 / 1e9;
    println!(
        "{{\"frames\":{frames},\"gigabytes\":{gigabytes:.3},\"wall_s\":{:.3},\"mb_per_s\":{:.1},\
         \"receiver_cpu_s_per_gb\":{:.4},\"sender_cpu_s_per_gb\":{:.4}}}",
        measured.wall.as_secs_f64(),
        gigabytes * 1e3 / measured.wall.as_secs_f64(),
        measured.receiver_cpu.as_secs_f64() / gigabytes,
        measured.sender_cpu.as_secs_f64() / gigabytes,
    );
}

/// Sends and receives `frames` frames, which are then what `file` holds.
fn measure(file: &Path, frames: u64) -> io::Result<Measured> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let contents = contents();
    let sender = thread::spawn(move || send(TcpStream::connect(address)?, &contents, frames));
    let (connection, _) = listener.accept()?;
    let file = File::create(file)?;
    let (wall, cpu) = (Instant::now(), cpu_of_this_thread()?);
    receive(connection, file, frames)?;
    let (wall, receiver_cpu) = (wall.elapsed(), cpu_of_this_thread()? - cpu);
    let sender_cpu = sender.join().map_err(|_| io::Error::other("the sender panicked"))??;
    Ok(Measured { wall, receiver_cpu, sender_cpu })
}

/// Frames that differ, each with its checksum.
fn contents() -> Vec<Vec<u8>> {
    let mut state = 1_u32;
    let mut next = || {
        // Numerical Recipes' generator: what matters is that no two frames are alike.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut frame = || {
        let mut frame: Vec<u8> = (0..FRAME_BYTES).map(|_| next()).collect();
        let checksum = crc32c(&frame[CHECKSUM_BYTES..]);
        frame[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_be_bytes());
        frame
    };
    (0..DISTINCT_FRAMES).map(|_| frame()).collect()
}

/// Gives the CPU time that sending took.
fn send(mut connection: TcpStream, contents: &[Vec<u8>], frames: u64) -> io::Result<Duration> {
    let cpu = cpu_of_this_thread()?;
    for (_, frame) in (0..frames).zip(contents.iter().cycle()) {
        connection.write_all(frame)?;
    }
    Ok(cpu_of_this_thread()? - cpu)
}

fn receive(mut from: impl Read, mut to: impl Write, frames: u64) -> io::Result<()> {
    let mut frame = vec![0; FRAME_BYTES];
    for number in 0..frames {
        from.read_exact(&mut frame)?;
        let (announced, rest) = frame.split_at(CHECKSUM_BYTES);
        if announced != crc32c(rest).to_be_bytes() {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("frame {number} is damaged")));
        }
        to.write_all(&frame)?;
    }
    Ok(())
}

/// Linux: the first number of `schedstat` is the time on a processor, in nanoseconds.
fn cpu_of_this_thread() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_ascii_whitespace().next().and_then(|first| first.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| io::Error::other("schedstat does not begin with a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_what_is_written() {
        let sent = contents().concat();
        let mut written = Vec::new();
        receive(&*sent, &mut written, DISTINCT_FRAMES as u64).expect("nothing is damaged");
        assert!(written == sent);
    }

    #[test]
    fn a_damaged_frame_and_a_missing_one_are_found() {
        let mut sent = contents().concat();
        let missing = receive(&*sent, io::sink(), DISTINCT_FRAMES as u64 + 1).expect_err("one is missing");
        assert_eq!(missing.kind(), ErrorKind::UnexpectedEof);
        sent[2 * FRAME_BYTES - 1] ^= 1;
        let damaged = receive(&*sent, io::sink(), DISTINCT_FRAMES as u64).expect_err("frame 1 is damaged");
        assert_eq!(damaged.to_string(), "frame 1 is damaged");
    }
}
