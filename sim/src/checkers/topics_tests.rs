//! Histories by hand, good and bad, of topics that come and go.

use wyrdlog::base::ids::BrokerId;

use super::*;
use crate::history::cluster::Disturbance;
use crate::observed::Node;

const S: u64 = 1_000_000_000;
const ONE: Shape = Shape { partitions: 1, replicas: 1, durability: Durability::PageCache };

/// One client that does one thing a second, from 20 s on, in a cluster of three brokers that nothing
/// disturbs; all was healed at 10 s, and the load ends at 60 s.
struct Script {
    history: TopicsHistory,
    met: ClusterHistory,
    now_ns: u64,
}

impl Script {
    fn new() -> Self {
        let mut history = TopicsHistory { names: vec!["churn-0-0".into()], clients: vec![0], ..Default::default() };
        history.expected.brokers = 3;
        (history.expected.healed_ns, history.expected.bound_ns) = (10 * S, 15 * S);
        (history.expected.load_ends_ns, history.expected.seen_ns) = (60 * S, 65 * S);
        let brokers = [1, 2, 3].map(|broker| (BrokerId(broker), Node(broker as u16))).into();
        let met = ClusterHistory {
            brokers,
            first_led_ns: Some(0),
            settle_ns: 5 * S,
            load_ends_ns: 60 * S,
            ..Default::default()
        };
        Script { history, met, now_ns: 20 * S }
    }

    fn does(mut self, call: Call, outcome: Outcome<Reply>) -> Self {
        let op = self.history.invoke(0, self.now_ns, call);
        self.history.complete(op, self.now_ns + S / 10, outcome);
        self.now_ns += S;
        self
    }

    fn creates(self, shape: Shape) -> Self {
        self.does(Call::Create { name: 0, shape }, Outcome::Ok(Reply::Done))
    }

    fn asks_in_vain(self, call: Call, error: ErrorCode) -> Self {
        self.does(call, Outcome::Ok(Reply::Refused(error)))
    }

    fn deletes(self) -> Self {
        self.does(Call::Delete { name: 0 }, Outcome::Ok(Reply::Done))
    }

    fn settles(self) -> Self {
        self.does(Call::Settle { name: 0 }, Outcome::Ok(Reply::Done))
    }

    fn sends(self, value: u64, offset: i64) -> Self {
        self.does(Call::Send { name: 0, partition: 0, value }, Outcome::Ok(Reply::Sent { offset }))
    }

    fn reads(self, records: &[(i64, u64)], reached: i64) -> Self {
        let read = PartitionRead { partition: 0, reached, records: records.to_vec() };
        self.does(Call::Read { name: 0 }, Outcome::Ok(Reply::Read(vec![read])))
    }

    /// A topic that is created, holds 11 and 12, and is deleted.
    fn first() -> Self {
        Script::new().creates(ONE).sends(11, 0).sends(12, 1).reads(&[(0, 11), (1, 12)], 2).deletes()
    }

    fn rounds(self) -> Self {
        self.does(Call::Round { name: 0 }, Outcome::Ok(Reply::Done))
    }

    /// The properties that are violated.
    fn violates(&self) -> Vec<Property> {
        let findings = check(&self.history, &self.met);
        findings.iter().filter(|one| one.violated > 0).map(|one| one.property).collect()
    }

    fn evaluations(&self, property: Property) -> u64 {
        check(&self.history, &self.met).iter().filter(|one| one.property == property).map(|one| one.evaluations).sum()
    }
}

/// What a client did that lost nothing and was told nothing wrong.
pub(crate) fn good() -> TopicsHistory {
    let again = Script::first().creates(ONE).settles().reads(&[], 0).sends(13, 0).reads(&[(0, 13)], 1);
    again.asks_in_vain(CREATE, ErrorCode::TopicAlreadyExists).rounds().history
}

const CREATE: Call = Call::Create { name: 0, shape: ONE };
const DELETE: Call = Call::Delete { name: 0 };

#[test]
fn a_topic_that_comes_again_empty_is_accepted() {
    let script = Script::first().creates(ONE).settles().reads(&[], 0).sends(13, 0).reads(&[(0, 13)], 1).rounds();
    assert_eq!(script.violates(), []);
    let evaluated = [Property::RightRefusal, Property::LandsWhereSent, Property::Unseen, Property::Availability];
    assert!(evaluated.iter().all(|property| script.evaluations(*property) > 0));
}

