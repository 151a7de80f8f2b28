//! The simulated world as a whole: determinism, its hash, processes, clocks, tasks, and that
//! everything frees itself.
#![allow(clippy::unwrap_used)] // Helpers of tests: an unmet expectation is a failed test.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wyrdlog::base::address::Address;
use wyrdlog::base::event::Event;
use wyrdlog::base::plants::Plant;
use wyrdlog::runtime::{Clock, Disk, File, Listener, Network, Observe, OpenMode, Random, Stream, Task, Tasks};
use wyrdlog_sim::engine::{EngineConfig, Schedule, SimRuntime, SimStream, Simulation, Stop, first_divergence};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

async fn echo(runtime: SimRuntime, mut reader: impl AsyncReadExt + Unpin, mut writer: impl AsyncWriteExt + Unpin) {
    let disk = runtime.open("echoed".as_ref(), OpenMode::Create).unwrap();
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        let end = disk.len().unwrap();
        disk.write_at(end, &[std::io::IoSlice::new(&buffer[..count])]).unwrap();
        if end % 7 == 0 {
            disk.sync().await.unwrap();
        }
        if writer.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn serve(runtime: SimRuntime) {
    let listener = runtime.listen(&Address::new("server", 1)).await.unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let (reader, writer) = stream.split();
        runtime.spawn("echo", echo(runtime, reader, writer)).detach();
    }
}

async fn ask(runtime: SimRuntime, flip: bool, draw_more: bool) {
    let stream: SimStream = runtime.connect(&Address::new("server", 1)).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    for round in 0..200u64 {
        let mut message = [round as u8; 64];
        message[17] ^= u8::from(flip && round == 100);
        writer.write_all(&message).await.unwrap();
        reader.read_exact(&mut message).await.unwrap();
        if draw_more && round == 100 {
            runtime.random_u64("more");
        }
        let pause = runtime.random_duration("pause", Duration::ZERO, Duration::from_millis(3));
        runtime.sleep(pause).await;
        runtime.observe(|| Event::PlantTaken(Plant::Canary));
    }
}

#[derive(Clone, Copy, Default)]
struct Variation {
    flip: bool,
    draw_more: bool,
    observe: bool,
    faults: bool,
}

fn run(seed: u64, config: EngineConfig, vary: Variation) -> (Simulation, u64) {
    let mut simulation = Simulation::new(seed, config);
    let seen = Rc::new(RefCell::new(0));
    if vary.observe {
        let (seen, view) = (seen.clone(), simulation.view());
        simulation.set_observer(Some(Box::new(move |observation| {
            *seen.borrow_mut() += 1;
            assert_eq!(observation.time_ns, view.now_ns());
            assert!(view.visible_file(observation.node, "nothing").is_none());
        })));
        (1..50).for_each(|at| simulation.schedule_wakeup(at * 1_000_000, at));
    }
    let server = simulation.add_node("server");
    let clients = ["a", "b", "c"].map(|name| simulation.add_node(name));
    simulation.start(server, serve);
    for client in clients {
        simulation.start(client, move |runtime| ask(runtime, vary.flip && client == clients[0], vary.draw_more));
    }
    loop {
        match simulation.run_until(5_000_000_000) {
            Stop::Deadline | Stop::Idle => break,
            Stop::Failed(failure) => panic!("{failure}"),
            Stop::Wakeup(_) | Stop::Exited(_) | Stop::Interrupted(_) if vary.faults => {
                simulation.power_off(server);
                break;
            }
            _ => {}
        }
    }
    let seen = *seen.borrow();
    (simulation, seen)
}

fn hash(seed: u64, vary: Variation) -> u128 {
    run(seed, EngineConfig::default(), vary).0.hash()
}

#[test]
fn the_same_seed_gives_the_same_run_to_the_byte() {
    for seed in 0..5 {
        assert_eq!(hash(seed, Variation::default()), hash(seed, Variation::default()));
        let cut = Variation { faults: true, ..Variation::default() };
        assert_eq!(hash(seed, cut), hash(seed, cut));
    }
    assert_ne!(hash(1, Variation::default()), hash(2, Variation::default()));
}

#[test]
fn the_run_does_not_depend_on_the_thread() {
    let here = hash(3, Variation::default());
    #[allow(clippy::disallowed_methods)] // The very claim is about threads.
    let there = std::thread::spawn(|| hash(3, Variation::default())).join().unwrap();
    assert_eq!(here, there);
}

