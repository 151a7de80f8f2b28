//! The simulated network: what TCP's users would see of partitions, crashes, power cuts and slow
//! readers.
#![allow(clippy::unwrap_used)] // Helpers of tests: an unmet expectation is a failed test.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wyrdlog::base::address::Address;
use wyrdlog::runtime::{Clock, Listener, Network, Stream, StreamWriter, Task, Tasks, timeout};
use wyrdlog_sim::engine::{EngineConfig, LinkParams, NodeId, SimReader, SimRuntime, SimWriter, Simulation, Stop};

type Log = Arc<Mutex<Vec<String>>>;

fn log() -> Log {
    Log::default()
}

fn say(log: &Log, text: impl Into<String>) {
    log.lock().unwrap().push(text.into());
}

fn said(log: &Log) -> Vec<String> {
    log.lock().unwrap().clone()
}

fn bytes_said(log: &Log) -> u64 {
    said(log).iter().map(|line| line.trim_end_matches(" bytes").parse::<u64>().unwrap()).sum()
}

async fn accept(runtime: SimRuntime) -> (SimReader, SimWriter) {
    let listener = runtime.listen(&Address::new("server", 9092)).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    stream.split()
}

async fn connect(runtime: SimRuntime) -> io::Result<(SimReader, SimWriter)> {
    Ok(runtime.connect(&Address::new("server", 9092)).await?.split())
}

fn two(seed: u64) -> (Simulation, NodeId, NodeId) {
    let mut simulation = Simulation::new(seed, EngineConfig::default());
    let server = simulation.add_node("server");
    let client = simulation.add_node("client");
    (simulation, server, client)
}

/// Lets time pass, whoever ends meanwhile.
fn pass(simulation: &mut Simulation, duration: Duration) {
    let deadline_ns = simulation.now_ns() + duration.as_nanos() as u64;
    while let Stop::Exited(_) = simulation.run_until(deadline_ns) {}
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Both ends connected: the server reads to the end into `server_log`, as does the client.
fn connected(seed: u64) -> (Simulation, NodeId, NodeId, Log, Log) {
    let (mut simulation, server, client) = two(seed);
    let (server_log, client_log) = (log(), log());
    let (to_server, to_client) = (server_log.clone(), client_log.clone());
    simulation.start(server, move |runtime| async move {
        let (reader, writer) = accept(runtime).await;
        read_all(reader, to_server).await;
        drop(writer);
        runtime.sleep(seconds(100_000)).await;
    });
    simulation.start(client, move |runtime| async move {
        let (reader, mut writer) = connect(runtime).await.unwrap();
        runtime.spawn("reader", read_all(reader, to_client)).detach();
        for round in 0..u64::MAX {
            if writer.write_all(&[round as u8]).await.is_err() {
                break;
            }
            runtime.sleep(seconds(1)).await;
        }
        runtime.sleep(seconds(100_000)).await;
    });
    assert_eq!(simulation.run_for(Duration::from_millis(2500)), Stop::Deadline);
    assert_eq!(said(&server_log), ["1 bytes", "1 bytes", "1 bytes"]);
    (simulation, server, client, server_log, client_log)
}

async fn read_all(mut reader: SimReader, log: Log) {
    let mut buffer = vec![0; 65536];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return say(&log, "end"),
            Ok(count) => say(&log, format!("{count} bytes")),
            Err(error) => return say(&log, format!("{:?}", error.kind())),
        }
    }
}

#[test]
fn connecting_to_a_host_without_listener_is_refused_at_once() {
    let (mut simulation, _, client) = two(1);
    let result = log();
    let results = result.clone();
    simulation.start(client, move |runtime| async move {
        let error = connect(runtime).await.err().map(|error| error.kind());
        say(&results, format!("{error:?} {}", runtime.now().0 > 0));
    });
    assert_eq!(simulation.run_for(seconds(1)), Stop::Exited(client));
    assert_eq!(said(&result), ["Some(ConnectionRefused) true"]);
    assert!(simulation.now_ns() < 2_000_000);
}

#[test]
fn connecting_across_a_partition_stays_pending_until_the_systems_time_out() {
    let (mut simulation, server, client) = two(1);
    simulation.partition(client, server, true);
    simulation.start(server, |runtime| async move { drop(accept(runtime).await) });
    let result = log();
    let results = result.clone();
    simulation.start(client, move |runtime| async move {
        let before = runtime.now();
        let error = connect(runtime).await.err().map(|error| error.kind());
        say(&results, format!("{error:?} after {} s", runtime.now().since(before).as_secs()));
    });
    simulation.run_for(seconds(100));
    assert!(said(&result).is_empty());
    simulation.run_for(seconds(100));
    assert_eq!(said(&result), ["Some(TimedOut) after 127 s"]);
}

