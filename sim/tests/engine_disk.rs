//! The simulated disk, through the handles that nodes hold: what survives what.
#![allow(clippy::unwrap_used)] // Helpers of tests: an unmet expectation is a failed test.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wyrdlog::runtime::{Clock, Disk, File, OpenMode};
use wyrdlog_sim::engine::{Damage, DiskFault, DiskImage, DiskOperation, EngineConfig, NodeId, SimRuntime, Simulation};

fn one(seed: u64) -> (Simulation, NodeId) {
    let mut simulation = Simulation::new(seed, EngineConfig::default());
    let node = simulation.add_node("node");
    (simulation, node)
}

fn write(file: &impl File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(offset, &[IoSlice::new(bytes)])
}

/// Runs `work` as a process for up to ten seconds and gives its result.
fn process<F, T>(simulation: &mut Simulation, node: NodeId, work: impl FnOnce(SimRuntime) -> F) -> T
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let result = Arc::new(Mutex::new(None));
    let slot = result.clone();
    simulation.start(node, |runtime| {
        let work = work(runtime);
        async move {
            let output = work.await;
            *slot.lock().unwrap() = Some(output);
        }
    });
    simulation.run_for(Duration::from_secs(10));
    result.lock().unwrap().take().expect("the process ended in time")
}

#[test]
fn what_was_synced_survives_a_power_cut_and_the_rest_may_not() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..60 {
        let (mut simulation, node) = one(seed);
        process(&mut simulation, node, |runtime| async move {
            let file = runtime.open("log".as_ref(), OpenMode::CreateNew).unwrap();
            write(&file, 0, b"synced").unwrap();
            file.sync().await.unwrap();
            runtime.sync_directory("".as_ref()).await.unwrap();
            write(&file, 6, b" unsynced").unwrap();
        });
        assert_eq!(simulation.view().visible_file(node, "log").as_deref(), Some(&b"synced unsynced"[..]));
        assert_eq!(simulation.view().durable_file(node, "log").as_deref(), Some(&b"synced"[..]));
        let loss = simulation.power_off(node);
        let left = simulation.view().visible_file(node, "log").unwrap();
        assert_eq!(&left[..6], b"synced");
        assert_eq!(loss.took_effect(), left != b"synced unsynced", "seed {seed}: {loss:?}");
        outcomes.insert((loss.writes_kept, loss.writes_lost, loss.writes_torn));
    }
    assert_eq!(outcomes, BTreeSet::from([(1, 0, 0), (0, 1, 0), (0, 0, 1)]));
}

#[test]
fn a_crash_keeps_all_that_was_written_and_finishes_a_sync_that_had_begun() {
    let (mut simulation, node) = one(1);
    simulation.start(node, |runtime| async move {
        let file = runtime.open("log".as_ref(), OpenMode::CreateNew).unwrap();
        write(&file, 0, b"before").unwrap();
        drop(file.sync());
        write(&file, 6, b" after").unwrap();
        runtime.sleep(Duration::from_secs(100)).await;
    });
    simulation.run_for(Duration::from_nanos(1));
    simulation.crash(node);
    assert_eq!(simulation.view().durable_file(node, "log"), None, "its name is not durable");
    simulation.run_for(Duration::from_secs(1));
    let left = process(&mut simulation, node, |runtime| async move {
        runtime.sync_directory("".as_ref()).await.unwrap();
        runtime.open("log".as_ref(), OpenMode::Read).unwrap().read_at(0, 100).await.unwrap()
    });
    assert_eq!(left, "before after");
    assert_eq!(simulation.view().durable_file(node, "log").as_deref(), Some(&b"before"[..]));
}

#[test]
fn a_sync_covers_what_was_written_before_the_call_and_not_what_came_after() {
    let (mut simulation, node) = one(2);
    process(&mut simulation, node, |runtime| async move {
        let file = runtime.open("log".as_ref(), OpenMode::CreateNew).unwrap();
        runtime.sync_directory("".as_ref()).await.unwrap();
        write(&file, 0, b"one").unwrap();
        let sync = file.sync();
        write(&file, 3, b"two").unwrap();
        sync.await.unwrap();
    });
    assert_eq!(simulation.view().durable_file(node, "log").as_deref(), Some(&b"one"[..]));
}

#[test]
fn a_created_file_may_vanish_though_its_bytes_were_synced() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..40 {
        let (mut simulation, node) = one(seed);
        process(&mut simulation, node, |runtime| async move {
            let file = runtime.open("log".as_ref(), OpenMode::CreateNew).unwrap();
            write(&file, 0, b"synced").unwrap();
            file.sync().await.unwrap();
        });
        simulation.power_off(node);
        outcomes.insert(simulation.view().visible_file(node, "log"));
    }
    assert_eq!(outcomes, BTreeSet::from([None, Some(b"synced".to_vec())]));
}