#[test]
fn a_value_of_the_topic_that_was_deleted_is_rejected_once_every_broker_knows_the_new_one() {
    let again = || Script::first().creates(ONE);
    let old = again().settles().reads(&[(0, 11)], 1).rounds();
    assert_eq!(old.violates(), [Property::LandsWhereSent]);
    let unsettled = again().reads(&[(0, 11)], 1).rounds();
    assert_eq!(unsettled.violates(), [], "a broker may not have heard of the deletion");
}

#[test]
fn a_value_that_was_sent_elsewhere_to_nobody_or_in_vain_is_rejected() {
    let script = || Script::new().creates(ONE).settles();
    assert_eq!(script().reads(&[(0, 99)], 1).rounds().violates(), [Property::NothingGarbage]);
    let refused = Call::Send { name: 0, partition: 0, value: 7 };
    let in_vain = script().asks_in_vain(refused, ErrorCode::NotLeaderOrFollower).reads(&[(0, 7)], 1).rounds();
    assert_eq!(in_vain.violates(), [Property::AbortedRead]);
    let two = Shape { partitions: 2, ..ONE };
    let elsewhere = Call::Send { name: 0, partition: 1, value: 7 };
    let script = Script::new().creates(two).does(elsewhere, Outcome::Ok(Reply::Sent { offset: 0 }));
    assert_eq!(script.reads(&[(0, 7)], 1).rounds().violates(), [Property::LandsWhereSent]);
}

#[test]
fn an_acknowledged_value_that_is_missing_moved_or_there_twice_is_rejected_unless_a_fault_took_it() {
    let sent = || Script::new().creates(ONE).sends(11, 0).sends(12, 1);
    assert_eq!(sent().reads(&[(1, 12)], 2).rounds().violates(), [Property::Unseen]);
    assert_eq!(sent().reads(&[(0, 11)], 1).rounds().violates(), [], "it did not come so far");
    assert_eq!(sent().reads(&[(0, 11), (1, 12), (2, 11)], 3).rounds().violates(), [Property::Duplicate]);
    let moved = sent().reads(&[(0, 12)], 1).rounds().violates();
    assert!(moved.contains(&Property::InconsistentOffsets), "{moved:?}");
    let mut cut = sent().reads(&[], 2).rounds();
    cut.history.expected.cuts_ns.push(21 * S);
    assert_eq!(cut.violates(), []);
    let synced = Shape { durability: Durability::Synced, ..ONE };
    let mut synced = Script::new().creates(synced).sends(11, 0).reads(&[], 1).rounds();
    synced.history.expected.cuts_ns.push(21 * S);
    assert_eq!(synced.violates(), [Property::Unseen], "what is synced outlives a power cut");
    synced.history.expected.disks_ns.push(21 * S);
    assert_eq!(synced.violates(), []);
}

#[test]
fn a_refusal_that_no_state_allows_and_a_change_that_makes_no_sense_are_rejected() {
    let refused = [Property::RightRefusal];
    let new = || Script::new().rounds();
    assert_eq!(new().asks_in_vain(CREATE, ErrorCode::TopicAlreadyExists).violates(), refused);
    assert_eq!(new().asks_in_vain(DELETE, ErrorCode::UnknownTopicOrPartition).violates(), []);
    assert_eq!(new().asks_in_vain(CREATE, ErrorCode::NotController).violates(), refused, "nothing disturbed");
    assert_eq!(new().deletes().violates(), refused, "there was nothing to delete");
    let made = || new().creates(ONE);
    assert_eq!(made().asks_in_vain(CREATE, ErrorCode::TopicAlreadyExists).violates(), []);
    assert_eq!(made().asks_in_vain(DELETE, ErrorCode::UnknownTopicOrPartition).violates(), refused);
    assert_eq!(made().creates(ONE).violates(), refused, "it existed");
    for (shape, error) in [
        (Shape { partitions: 0, ..ONE }, ErrorCode::InvalidPartitions),
        (Shape { replicas: 4, ..ONE }, ErrorCode::InvalidReplicationFactor),
    ] {
        assert_eq!(new().asks_in_vain(Call::Create { name: 0, shape }, error).violates(), []);
        assert_eq!(new().asks_in_vain(CREATE, error).violates(), refused);
        assert_eq!(new().creates(shape).violates(), refused);
    }
    let mut named = new().asks_in_vain(CREATE, ErrorCode::InvalidTopic);
    assert_eq!(named.violates(), refused);
    named.history.names[0].push('?');
    assert_eq!(named.violates(), []);
}

