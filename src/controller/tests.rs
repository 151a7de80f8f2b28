//! Each rule as a claim. Topic `t` has one partition on brokers 1, 2 and 3; every write is
//! committed at once unless a test says otherwise.

mod office;
mod unreadable;

use super::metadata::{TopicMetadata, TopicSettings};
use super::*;
use crate::base::ids::{LeaderEpoch, TopicId};
use crate::base::partition_state::{Durability, InSyncReplica};

fn epoch(broker: i32, start: i64) -> BrokerEpoch {
    BrokerEpoch(i64::from(broker) * 100 + start)
}

fn member(broker: i32, start: i64) -> InSyncReplica {
    InSyncReplica { broker: BrokerId(broker), broker_epoch: epoch(broker, start) }
}

/// The start number `start` of a broker, after the one before it.
fn registration(broker: i32, start: i64, shutdown: LastShutdown) -> Registration {
    let previous = (start > 0).then(|| Lineage::of(epoch(broker, start - 1)));
    Registration {
        broker: BrokerId(broker),
        broker_epoch: epoch(broker, start),
        previous,
        shutdown,
        endpoints: Vec::new(),
        rack: None,
    }
}

fn settings(min_in_sync: usize, durability: Durability) -> TopicSettings {
    TopicSettings { min_in_sync, durability, configs: Default::default() }
}

struct Shell {
    controller: Controller,
    effects: Vec<Effect>,
}

impl Shell {
    fn new(min_in_sync: usize, durability: Durability, plants: Plants) -> Self {
        let state = PartitionState {
            leader: Some(BrokerId(1)),
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            in_sync: vec![member(1, 0), member(2, 0), member(3, 0)],
            ..PartitionState::default()
        };
        let topic =
            TopicMetadata { id: TopicId::ZERO, settings: settings(min_in_sync, durability), partitions: vec![state] };
        let tree = Tree {
            brokers: (1..=3).map(|broker| registration(broker, 0, LastShutdown::Clean)).collect(),
            topics: [(Arc::from("t"), topic)].into(),
            ..Tree::default()
        };
        let mut shell = Shell { controller: Controller::new(BrokerId(1), plants), effects: Vec::new() };
        shell.step(Input::Elected { controller_epoch: ControllerEpoch(1), tree });
        shell
    }

    fn page_cache() -> Self {
        Self::new(2, Durability::PageCache, Plants::NONE)
    }

    /// One step, its writes left outstanding.
    fn step_only(&mut self, input: Input) -> Vec<Effect> {
        self.effects.clear();
        self.controller.step(input, &mut self.effects);
        self.effects.clone()
    }

    /// A step and everything that follows from it, each write committed.
    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut all = self.step_only(input);
        while let Some(write) = written(&self.effects) {
            let outcome = Outcome::Committed { zxid: Zxid(1) };
            all.extend(self.step_only(Input::Written { write, outcome }));
        }
        all
    }

    fn start(&mut self, broker: i32, start: i64, shutdown: LastShutdown) -> Vec<Effect> {
        self.step(Input::BrokerStarted(registration(broker, start, shutdown)))
    }

    fn end(&mut self, broker: i32, start: i64) -> Vec<Effect> {
        self.step(Input::BrokerEnded { broker: BrokerId(broker), broker_epoch: epoch(broker, start) })
    }

    fn request(&mut self, request: Request) -> Result<Answer, Refusal> {
        let effects = self.step(Input::Request { id: RequestId(7), request });
        reply(&effects).expect("every request is answered once its write is committed")
    }

    fn state(&self) -> PartitionState {
        let metadata = self.controller.metadata().expect("in office");
        metadata.partition(&TopicPartition::new("t", 0)).expect("exists").clone()
    }

    fn proposal(&self, in_sync: &[InSyncReplica]) -> AlterPartition {
        let state = self.state();
        let leader = state.leader.expect("there is a leader");
        AlterPartition {
            broker: leader,
            broker_epoch: state.in_sync_epoch(leader).expect("it is in sync"),
            partition: TopicPartition::new("t", 0),
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            in_sync: in_sync.to_vec(),
            min_in_sync: self.controller.metadata().expect("in office").topics["t"].settings.min_in_sync,
        }
    }

    fn propose(&mut self, in_sync: &[InSyncReplica]) -> Result<Answer, Refusal> {
        let proposal = self.proposal(in_sync);
        self.request(Request::AlterPartition(proposal))
    }
}