#[test]
fn one_flipped_payload_byte_or_one_more_draw_changes_the_hash() {
    let plain = hash(4, Variation::default());
    assert_ne!(plain, hash(4, Variation { flip: true, ..Variation::default() }));
    assert_ne!(plain, hash(4, Variation { draw_more: true, ..Variation::default() }));
}

#[test]
fn observers_and_the_drivers_wakeups_do_not_change_the_hash() {
    let (observed, seen) = run(5, EngineConfig::default(), Variation { observe: true, ..Variation::default() });
    let observed_hash = observed.hash();
    drop(observed);
    assert_eq!(seen, 600);
    assert_eq!(observed_hash, hash(5, Variation::default()));
}

#[test]
fn the_first_divergence_of_two_runs_is_found() {
    let flip = Variation { flip: true, ..Variation::default() };
    let good = run(6, EngineConfig::default(), Variation::default()).0.checkpoints();
    let bad = run(6, EngineConfig::default(), flip).0.checkpoints();
    let range = first_divergence(&good, &bad).expect("they differ");
    let window = EngineConfig { trace: Some(range), ..EngineConfig::default() };
    let good = run(6, window.clone(), Variation::default()).0.trace();
    let bad = run(6, window, flip).0.trace();
    let at = good.iter().zip(&bad).position(|(a, b)| a != b).expect("they differ in that window");
    assert_eq!(good[at].step, bad[at].step);
    assert!(at > 0 || good[0].step > 1);
}

#[test]
fn another_schedule_seed_and_priorities_give_other_orders_of_the_same_work() {
    let config = |schedule, schedule_seed| EngineConfig { schedule, schedule_seed, ..EngineConfig::default() };
    let pct = Schedule::Pct { change_points: 3, expected_polls: 3000 };
    let hashes = [config(Schedule::Random, None), config(Schedule::Random, Some(9)), config(pct, None)]
        .map(|config| run(7, config, Variation::default()).0.hash());
    assert!(hashes[0] != hashes[1] && hashes[0] != hashes[2] && hashes[1] != hashes[2]);
}

#[test]
fn a_loop_of_yields_does_not_starve_others_under_either_schedule() {
    for schedule in [Schedule::Random, Schedule::Pct { change_points: 0, expected_polls: 100 }] {
        for seed in 0..20 {
            let mut simulation = Simulation::new(seed, EngineConfig { schedule, ..EngineConfig::default() });
            let node = simulation.add_node("node");
            simulation.start(node, |runtime| async move {
                let flag = Arc::new(AtomicU64::new(0));
                let set = flag.clone();
                runtime.spawn("setter", async move { set.store(1, Ordering::Relaxed) }).detach();
                while flag.load(Ordering::Relaxed) == 0 {
                    runtime.yield_now().await;
                }
            });
            assert_eq!(simulation.run_for(seconds(1)), Stop::Exited(node));
        }
    }
}

#[test]
fn time_that_stands_still_is_a_failure_and_not_a_hang() {
    let config = EngineConfig { polls_per_instant_max: 1000, ..EngineConfig::default() };
    let mut simulation = Simulation::new(1, config);
    let node = simulation.add_node("spinner");
    simulation.start(node, |runtime| async move {
        loop {
            runtime.yield_now().await;
        }
    });
    let Stop::Failed(failure) = simulation.run_for(seconds(1)) else { panic!("it goes on") };
    assert!(failure.to_string().contains("task main of spinner: polled"), "{failure}");
}

#[test]
fn a_panic_stops_the_simulation_and_names_node_task_and_message() {
    let mut simulation = Simulation::new(1, EngineConfig::default());
    let node = simulation.add_node("broker-1");
    simulation.start(node, |runtime| async move {
        runtime.sleep(seconds(2)).await;
        runtime.spawn("appender", async { panic!("offset {} is before {}", 1, 2) }).await;
        runtime.sleep(seconds(2)).await;
    });
    let Stop::Failed(failure) = simulation.run_for(seconds(10)) else { panic!("it goes on") };
    assert_eq!(failure.to_string(), "at 2.000000000 s, task appender of broker-1: offset 1 is before 2");
    assert!(matches!(simulation.run_for(seconds(1)), Stop::Failed(_)), "it cannot be continued");
}