#[test]
fn a_connect_that_was_given_up_leaves_nothing_behind() {
    let (mut simulation, server, client) = two(1);
    simulation.partition_both(client, server, true);
    simulation.start(client, move |runtime| async move {
        for _ in 0..100 {
            assert!(timeout(&runtime, Duration::from_millis(10), connect(runtime)).await.is_err());
        }
        runtime.sleep(seconds(10)).await;
    });
    simulation.run_for(seconds(5));
    assert_eq!(simulation.kept()[1..3], [1, 0], "one timer, no connection");
}

#[test]
fn bytes_sent_into_a_partition_arrive_in_order_after_it_heals() {
    let (mut simulation, server, client, server_log, _) = connected(1);
    simulation.partition(client, server, true);
    simulation.run_for(seconds(20));
    assert_eq!(said(&server_log).len(), 3);
    assert!(simulation.effects().segments_held > 0);
    simulation.partition(client, server, false);
    simulation.run_for(seconds(6));
    let total = bytes_said(&server_log);
    assert!(total >= 23, "{total}");
}

#[test]
fn what_a_lossy_link_lost_comes_with_the_first_retransmission_after_it_is_mended() {
    let (mut simulation, server, client, server_log, _) = connected(5);
    let mended = EngineConfig::default().network.link;
    let lossy = LinkParams { loss_per_million: 1_000_000, ..mended };
    simulation.set_link(client, server, lossy);
    pass(&mut simulation, Duration::from_millis(2000));
    assert_eq!(bytes_said(&server_log), 3, "all that is sent at 3 s and at 4 s is lost");
    // Lost at 3.0, 3.2, 3.6 and 4.4 s; to be sent again at 6 s.
    simulation.set_link(client, server, mended);
    pass(&mut simulation, Duration::from_millis(1400));
    assert_eq!(bytes_said(&server_log), 3, "nothing is sent again yet");
    pass(&mut simulation, Duration::from_millis(200));
    assert_eq!(bytes_said(&server_log), 7, "the bytes of 3, 4, 5 and 6 s");
    pass(&mut simulation, Duration::from_millis(1000));
    assert_eq!(bytes_said(&server_log), 8, "and from then on there is no delay");
}

#[test]
fn a_crash_resets_peers_and_a_power_cut_tells_them_nothing() {
    let (mut simulation, server, _, _, client_log) = connected(1);
    assert!(simulation.crash(server));
    simulation.run_for(seconds(2));
    assert_eq!(said(&client_log), ["ConnectionReset"]);
    drop(simulation);

    let (mut simulation, server, _, _, client_log) = connected(1);
    simulation.power_off(server);
    simulation.run_for(seconds(600));
    assert!(said(&client_log).is_empty(), "silence: {:?}", said(&client_log));
    simulation.run_for(seconds(600));
    assert_eq!(said(&client_log), ["TimedOut"], "until the retransmission gives up");
}

#[test]
fn a_peer_that_lost_power_and_came_back_answers_old_connections_with_a_reset() {
    let (mut simulation, server, _, _, client_log) = connected(1);
    simulation.power_off(server);
    simulation.run_for(seconds(3));
    assert!(said(&client_log).is_empty());
    simulation.power_on(server);
    simulation.run_for(seconds(10));
    assert_eq!(said(&client_log), ["ConnectionReset"]);
}

#[test]
fn a_kill_across_a_partition_tells_the_peer_nothing_until_it_heals() {
    for seed in 0..20 {
        let (mut simulation, server, client, _, client_log) = connected(seed);
        simulation.partition_both(client, server, true);
        simulation.crash(server);
        simulation.run_for(seconds(60));
        assert!(said(&client_log).is_empty(), "seed {seed}: {:?}", said(&client_log));
        simulation.heal_all();
        simulation.run_for(seconds(30));
        assert_eq!(said(&client_log), ["ConnectionReset"], "seed {seed}: its next segment is answered");
    }
}