fn written(effects: &[Effect]) -> Option<WriteId> {
    effects.iter().find_map(|effect| match effect {
        Effect::Write { write, .. } => Some(*write),
        _ => None,
    })
}

fn reply(effects: &[Effect]) -> Option<Result<Answer, Refusal>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply { result, .. } => Some(result.clone()),
        _ => None,
    })
}

fn brokers(members: &[InSyncReplica]) -> Vec<i32> {
    members.iter().map(|member| member.broker.0).collect()
}

/// (leader, leader epoch, in-sync set, eligible set).
fn summary(state: &PartitionState) -> (Option<i32>, i32, Vec<i32>, Vec<i32>) {
    let eligible = brokers(&state.eligible_leaders);
    (state.leader.map(|leader| leader.0), state.leader_epoch.0, brokers(&state.in_sync), eligible)
}

#[test]
fn the_next_in_sync_replica_leads_when_the_leader_fails() {
    let mut shell = Shell::page_cache();
    shell.end(1, 0);
    assert_eq!(summary(&shell.state()), (Some(2), 1, vec![2, 3], vec![]));
    assert_eq!(shell.state().partition_epoch, 1);
}

#[test]
fn a_failed_follower_leaves_the_in_sync_set_and_the_leader_keeps_its_epoch() {
    let mut shell = Shell::page_cache();
    shell.end(3, 0);
    assert_eq!(summary(&shell.state()), (Some(1), 0, vec![1, 2], vec![]));
}

#[test]
fn who_leaves_a_set_that_becomes_too_small_stays_eligible() {
    let mut shell = Shell::page_cache();
    shell.end(3, 0);
    shell.end(2, 0);
    assert_eq!(summary(&shell.state()), (Some(1), 0, vec![1], vec![2]));
    shell.end(1, 0);
    assert_eq!(summary(&shell.state()), (None, 1, vec![], vec![1, 2]));
    assert_eq!(shell.state().last_known_leader, Some(BrokerId(1)));
    shell.start(3, 1, LastShutdown::Clean);
    assert_eq!(shell.state().leader, None, "broker 3 may lack what was committed without it");
    shell.start(2, 1, LastShutdown::Clean);
    assert_eq!(summary(&shell.state()), (Some(2), 2, vec![2], vec![1]));
    assert_eq!(shell.state().last_known_leader, None);
}

#[test]
fn eligible_replicas_are_forgotten_once_the_set_is_large_enough() {
    let mut shell = Shell::page_cache();
    shell.end(3, 0);
    shell.end(2, 0);
    shell.start(3, 1, LastShutdown::Unclean);
    shell.propose(&[member(1, 0), member(3, 1)]).expect("accepted");
    assert_eq!(summary(&shell.state()), (Some(1), 0, vec![1, 3], vec![]));
}

#[test]
fn a_restart_before_the_session_expired_raises_the_epoch_of_the_same_leader() {
    let mut shell = Shell::new(1, Durability::PageCache, Plants::NONE);
    shell.propose(&[member(1, 0)]).expect("accepted");
    shell.start(1, 1, LastShutdown::Clean);
    assert_eq!(summary(&shell.state()), (Some(1), 1, vec![1], vec![]));
    assert_eq!(shell.state().in_sync, [member(1, 1)]);
}

#[test]
fn the_last_replica_is_not_elected_after_an_unclean_shutdown() {
    let leader_after = |durability, plants, shutdown| {
        let mut shell = Shell::new(2, durability, plants);
        shell.propose(&[member(1, 0)]).expect("accepted");
        shell.end(2, 0);
        shell.end(3, 0);
        shell.end(1, 0);
        let effects = shell.start(1, 1, shutdown);
        (shell.state().leader, effects.contains(&Effect::PlantTaken(Plant::Kip966)))
    };
    let elected = (Some(BrokerId(1)), false);
    assert_eq!(leader_after(Durability::PageCache, Plants::NONE, LastShutdown::Clean), elected);
    assert_eq!(leader_after(Durability::PageCache, Plants::NONE, LastShutdown::Unclean), (None, false));
    assert_eq!(leader_after(Durability::Synced, Plants::NONE, LastShutdown::Unclean), elected);
    assert_eq!(leader_after(Durability::Synced, Plants::NONE, LastShutdown::Blank), (None, false));
    let planted = leader_after(Durability::PageCache, Plants::only(Plant::Kip966), LastShutdown::Unclean);
    assert_eq!(planted, (Some(BrokerId(1)), true));
}