struct LastWords(SimRuntime, Arc<Mutex<Vec<String>>>);

impl Drop for LastWords {
    fn drop(&mut self) {
        let opened = self.0.open("marker".as_ref(), OpenMode::Create).is_ok();
        self.0.observe(|| Event::PlantTaken(Plant::Canary));
        self.0.spawn("afterlife", async { panic!("runs after its process") }).detach();
        self.1.lock().unwrap().push(format!("opened {opened}"));
    }
}

#[test]
fn a_destructor_in_a_dead_process_can_write_nothing_and_tell_nothing() {
    for how in ["crash", "power", "exit", "drop"] {
        let mut simulation = Simulation::new(1, EngineConfig::default());
        let observed = Rc::new(RefCell::new(0));
        let count = observed.clone();
        simulation.set_observer(Some(Box::new(move |_| *count.borrow_mut() += 1)));
        let node = simulation.add_node("node");
        let words = Arc::new(Mutex::new(Vec::new()));
        let heard = words.clone();
        simulation.start(node, move |runtime| async move {
            let last = LastWords(runtime, heard);
            let sleeper = async move {
                let _last = last;
                runtime.sleep(seconds(100)).await;
            };
            runtime.spawn("sleeper", sleeper).detach();
            runtime.sleep(seconds(if how == "exit" { 1 } else { 100 })).await;
        });
        simulation.run_for(seconds(2));
        match how {
            "crash" => drop(simulation.crash(node)),
            "power" => drop(simulation.power_off(node)),
            _ => {}
        }
        let files = simulation.view().files(node);
        drop(simulation);
        assert_eq!(*words.lock().unwrap(), ["opened false"], "{how}");
        assert_eq!((files, *observed.borrow()), (vec![], 0), "{how}");
    }
}