#[test]
fn a_temporary_file_and_a_rename_replace_a_file_atomically() {
    for seed in 0..60 {
        let (mut simulation, node) = one(seed);
        process(&mut simulation, node, |runtime| async move {
            for bytes in [b"old".as_slice(), b"new"] {
                let file = runtime.open("tmp".as_ref(), OpenMode::CreateNew).unwrap();
                write(&file, 0, bytes).unwrap();
                file.sync().await.unwrap();
                runtime.rename("tmp".as_ref(), "current".as_ref()).unwrap();
                if bytes == b"old" {
                    runtime.sync_directory("".as_ref()).await.unwrap();
                }
            }
        });
        simulation.power_off(node);
        let left = simulation.view().visible_file(node, "current").expect("one of them");
        assert!(left == b"old" || left == b"new", "seed {seed}: {left:?}");
    }
}

#[test]
fn a_failed_sync_loses_the_data_and_the_next_one_succeeds_all_the_same() {
    let (mut simulation, node) = one(3);
    simulation.arm_disk_fault(node, DiskFault::error(DiskOperation::Sync).once().on("log"));
    process(&mut simulation, node, |runtime| async move {
        let file = runtime.open("log".as_ref(), OpenMode::CreateNew).unwrap();
        runtime.sync_directory("".as_ref()).await.unwrap();
        write(&file, 0, b"gone").unwrap();
        assert!(file.sync().await.is_err());
        assert_eq!(file.read_at(0, 4).await.unwrap(), "gone", "the page is still cached");
        assert!(file.sync().await.is_ok(), "it is marked clean");
    });
    assert_eq!(simulation.effects().syncs_failed, 1);
    simulation.power_off(node);
    assert_eq!(simulation.view().visible_file(node, "log"), Some(vec![]));
}

#[test]
fn a_full_disk_cuts_the_write_short_and_says_so() {
    let (mut simulation, node) = one(4);
    simulation.set_disk_capacity(node, Some(10));
    process(&mut simulation, node, |runtime| async move {
        let file = runtime.open("log".as_ref(), OpenMode::CreateNew).unwrap();
        write(&file, 0, b"12345678").unwrap();
        assert_eq!(write(&file, 8, b"9abc").map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
        assert_eq!(file.len().unwrap(), 10);
        write(&file, 0, b"in place").unwrap();
    });
    assert_eq!(simulation.effects().writes_failed, 1);
}

#[test]
fn reads_and_writes_of_one_file_fail_while_those_of_others_go_on() {
    let (mut simulation, node) = one(5);
    simulation.arm_disk_fault(node, DiskFault::error(DiskOperation::Read).on("bad"));
    simulation.arm_disk_fault(node, DiskFault::error(DiskOperation::Write).on("bad"));
    process(&mut simulation, node, |runtime| async move {
        let (good, bad) = ("good", "bad");
        let [good, bad] = [good, bad].map(|name| runtime.open(name.as_ref(), OpenMode::CreateNew).unwrap());
        write(&good, 0, b"x").unwrap();
        for _ in 0..50 {
            assert_eq!(write(&bad, 0, b"x").unwrap_err().raw_os_error(), Some(5));
            assert_eq!(bad.read_at(0, 1).await.unwrap_err().raw_os_error(), Some(5));
            good.read_at(0, 1).await.unwrap();
        }
    });
    assert_eq!((simulation.effects().reads_failed, simulation.effects().writes_failed), (50, 50));
}

#[test]
fn rot_under_a_cached_page_shows_after_eviction_or_a_power_cut() {
    for is_evicted in [true, false] {
        let (mut simulation, node) = one(6);
        process(&mut simulation, node, |runtime| async move {
            let file = runtime.open("log".as_ref(), OpenMode::CreateNew).unwrap();
            write(&file, 0, &[0; 100]).unwrap();
            file.sync().await.unwrap();
            runtime.sync_directory("".as_ref()).await.unwrap();
        });
        assert_eq!(simulation.damage(node, "log", 50, 1, Damage::FlipBit, true), 1);
        assert_eq!(simulation.view().visible_file(node, "log"), Some(vec![0; 100]));
        if is_evicted {
            simulation.evict(node, "log");
        } else {
            simulation.power_off(node);
        }
        let left = simulation.view().visible_file(node, "log").unwrap();
        assert_eq!(left.iter().filter(|&&byte| byte != 0).count(), 1);
        assert_ne!(left[50], 0);
    }
}

#[test]
fn a_lost_disk_is_empty_and_an_old_image_comes_back_durable() {
    let (mut simulation, node) = one(7);
    let fill = |text: &'static str| {
        move |runtime: SimRuntime| async move {
            runtime.create_directories("a/b".as_ref()).unwrap();
            let file = runtime.open("a/b/c".as_ref(), OpenMode::Create).unwrap();
            write(&file, 0, text.as_bytes()).unwrap();
        }
    };
    process(&mut simulation, node, fill("old"));
    let old = simulation.disk_image(node);
    process(&mut simulation, node, fill("new"));
    simulation.replace_disk(node, &old);
    assert_eq!(simulation.view().durable_file(node, "a/b/c").as_deref(), Some(&b"old"[..]));
    simulation.replace_disk(node, &DiskImage::default());
    let entries = process(&mut simulation, node, |runtime| async move { runtime.list("".as_ref()).unwrap() });
    assert_eq!(entries, []);
}

