//! What every runtime must do: the contracts of `wyrdlog::runtime`, as checks that hold in any
//! world.
//!
//! One file per trait. A check is a generic function over a [`World`]; [`conformance!`] makes a
//! test of each. Checks reach the world through the traits alone: they start no thread, read no
//! clock of the process, and assert no upper bound on time, so that they mean the same under the
//! operating system and under virtual time. What only one world can show (a second process, a
//! seed, a power cut) is tested beside that world.
//!
//! A check that was written and is not listed in [`conformance!`] is dead code, which the build
//! refuses.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use wyrdlog::base::address::Address;
use wyrdlog::runtime::Runtime;

pub mod clock;
pub mod disk;
pub mod network;
pub mod observe;
pub mod random;
pub mod tasks;

/// A world in which nodes can be run.
pub trait World {
    /// Its handle of one node.
    type Runtime: Runtime;

    /// A host that is none of the nodes, so that no node can listen there. Nobody connects to it.
    const FOREIGN_HOST: &'static str;

    /// Starts `nodes` connected nodes with empty disks, without faults and without observers, and
    /// runs the future that `test` makes, as a task of the first, to its end. Fails the calling
    /// test if that future panics or can never end.
    fn run<Test>(nodes: usize, test: impl FnOnce(Vec<Node<Self::Runtime>>) -> Test)
    where
        Test: Future<Output = ()> + Send + 'static;
}

/// A node, and the host name or address under which the others reach it.
pub struct Node<R> {
    /// Its handle.
    pub runtime: R,
    /// Its host, as its peers see it when it connects to them.
    pub host: Arc<str>,
}

impl<R> Node<R> {
    /// The node's address with `port`.
    pub fn at(&self, port: u16) -> Address {
        Address::new(Arc::clone(&self.host), port)
    }
}

/// Runs a check that needs one node.
pub fn on_one<W: World, Test>(test: impl FnOnce(W::Runtime) -> Test)
where
    Test: Future<Output = ()> + Send + 'static,
{
    W::run(1, |nodes| {
        let mut nodes = nodes.into_iter();
        test(nodes.next().expect("one node").runtime)
    });
}

/// Starts `future` as a task of `node` now. Whoever awaits the result fails if the task panicked,
/// which a real runtime would only log: no assertion of a check is lost.
pub fn start<R: Runtime, T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    node: &R,
    name: &'static str,
    future: F,
) -> impl Future<Output = T> + Send + use<R, T, F> {
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let task = node.spawn(name, async move {
        let output = future.await;
        *slot.lock().expect("nobody panics with the lock") = Some(output);
    });
    async move {
        task.await;
        let output = result.lock().expect("nobody panics with the lock").take();
        output.expect("the task panicked; its message stands above")
    }
}

/// Polls `future` exactly once.
pub async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Waits until `condition` holds.
pub async fn until<R: Runtime>(runtime: &R, condition: impl Fn() -> bool + Send) {
    while !condition() {
        runtime.sleep(Duration::from_millis(1)).await;
    }
}

/// Makes a test of every check for the world `$world`.
#[macro_export]
macro_rules! conformance {
    ($world:ty) => {
        $crate::conformance! { $world;
            clock: now_never_goes_back, a_timer_is_never_early, a_deadline_that_has_passed_completes,
                timers_of_many_tasks_run_side_by_side, dropped_timers_hold_up_nothing,
                timeout_gives_the_output_that_comes_in_time, timeout_elapses_not_before_its_deadline,
                timeout_prefers_an_output_that_is_ready_at_the_deadline;
            tasks: a_handle_completes_after_its_task_ran_to_its_end, dropping_the_handle_cancels_the_task,
                a_detached_task_runs_on, a_cancelled_task_is_dropped_before_its_handle_completes,
                a_task_that_never_awaits_time_can_be_cancelled, cancelling_an_ended_task_does_nothing,
                a_task_can_spawn_tasks, yielding_lets_other_tasks_run, blocking_work_gives_its_result,
                blocking_work_outlives_its_future;
            network: port_zero_takes_a_free_port, a_port_has_one_listener,
                a_port_is_free_again_after_its_listener_is_dropped, listening_on_a_foreign_host_fails,
                connecting_where_nobody_listens_is_refused, an_unknown_host_is_neither_refused_nor_timed_out,
                a_listener_sees_its_peers_host, bytes_arrive_in_order_in_both_directions_at_once,
                a_writer_waits_for_a_reader_that_does_not_read, vectored_writes_keep_their_order,
                shutdown_ends_one_direction_only, dropping_the_writer_ends_one_direction_only,
                dropping_both_halves_delivers_what_was_written, a_reset_is_seen_by_the_peer,
                a_reset_wakes_this_sides_reader, connections_that_were_not_accepted_are_reset,
                a_dropped_accept_loses_no_connection, a_dropped_read_loses_no_bytes,
                several_connections_do_not_mix;
            disk: a_write_is_visible_at_once_to_every_handle, parts_are_written_one_after_the_other,
                a_gap_reads_as_zeros, a_read_is_short_only_at_the_end, truncate_cuts_and_extends_by_zeros,
                create_keeps_what_is_there, open_modes_fail_with_their_kinds, directories_come_with_those_above,
                a_listing_is_ordered_and_tells_lengths, rename_replaces_and_open_files_stay_so,
                a_renamed_directory_keeps_its_files, a_removed_file_stays_open, removal_is_visible_at_once,
                what_is_missing_is_not_found, paths_cannot_leave_the_root, syncs_succeed_side_by_side,
                a_dropped_sync_harms_nothing, disks_of_two_nodes_are_apart, a_disk_can_be_locked,
                a_boot_is_named_the_same_by_each_handle;
            random: streams_differ_by_purpose, clones_share_their_streams, nodes_draw_different_values,
                every_bit_is_drawn_about_half_the_time, bounded_draws_keep_their_bound_and_reach_it,
                durations_stay_in_their_range;
            observe: nothing_is_made_when_nobody_looks
        }
    };
    ($world:ty; $($file:ident: $($check:ident),+);+) => {
        $(mod $file {
            use super::*;
            $(#[test]
            fn $check() {
                $crate::conformance::$file::$check::<$world>();
            })+
        })+
    };
}