#[test]
fn a_one_way_partition_lets_bytes_through_the_other_way_and_fills_the_senders_buffer() {
    let (mut simulation, server, client) = two(3);
    let received = log();
    let receipts = received.clone();
    simulation.start(server, move |runtime| async move {
        let (reader, _writer) = accept(runtime).await;
        read_all(reader, receipts).await;
    });
    let sent = Arc::new(Mutex::new(0usize));
    let counter = sent.clone();
    simulation.start(client, move |runtime| async move {
        let (_reader, mut writer) = connect(runtime).await.unwrap();
        runtime.sleep(seconds(1)).await;
        loop {
            *counter.lock().unwrap() += writer.write(&[7; 10_000]).await.unwrap();
        }
    });
    simulation.run_for(Duration::from_millis(500));
    simulation.partition(server, client, true);
    simulation.run_for(seconds(30));
    let total = |log: &Log| {
        said(log).iter().map(|line| line.trim_end_matches(" bytes").parse::<usize>().unwrap()).sum::<usize>()
    };
    assert_eq!(*sent.lock().unwrap(), 256 * 1024, "no acknowledgement comes back");
    assert_eq!(total(&received), 256 * 1024);
    simulation.partition(server, client, false);
    simulation.run_for(Duration::from_millis(100));
    assert!(total(&received) > 256 * 1024);
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer_and_loses_nothing() {
    let (mut simulation, server, client) = two(4);
    let sent = Arc::new(Mutex::new(0u64));
    let sum = Arc::new(Mutex::new(0u64));
    let (counter, sums) = (sent.clone(), sum.clone());
    simulation.start(server, move |runtime| async move {
        let (mut reader, _writer) = accept(runtime).await;
        runtime.sleep(seconds(5)).await;
        let mut buffer = vec![0; 1000];
        let mut expected = 0u8;
        loop {
            let count = reader.read(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            for byte in &buffer[..count] {
                assert_eq!(*byte, expected);
                expected = expected.wrapping_add(1);
            }
            *sums.lock().unwrap() += count as u64;
        }
        runtime.sleep(seconds(1000)).await;
    });
    simulation.start(client, move |runtime| async move {
        let (_reader, mut writer) = connect(runtime).await.unwrap();
        let block: Vec<u8> = (0..=255).collect();
        for _ in 0..8192 {
            writer.write_all(&block).await.unwrap();
            *counter.lock().unwrap() += 256;
        }
        writer.shutdown().await.unwrap();
        runtime.sleep(seconds(1000)).await;
    });
    simulation.run_for(seconds(4));
    let before = *sent.lock().unwrap();
    assert!((256 * 1024..=600 * 1024).contains(&before), "{before}");
    simulation.run_for(seconds(60));
    assert_eq!(*sum.lock().unwrap(), 8192 * 256);
}

#[test]
fn a_half_closed_connection_still_carries_bytes_the_other_way() {
    let (mut simulation, server, client) = two(5);
    let result = log();
    let results = result.clone();
    simulation.start(server, move |runtime| async move {
        let (mut reader, mut writer) = accept(runtime).await;
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        runtime.sleep(seconds(1)).await;
        writer.write_all(&all).await.unwrap();
    });
    simulation.start(client, move |runtime| async move {
        let (mut reader, mut writer) = connect(runtime).await.unwrap();
        writer.write_all(b"question").await.unwrap();
        drop(writer);
        let mut all = String::new();
        reader.read_to_string(&mut all).await.unwrap();
        say(&results, all);
    });
    pass(&mut simulation, seconds(10));
    assert_eq!(said(&result), ["question"]);
    pass(&mut simulation, seconds(10));
    assert_eq!(simulation.kept()[..3], [0, 0, 0]);
}

#[test]
fn bytes_written_before_the_connection_was_dropped_are_delivered() {
    let (mut simulation, server, client) = two(6);
    let result = log();
    let results = result.clone();
    simulation.start(server, move |runtime| async move {
        let (mut reader, _writer) = accept(runtime).await;
        let mut all = String::new();
        reader.read_to_string(&mut all).await.unwrap();
        say(&results, all);
    });
    simulation.start(client, move |runtime| async move {
        let (reader, mut writer) = connect(runtime).await.unwrap();
        writer.write_all(b"farewell").await.unwrap();
        drop((reader, writer));
    });
    pass(&mut simulation, seconds(10));
    assert_eq!(said(&result), ["farewell"]);
}

#[test]
fn a_reset_by_the_peer_is_told_and_ends_both_directions() {
    let (mut simulation, server, client) = two(7);
    let result = log();
    let results = result.clone();
    simulation.start(server, move |runtime| async move {
        let (_reader, writer) = accept(runtime).await;
        writer.reset();
        runtime.sleep(seconds(10)).await;
    });
    simulation.start(client, move |runtime| async move {
        let (mut reader, mut writer) = connect(runtime).await.unwrap();
        let read = reader.read_u8().await.map_err(|error| error.kind());
        let wrote = writer.write(b"x").await.map_err(|error| error.kind());
        say(&results, format!("{read:?} {wrote:?}"));
    });
    simulation.run_for(seconds(10));
    assert_eq!(said(&result), ["Err(ConnectionReset) Err(ConnectionReset)"]);
}

#[test]
fn an_armed_reset_cuts_a_frame_in_its_middle() {
    let mut lengths = Vec::new();
    for seed in 0..30 {
        let (mut simulation, server, client) = two(seed);
        let received = log();
        let receipts = received.clone();
        simulation.start(server, move |runtime| async move {
            let (reader, _writer) = accept(runtime).await;
            read_all(reader, receipts).await;
        });
        simulation.start(client, move |runtime| async move {
            let (_reader, mut writer) = connect(runtime).await.unwrap();
            runtime.sleep(seconds(1)).await;
            let _ = writer.write_all(&[1; 1000]).await;
            runtime.sleep(seconds(100)).await;
        });
        simulation.reset_mid_frame(client, server);
        simulation.run_for(seconds(5));
        assert_eq!(simulation.effects().frames_cut, 1);
        let lines = said(&received);
        assert_eq!(lines.last().map(String::as_str), Some("ConnectionReset"));
        lengths.push(lines.len());
    }
    assert!(lengths.contains(&1) && lengths.contains(&2), "the reset may overtake the reader: {lengths:?}");
}

#[test]
fn a_frame_that_was_to_be_cut_short_and_is_spared_comes_whole() {
    let (mut simulation, server, client) = two(4);
    let received = log();
    let receipts = received.clone();
    simulation.start(server, move |runtime| async move {
        let (reader, _writer) = accept(runtime).await;
        read_all(reader, receipts).await;
    });
    simulation.start(client, move |runtime| async move {
        let (_reader, mut writer) = connect(runtime).await.unwrap();
        runtime.sleep(seconds(1)).await;
        writer.write_all(&[1; 1000]).await.expect("nobody cut it short");
        runtime.sleep(seconds(100)).await;
    });
    simulation.reset_mid_frame(client, server);
    simulation.spare_frame(client, server);
    simulation.spare_frame(client, server);
    simulation.run_for(seconds(5));
    assert_eq!(simulation.effects().frames_cut, 0);
    assert_eq!(simulation.cut_frames(), vec![]);
    let lines = said(&received);
    assert!(lines.iter().all(|line| line.ends_with(" bytes")) && !lines.is_empty(), "{lines:?}");
}

#[test]
fn a_middleboxs_reset_reaches_both_ends_even_across_a_partition() {
    let (mut simulation, server, client, server_log, client_log) = connected(8);
    simulation.partition_both(client, server, true);
    assert_eq!(simulation.reset_connections(client, server), 1);
    simulation.run_for(seconds(1));
    assert_eq!(said(&server_log).last().map(String::as_str), Some("ConnectionReset"));
    assert_eq!(said(&client_log), ["ConnectionReset"]);
}

#[test]
fn connections_that_were_not_accepted_are_reset_when_the_listener_closes() {
    let (mut simulation, server, client) = two(9);
    let result = log();
    let results = result.clone();
    simulation.start(server, move |runtime| async move {
        let listener = runtime.listen(&Address::new("server", 9092)).await.unwrap();
        runtime.sleep(seconds(1)).await;
        drop(listener);
        runtime.sleep(seconds(100)).await;
    });
    simulation.start(client, move |runtime| async move {
        let (reader, _writer) = connect(runtime).await.unwrap();
        read_all(reader, results).await;
    });
    simulation.run_for(seconds(10));
    assert_eq!(said(&result), ["ConnectionReset"]);
}

#[test]
fn a_paused_node_receives_into_its_buffers_and_reads_when_it_goes_on() {
    let (mut simulation, server, _, server_log, client_log) = connected(10);
    simulation.pause(server);
    simulation.run_for(seconds(10));
    assert_eq!(said(&server_log).len(), 3);
    simulation.resume(server);
    simulation.run_for(Duration::from_millis(1));
    assert_eq!(said(&server_log)[3..], ["10 bytes"]);
    assert!(said(&client_log).is_empty() && simulation.effects().polls_frozen > 0);
}

#[test]
fn addresses_are_checked() {
    let (mut simulation, server, _) = two(11);
    let result = log();
    let results = result.clone();
    simulation.start(server, move |runtime| async move {
        let kind = |result: io::Result<_>| result.err().map(|error: io::Error| error.kind());
        let first = runtime.listen(&Address::new("server", 0)).await.unwrap();
        let taken = runtime.listen(&Address::new("0.0.0.0", first.local_address().port)).await.map(drop);
        let foreign = runtime.listen(&Address::new("client", 1)).await.map(drop);
        let unknown = runtime.connect(&Address::new("nobody", 1)).await.map(drop);
        let local = runtime.connect(&Address::new("localhost", first.local_address().port)).await.map(drop);
        say(&results, format!("{:?} {:?} {:?} {:?}", kind(taken), kind(foreign), kind(unknown), kind(local)));
    });
    simulation.run_for(seconds(1));
    assert_eq!(said(&result), ["Some(AddrInUse) Some(AddrNotAvailable) Some(NotFound) None"]);
}