#[test]
fn a_clean_restart_after_an_unseen_unclean_one_is_not_trusted() {
    let mut shell = Shell::page_cache();
    shell.propose(&[member(1, 0)]).expect("accepted");
    shell.end(1, 0);
    // Start 1 was unclean and nobody saw it; start 2 is clean, but continues start 1.
    shell.start(1, 2, LastShutdown::Clean);
    assert_eq!(shell.state().leader, Some(BrokerId(2)));
    assert!(!shell.state().is_eligible(BrokerId(1)));
}

/// Found by the simulator: no controller was in office while every broker registered twice, the
/// second time since its session had run out. All of them had kept everything, yet each was judged
/// by its last incarnation alone, and every partition was left without a leader for good.
#[test]
fn registrations_that_no_controller_saw_are_not_held_against_a_broker_that_kept_everything() {
    let leader_after = |unseen: LastShutdown, durability| {
        let mut shell = Shell::new(2, durability, Plants::NONE);
        shell.end(2, 0);
        shell.end(3, 0);
        shell.end(1, 0);
        assert_eq!(shell.state().leader, None);
        let line = Lineage::continued(Some(&Lineage::of(epoch(1, 0))), unseen, epoch(1, 1));
        shell.step(Input::BrokerStarted(Registration {
            previous: Some(line),
            ..registration(1, 2, LastShutdown::Clean)
        }));
        shell.state().leader
    };
    assert_eq!(leader_after(LastShutdown::Clean, Durability::PageCache), Some(BrokerId(1)));
    assert_eq!(leader_after(LastShutdown::Unclean, Durability::PageCache), None);
    assert_eq!(leader_after(LastShutdown::Unclean, Durability::Synced), Some(BrokerId(1)));
    assert_eq!(leader_after(LastShutdown::Blank, Durability::Synced), None);
}

/// A broker registered, and ended before it learned as what. The controller judged it as that incarnation;
/// the next one could not name it, and counted as having lost everything: since the others had gone as
/// well, there never was a leader again (`young` seed 345).
#[test]
fn a_registration_that_its_broker_never_learned_of_is_not_held_against_it() {
    let mut shell = Shell::page_cache();
    shell.end(3, 0);
    shell.end(2, 0);
    assert_eq!(shell.state().eligible_leaders, [member(2, 0)]);
    shell.start(2, 1, LastShutdown::Clean);
    shell.end(2, 1);
    let knows_its_first = Registration { broker_epoch: epoch(2, 2), ..registration(2, 1, LastShutdown::Clean) };
    shell.step(Input::BrokerStarted(knows_its_first));
    shell.end(1, 0);
    assert_eq!(summary(&shell.state()), (Some(2), 1, vec![2], vec![1]));
}

/// An old image of a disk names an incarnation, but not the one that wrote last. When it was put back,
/// it went on from there while nobody was controller; what the incarnation in between had held counted as
/// held, since its number was between two that were (`standard` seed 2000).
#[test]
fn a_lineage_holds_what_its_own_incarnations_held_and_nothing_of_those_in_between() {
    let incarnations = vec![epoch(1, 1), epoch(1, 2), epoch(1, 5)];
    let line = Lineage::from_parts(incarnations, epoch(1, 2)).expect("they are in order");
    let found = Registration { previous: Some(line), ..registration(1, 9, LastShutdown::Clean) };
    let held = |durability| [0, 1, 2, 3, 5, 7, 9].map(|start| found.continues(epoch(1, start), durability));
    assert_eq!(held(Durability::Synced), [false, true, true, false, true, false, true]);
    assert_eq!(held(Durability::PageCache), [false, false, true, false, true, false, true]);
}

#[test]
fn a_lineage_forgets_its_oldest_incarnations_and_never_grows_without_bound() {
    let first = Lineage::of(epoch(1, 0));
    let continued = |line: Lineage, start| Lineage::continued(Some(&line), LastShutdown::Clean, epoch(1, start));
    let line = (1..=INCARNATIONS_MAX as i64).fold(first, continued);
    assert_eq!((line.incarnations().len(), line.incarnations()[0]), (INCARNATIONS_MAX, epoch(1, 1)));
    assert_eq!(line.last(), epoch(1, INCARNATIONS_MAX as i64));
}

#[test]
fn what_was_lost_before_a_replica_was_admitted_is_not_held_against_it() {
    let mut shell = Shell::page_cache();
    shell.start(2, 1, LastShutdown::Unclean);
    shell.propose(&[member(1, 0), member(2, 1)]).expect("accepted");
    shell.propose(&[member(1, 0)]).expect("accepted");
    assert_eq!(summary(&shell.state()).3, [2], "what it lost was lost before it was admitted again");
    shell.end(3, 0);
    assert_eq!(summary(&shell.state()).3, [2]);
}