#[test]
fn a_controller_that_was_deposed_may_speak_of_what_was_before_it_was_disturbed() {
    let mut script = Script::first().asks_in_vain(CREATE, ErrorCode::TopicAlreadyExists).rounds();
    assert_eq!(script.violates(), [Property::RightRefusal]);
    let disturbance = |from_ns, to_ns| Disturbance { from_ns, to_ns, nodes: vec![Node(1)] };
    script.met.disturbances = vec![disturbance(24 * S, 25 * S)];
    assert_eq!(script.violates(), []);
    let unsound = Script::new().asks_in_vain(CREATE, ErrorCode::TopicAlreadyExists).rounds();
    let unsound = Script { met: script.met, ..unsound };
    assert_eq!(unsound.violates(), [Property::RightRefusal], "it never existed");
}

#[test]
fn a_leader_that_knows_the_topic_before_its_own_by_an_id_is_rejected_where_nothing_is_disturbed() {
    let again = |outcome| {
        Script::first().creates(ONE).settles().does(Call::FetchFormer { name: 0 }, Outcome::Ok(outcome)).rounds()
    };
    assert_eq!(again(Reply::Refused(ErrorCode::UnknownTopicId)).violates(), []);
    for wrong in [Reply::Done, Reply::Refused(ErrorCode::NotLeaderOrFollower)] {
        let mut script = again(wrong);
        assert_eq!(script.violates(), [Property::RightRefusal]);
        script.met.disturbances = vec![Disturbance { from_ns: 26 * S, to_ns: 27 * S, nodes: vec![Node(1)] }];
        assert_eq!(script.violates(), [], "it may have started again, and heard of a controller that was deposed");
    }
}

#[test]
fn after_an_unknown_outcome_a_name_is_judged_no_further() {
    let unknown = Script::first().does(CREATE, Outcome::Unknown).reads(&[(0, 11)], 1).creates(ONE).creates(ONE);
    assert_eq!(unknown.rounds().evaluations(Property::RightRefusal), 2);
}

#[test]
fn a_client_that_never_gets_through_a_round_after_healing_is_rejected() {
    assert_eq!(Script::first().violates(), [Property::Availability]);
    let mut early = Script::first().rounds();
    early.history.expected.healed_ns = 30 * S;
    assert_eq!(early.violates(), [Property::Availability], "that was before");
    early.history.expected.bound_ns = 56 * S;
    assert_eq!(early.violates(), [], "no round fits behind the bound");
}

#[test]
fn a_change_that_nothing_disturbs_and_nobody_answers_is_rejected() {
    let script = || Script::new().rounds().does(CREATE, Outcome::Unknown);
    assert_eq!(script().violates(), [Property::Availability]);
    let mut disturbed = script();
    disturbed.met.disturbances.push(Disturbance { from_ns: 22 * S, to_ns: 22 * S, nodes: vec![] });
    assert_eq!(disturbed.violates(), []);
}

#[test]
fn a_directory_of_a_deleted_topic_on_an_undisturbed_disk_is_rejected() {
    let left = |node| {
        let mut script = Script::first().rounds();
        script.history.expected.directories.push((Node(node), "churn-0-0-0".to_owned()));
        script.met.ended.push((22 * S, Node(2)));
        script
    };
    assert_eq!(left(1).violates(), [Property::Availability]);
    assert_eq!(left(2).violates(), [], "it was down, and was not told");
    let again = Script { history: left(1).history, now_ns: 40 * S, ..Script::new() }.creates(ONE);
    assert_eq!(again.violates(), [], "it is there again");
    let mut other = left(1);
    other.history.expected.directories = vec![(Node(1), "churn-0-01-0".to_owned())];
    assert_eq!(other.violates(), []);
}

#[test]
fn an_end_of_a_broker_excuses_one_answer_of_which_a_client_knows_nothing() {
    let unknown = |count: usize| {
        let mut script = Script::new().rounds();
        script.met.ended.push((2 * S, Node(1)));
        (0..count).fold(script, |script, _| script.does(CREATE, Outcome::Unknown))
    };
    assert_eq!(unknown(1).violates(), []);
    assert_eq!(unknown(2).violates(), [Property::Availability]);
    let mut of_client = unknown(1);
    of_client.met.ended = vec![(2 * S, Node(9))];
    assert_eq!(of_client.violates(), [Property::Availability]);
    let mut later = unknown(1);
    later.met.ended = vec![(40 * S, Node(1))];
    assert_eq!(later.violates(), [Property::Availability]);
}