#[test]
fn a_new_incarnation_has_its_files_and_other_draws() {
    let mut simulation = Simulation::new(1, EngineConfig::default());
    let node = simulation.add_node("node");
    let draws = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..3 {
        let draws = draws.clone();
        simulation.start(node, move |runtime| async move {
            runtime.lock().expect("the last process is gone");
            let file = runtime.open("count".as_ref(), OpenMode::Create).unwrap();
            let len = file.len().unwrap();
            file.write_at(len, &[std::io::IoSlice::new(b"x")]).unwrap();
            draws.lock().unwrap().push((len, runtime.random_u64("election")));
            runtime.sleep(seconds(100)).await;
        });
        simulation.run_for(seconds(1));
        simulation.crash(node);
    }
    let draws = draws.lock().unwrap();
    assert_eq!(draws.iter().map(|draw| draw.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(draws[0].1 != draws[1].1 && draws[1].1 != draws[2].1);
}

#[test]
fn one_more_draw_or_node_shifts_no_other_draw() {
    let draws = |disturb: bool| {
        let mut simulation = Simulation::new(1, EngineConfig::default());
        let node = simulation.add_node("node");
        let other = simulation.add_node("other");
        let values = Arc::new(Mutex::new(Vec::new()));
        let drawn = values.clone();
        if disturb {
            simulation.start(other, |runtime| async move { assert_ne!(runtime.random_u64("election"), 0) });
        }
        simulation.start(node, move |runtime| async move {
            for _ in 0..10 {
                if disturb {
                    runtime.random_u64("other");
                }
                drawn.lock().unwrap().push(runtime.random_u64("election"));
            }
        });
        while !matches!(simulation.run_for(seconds(1)), Stop::Idle | Stop::Deadline) {}
        values.lock().unwrap().clone()
    };
    assert_eq!(draws(false), draws(true));
}

#[test]
fn timers_honour_the_drift_of_their_node_and_wall_clocks_jump_alone() {
    let mut simulation = Simulation::new(1, EngineConfig::default());
    let node = simulation.add_node("node");
    let log = Arc::new(Mutex::new(Vec::new()));
    let entries = log.clone();
    simulation.start(node, move |runtime| async move {
        let (start, wall) = (runtime.now(), runtime.wall_clock_ms());
        for _ in 0..3 {
            runtime.sleep(seconds(100)).await;
            entries.lock().unwrap().push((runtime.now().since(start).as_secs(), runtime.wall_clock_ms() - wall));
        }
    });
    simulation.run_until(100_000_000_000);
    simulation.set_clock_drift_ppb(node, 50_000_000);
    simulation.run_until(150_000_000_000);
    simulation.set_clock_drift_ppb(node, -50_000_000);
    simulation.jump_wall_clock(node, -1_000_000);
    let half = 150_000_000_000 + 50_000_000_000;
    assert_eq!(simulation.run_until(half - 1), Stop::Deadline);
    assert_eq!(log.lock().unwrap().len(), 1);
    simulation.run_until(half);
    assert_eq!(log.lock().unwrap()[1..], [(200, -800_000)]);
}

#[test]
fn a_paused_nodes_clock_goes_on_and_its_timers_are_late() {
    let mut simulation = Simulation::new(1, EngineConfig::default());
    let node = simulation.add_node("node");
    let late = Arc::new(AtomicU64::new(0));
    let lateness = late.clone();
    simulation.start(node, move |runtime| async move {
        let start = runtime.now();
        runtime.sleep(seconds(1)).await;
        lateness.store(runtime.now().since(start).as_secs(), Ordering::Relaxed);
    });
    simulation.run_for(Duration::ZERO);
    simulation.pause(node);
    simulation.run_until(30_000_000_000);
    assert_eq!(late.load(Ordering::Relaxed), 0);
    simulation.resume(node);
    assert_eq!(simulation.run_for(Duration::ZERO), Stop::Exited(node));
    assert_eq!(late.load(Ordering::Relaxed), 30);
}

#[test]
fn a_cancelled_task_is_dropped_soon_and_a_dropped_handle_cancels() {
    let mut simulation = Simulation::new(1, EngineConfig::default());
    let node = simulation.add_node("node");
    simulation.start(node, |runtime| async move {
        let held = Arc::new(());
        let hold = |held: Arc<()>| async move {
            runtime.sleep(seconds(1000)).await;
            drop(held);
        };
        let (first, mut second) =
            (runtime.spawn("first", hold(held.clone())), runtime.spawn("second", hold(held.clone())));
        runtime.yield_now().await;
        second.cancel();
        (&mut second).await;
        drop(first);
        runtime.yield_now().await;
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(runtime.blocking(|| 6 * 7).await, 42);
    });
    assert_eq!(simulation.run_for(seconds(1)), Stop::Exited(node));
    assert_eq!(simulation.kept()[..2], [0, 0]);
}

#[test]
fn an_observer_can_interrupt_the_run_right_after_the_step() {
    let mut simulation = Simulation::new(1, EngineConfig::default());
    let view = simulation.view();
    simulation.set_observer(Some(Box::new(move |_| view.interrupt(7))));
    let node = simulation.add_node("node");
    let after = Arc::new(AtomicU64::new(0));
    let steps = after.clone();
    simulation.start(node, move |runtime| async move {
        runtime.observe(|| Event::PlantTaken(Plant::Canary));
        runtime.yield_now().await;
        steps.store(1, Ordering::Relaxed);
    });
    assert_eq!(simulation.run_for(seconds(1)), Stop::Interrupted(7));
    assert_eq!(after.load(Ordering::Relaxed), 0);
}

#[test]
fn a_long_simulation_keeps_nothing_of_what_is_over() {
    let mut simulation = Simulation::new(1, EngineConfig::default());
    let server = simulation.add_node("server");
    let client = simulation.add_node("client");
    simulation.start(server, serve);
    simulation.start(client, |runtime| async move {
        for _ in 0..3_000 {
            let (mut reader, mut writer) = runtime.connect(&Address::new("server", 1)).await.unwrap().split();
            writer.write_all(b"hello").await.unwrap();
            reader.read_exact(&mut [0; 5]).await.unwrap();
            drop(runtime.sleep(seconds(1000)));
            runtime.spawn("short", async {}).detach();
        }
        runtime.sleep(seconds(100)).await;
    });
    simulation.run_for(seconds(60));
    let kept = simulation.kept();
    assert!(kept[0] <= 3 && kept[1] <= 2 && kept[2] == 0 && kept[5] == 0, "{kept:?}");
}

#[test]
fn a_second_simulation_on_a_thread_is_refused_until_the_first_is_dropped() {
    let first = Simulation::new(1, EngineConfig::default());
    assert!(std::panic::catch_unwind(|| drop(Simulation::new(2, EngineConfig::default()))).is_err());
    drop(first);
    drop(Simulation::new(2, EngineConfig::default()));
}