#[test]
fn a_proposal_is_fenced_by_every_epoch_it_carries() {
    let mut shell = Shell::page_cache();
    shell.end(3, 0);
    let good = shell.proposal(&[member(1, 0)]);
    let refusal = |shell: &mut Shell, change: &dyn Fn(&mut AlterPartition)| {
        let mut proposal = good.clone();
        change(&mut proposal);
        shell.request(Request::AlterPartition(proposal)).expect_err("refused")
    };
    assert_eq!(refusal(&mut shell, &|p| p.broker_epoch = BrokerEpoch(1)), Refusal::StaleBrokerEpoch);
    assert_eq!(refusal(&mut shell, &|p| p.leader_epoch = LeaderEpoch(-1)), Refusal::FencedLeaderEpoch);
    assert_eq!(refusal(&mut shell, &|p| p.leader_epoch = LeaderEpoch(9)), Refusal::NotController);
    assert_eq!(refusal(&mut shell, &|p| p.partition_epoch = 0), Refusal::StalePartitionEpoch);
    assert_eq!(refusal(&mut shell, &|p| p.min_in_sync = 1), Refusal::TryAgain);
    assert!(matches!(refusal(&mut shell, &|p| p.in_sync = vec![member(2, 0)]), Refusal::InvalidRequest(_)));
    assert!(matches!(refusal(&mut shell, &|p| p.in_sync.clear()), Refusal::InvalidRequest(_)));
    let dead = Refusal::Ineligible(vec![BrokerId(3)]);
    assert_eq!(refusal(&mut shell, &|p| p.in_sync.push(member(3, 0))), dead);
}

#[test]
fn a_delayed_proposal_does_not_admit_a_broker_that_has_restarted() {
    let admit = |plants| {
        let mut shell = Shell::new(1, Durability::PageCache, plants);
        shell.end(3, 0);
        shell.start(3, 1, LastShutdown::Clean);
        let delayed = shell.proposal(&[member(1, 0), member(2, 0), member(3, 1)]);
        shell.start(3, 2, LastShutdown::Blank);
        shell.request(Request::AlterPartition(delayed)).map(|_| shell.state().in_sync)
    };
    assert_eq!(admit(Plants::NONE), Err(Refusal::Ineligible(vec![BrokerId(3)])));
    let planted = admit(Plants::only(Plant::Kip903));
    assert_eq!(planted, Ok(vec![member(1, 0), member(2, 0), member(3, 2)]));
}

#[test]
fn an_unchanged_set_is_committed_anew_so_that_older_proposals_are_void() {
    let mut shell = Shell::page_cache();
    let older = shell.proposal(&[member(1, 0)]);
    let same = shell.state().in_sync;
    shell.propose(&same).expect("accepted");
    assert_eq!(shell.request(Request::AlterPartition(older)), Err(Refusal::StalePartitionEpoch));
}

#[test]
fn a_broker_that_leaves_in_order_leads_nothing_before_it_is_answered() {
    let mut shell = Shell::page_cache();
    let request = Request::ControlledShutdown { broker: BrokerId(1), broker_epoch: epoch(1, 0) };
    assert_eq!(shell.request(request), Ok(Answer::Done));
    assert_eq!(summary(&shell.state()), (Some(2), 1, vec![2, 3], vec![]));
    let back = shell.propose(&[member(1, 0), member(2, 0), member(3, 0)]);
    assert_eq!(back, Err(Refusal::Ineligible(vec![BrokerId(1)])));
    for (broker, start) in [(1, 9), (9, 0)] {
        let request = Request::ControlledShutdown { broker: BrokerId(broker), broker_epoch: epoch(broker, start) };
        assert_eq!(shell.request(request), Err(Refusal::StaleBrokerEpoch), "{broker} does not run as {start}");
    }
}

#[test]
fn a_preferred_leader_leads_again_only_when_it_is_in_sync() {
    let mut shell = Shell::page_cache();
    shell.end(1, 0);
    shell.start(1, 1, LastShutdown::Clean);
    shell.request(Request::ElectPreferred { partitions: None }).expect("done");
    assert_eq!(shell.state().leader, Some(BrokerId(2)));
    shell.propose(&[member(1, 1), member(2, 0), member(3, 0)]).expect("accepted");
    shell.request(Request::ElectPreferred { partitions: None }).expect("done");
    assert_eq!(summary(&shell.state()), (Some(1), 2, vec![1, 2, 3], vec![]));
}