#[test]
fn a_slow_disk_takes_its_time_for_syncs() {
    let (mut simulation, node) = one(8);
    simulation.set_disk_slowness(node, 1000);
    let elapsed = process(&mut simulation, node, |runtime| async move {
        let file = runtime.open("log".as_ref(), OpenMode::Create).unwrap();
        let before = runtime.now();
        file.sync().await.unwrap();
        runtime.now().since(before)
    });
    assert!(elapsed >= Duration::from_millis(400), "{elapsed:?}");
}

#[test]
fn a_slow_disk_that_recovers_finishes_what_it_is_at_work_on_at_its_old_pace() {
    let (mut simulation, node) = one(8);
    simulation.set_disk_slowness(node, 100_000);
    let synced_after = Arc::new(Mutex::new(None));
    let told = synced_after.clone();
    simulation.start(node, move |runtime| async move {
        let file = runtime.open("log".as_ref(), OpenMode::Create).unwrap();
        let before = runtime.now();
        file.sync().await.unwrap();
        *told.lock().unwrap() = Some(runtime.now().since(before));
    });
    simulation.run_for(Duration::from_secs(10));
    assert_eq!(*synced_after.lock().unwrap(), None, "at this pace it takes 40 s or more");
    simulation.set_disk_slowness(node, 1);
    simulation.run_for(Duration::from_millis(100));
    let elapsed = synced_after.lock().unwrap().expect("synced");
    assert!(elapsed < Duration::from_millis(10_100), "{elapsed:?}");
}

#[test]
fn what_is_old_was_written_back_without_a_sync_and_is_kept_no_longer() {
    let (mut simulation, node) = one(9);
    simulation.start(node, |runtime| async move {
        let file = runtime.open("log".as_ref(), OpenMode::Create).unwrap();
        for at in 0..1000 {
            write(&file, at, b"x").unwrap();
            runtime.sleep(Duration::from_secs(1)).await;
        }
    });
    simulation.run_for(Duration::from_secs(1000));
    assert!(simulation.kept()[3] < 40, "{:?}", simulation.kept());
    let loss = simulation.power_off(node);
    assert!(loss.writes_kept + loss.writes_lost + loss.writes_torn < 40);
}

#[test]
fn a_removed_file_is_readable_while_it_is_open_and_then_gone() {
    let (mut simulation, node) = one(10);
    process(&mut simulation, node, |runtime| async move {
        let file = runtime.open("log".as_ref(), OpenMode::Create).unwrap();
        write(&file, 0, b"still here").unwrap();
        runtime.remove_file("log".as_ref()).unwrap();
        assert_eq!(file.clone().read_at(0, 5).await.unwrap(), "still");
        runtime.sync_directory("".as_ref()).await.unwrap();
    });
    assert_eq!(simulation.kept()[3..], [0, 0, 0]);
}

#[test]
fn a_change_of_a_disk_that_nobody_locked_is_remembered_and_a_read_is_no_change() {
    let was_changed = |is_locked: bool, is_written: bool| {
        let (mut simulation, node) = one(1);
        process(&mut simulation, node, move |runtime| async move {
            if is_locked {
                runtime.lock().unwrap();
            }
            if is_written {
                write(&runtime.open("log".as_ref(), OpenMode::Create).unwrap(), 0, b"x").unwrap();
            }
            runtime.list("".as_ref()).unwrap();
        });
        simulation.view().was_changed_unlocked(node)
    };
    assert_eq!([was_changed(true, true), was_changed(false, false), was_changed(false, true)], [false, false, true]);
}