#[test]
fn a_lower_minimum_takes_the_eligible_set_away_in_the_same_write() {
    let mut shell = Shell::page_cache();
    shell.propose(&[member(1, 0)]).expect("accepted");
    let request = Request::SetTopic { topic: "t".into(), settings: settings(1, Durability::PageCache) };
    let effects = shell.step(Input::Request { id: RequestId(1), request });
    assert!(effects.iter().any(|e| matches!(e, Effect::Write { changes, .. } if changes.len() == 2)));
    assert_eq!(summary(&shell.state()).3, Vec::<i32>::new());
}

#[test]
fn a_topic_is_not_given_settings_that_cannot_be() {
    let mut shell = Shell::page_cache();
    let request = Request::SetTopic { topic: "t".into(), settings: settings(0, Durability::PageCache) };
    assert!(matches!(shell.request(request), Err(Refusal::InvalidRequest(_))));
}

#[test]
fn changes_of_different_partitions_that_wait_for_a_write_are_written_at_once() {
    let mut shell = Shell::page_cache();
    let everybody = || Assignment::Explicit(vec![vec![BrokerId(1), BrokerId(2), BrokerId(3)]]);
    shell.request(Request::AddPartitions { topic: "t".into(), assignment: everybody() }).expect("added");
    let shrunk = shell.proposal(&[member(1, 0), member(2, 0)]);
    let other = AlterPartition { partition: TopicPartition::new("t", 1), ..shrunk.clone() };
    let again = AlterPartition { in_sync: vec![member(1, 0)], ..other.clone() };
    let create = Request::CreateTopic {
        topic: "u".into(),
        id: TopicId::ZERO,
        assignment: everybody(),
        settings: settings(1, Durability::Synced),
    };
    let mut ask = |id, request| shell.step_only(Input::Request { id: RequestId(id), request });
    let write = written(&ask(1, create)).expect("written");
    for (id, proposal) in [(2, shrunk), (3, other), (4, again)] {
        assert_eq!(ask(id, Request::AlterPartition(proposal)), [], "it waits");
    }
    let outcome = Outcome::Committed { zxid: Zxid(1) };
    let effects = shell.step_only(Input::Written { write, outcome });
    let changes = effects.iter().find_map(|effect| match effect {
        Effect::Write { changes, .. } => Some(changes.len()),
        _ => None,
    });
    assert_eq!(changes, Some(2), "the two that do not concern the same partition");
}

#[test]
fn a_fenced_write_deposes_and_answers_everyone() {
    let mut shell = Shell::page_cache();
    let proposal = shell.proposal(&[member(1, 0)]);
    let effects = shell.step_only(Input::Request { id: RequestId(1), request: Request::AlterPartition(proposal) });
    let write = written(&effects).expect("written");
    shell.step_only(Input::Request { id: RequestId(2), request: Request::DeleteTopic { topic: "t".into() } });
    let effects = shell.step_only(Input::Written { write, outcome: Outcome::Fenced });
    let refused = |id| Effect::Reply { id: RequestId(id), result: Err(Refusal::NotController) };
    let deposed = ControllerEvent::Deposed { controller_epoch: ControllerEpoch(1), while_writing: true };
    assert_eq!(effects, [refused(1), refused(2), Effect::Observe(deposed)]);
    assert_eq!(shell.controller.controller_epoch(), None);
}

#[test]
fn nothing_is_written_after_an_unknown_outcome_before_the_tree_has_been_read() {
    let mut shell = Shell::page_cache();
    let effects = shell.step_only(Input::BrokerEnded { broker: BrokerId(3), broker_epoch: epoch(3, 0) });
    let write = written(&effects).expect("written");
    let effects = shell.step_only(Input::Written { write, outcome: Outcome::Unknown });
    assert_eq!(effects, [Effect::ReadTree]);
    let effects = shell.step_only(Input::BrokerEnded { broker: BrokerId(2), broker_epoch: epoch(2, 0) });
    assert_eq!(written(&effects), None);
    // The write had been committed after all; broker 2 is not there any more.
    let mut topic = shell.controller.metadata().expect("in office").topics["t"].clone();
    topic.partitions[0].in_sync.pop();
    topic.partitions[0].partition_epoch = 1;
    let brokers = vec![registration(1, 0, LastShutdown::Clean)];
    let tree = Tree { brokers, topics: [(Arc::from("t"), topic)].into(), ..Tree::default() };
    shell.step(Input::TreeRead { tree });
    assert_eq!(summary(&shell.state()), (Some(1), 0, vec![1], vec![2]));
    assert_eq!(shell.state().partition_epoch, 2);
}

#[test]
fn only_a_plant_writes_without_the_fence() {
    let fenced = |plants| {
        let mut shell = Shell::new(2, Durability::PageCache, plants);
        shell.end(3, 0).into_iter().find_map(|effect| match effect {
            Effect::Write { fenced, .. } => Some(fenced),
            _ => None,
        })
    };
    assert_eq!(fenced(Plants::NONE), Some(true));
    assert_eq!(fenced(Plants::only(Plant::Kafka6082)), Some(false));
}

#[test]
fn replicas_spread_over_all_brokers_with_one_leader_each() {
    let mut shell = Shell::page_cache();
    let assignment = Assignment::Spread { partitions: 6, replication_factor: 2, start: 1 };
    let settings = settings(1, Durability::Synced);
    let create = Request::CreateTopic { topic: "u".into(), id: TopicId([1; 16]), assignment, settings };
    assert_eq!(shell.request(create.clone()), Ok(Answer::Done));
    let partitions = &shell.controller.metadata().expect("in office").topics["u"].partitions;
    for broker in 1..=3 {
        assert_eq!(partitions.iter().filter(|state| state.leader == Some(BrokerId(broker))).count(), 2);
        assert_eq!(partitions.iter().filter(|state| state.replicas.contains(&BrokerId(broker))).count(), 4);
    }
    assert!(partitions.iter().all(|state| state.in_sync.len() == 2 && state.partition_epoch == 0));
    assert_eq!(shell.request(create), Err(Refusal::TopicExists));
}

#[test]
fn a_topic_that_cannot_be_is_refused() {
    let mut shell = Shell::page_cache();
    let mut create = |topic: &str, assignment| {
        let settings = settings(1, Durability::Synced);
        shell.request(Request::CreateTopic { topic: topic.into(), id: TopicId::ZERO, assignment, settings })
    };
    let spread = |partitions, replication_factor| Assignment::Spread { partitions, replication_factor, start: 0 };
    assert_eq!(create("a b", spread(1, 1)), Err(Refusal::InvalidTopic));
    assert_eq!(create("..", spread(1, 1)), Err(Refusal::InvalidTopic));
    assert_eq!(create("u", spread(1, 4)), Err(Refusal::InvalidReplicationFactor { wanted: 4, live: 3 }));
    assert_eq!(create("u", spread(0, 1)), Err(Refusal::InvalidPartitions(PARTITIONS_PER_REQUEST_MAX)));
    let twice = Assignment::Explicit(vec![vec![BrokerId(1), BrokerId(1)]]);
    let none = Assignment::Explicit(vec![Vec::new()]);
    let unknown = Assignment::Explicit(vec![vec![BrokerId(1), BrokerId(9)]]);
    for assignment in [twice, none, unknown] {
        assert_eq!(create("u", assignment), Err(Refusal::InvalidAssignment));
    }
}

#[test]
fn brokers_learn_only_what_is_committed_and_in_order() {
    let mut shell = Shell::page_cache();
    let effects = shell.step_only(Input::BrokerEnded { broker: BrokerId(3), broker_epoch: epoch(3, 0) });
    let states = |effects: &[Effect]| {
        let news = |effect: &Effect| match effect {
            Effect::Push { update: MetadataUpdate { content: MetadataContent::Delta(changes), .. }, .. } => {
                changes.iter().any(|change| matches!(change, MetadataChange::Partition { .. }))
            }
            _ => false,
        };
        effects.iter().filter(|effect| news(effect)).count()
    };
    assert_eq!(states(&effects), 0);
    let write = written(&effects).expect("written");
    let effects = shell.step_only(Input::Written { write, outcome: Outcome::Committed { zxid: Zxid(4) } });
    assert_eq!(states(&effects), 2, "to the two that live");
}

#[test]
fn a_lineage_names_each_incarnation_once_and_in_order() {
    let of = |epochs: &[i64]| Lineage::from_parts(epochs.iter().copied().map(BrokerEpoch).collect(), BrokerEpoch(9));
    assert!(of(&[9]).is_some() && of(&[9, 40]).is_some());
    for bad in [&[][..], &[9, 9], &[40, 9], &[9; INCARNATIONS_MAX + 1]] {
        assert_eq!(of(bad), None, "{bad:?}");
    }
}
