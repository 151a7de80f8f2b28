//! The fetches of a consumer that wait at leaders for records: at most one at each.
//!
//! A leader that has nothing new answers when `fetch.max.wait.ms` is over. Others do not wait for it:
//! its fetch stays where it is, from one poll to the next, for as long as it asks what the consumer
//! wants to know. One that asks something else is given up, and its answer is dropped with it.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::connection::RequestFailed;
use super::metadata::ClusterView;
use super::subscription::Position;
use crate::base::ids::{BrokerId, LeaderEpoch, TopicPartition};
use crate::wire::kafka::fetch::FetchResponse;

/// FetchFrom where a partition is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FetchFrom {
    /// The next record.
    pub position: Position,
    /// The epoch of the leader that is asked.
    pub leader_epoch: LeaderEpoch,
}

/// The partitions that one fetch names.
pub(super) type Asked = Vec<(TopicPartition, FetchFrom)>;

type Answer = Result<FetchResponse, RequestFailed>;

/// Whose turn it is: what brought something goes behind all others, for a fetch that may bring little brings
/// only what the first have (KIP-74).
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// When each was served last, by the count of what was served.
    served: BTreeMap<TopicPartition, u64>,
    count: u64,
}

impl Turns {
    /// A fetch brought something of `partition`.
    pub fn served(&mut self, partition: &TopicPartition) {
        self.count += 1;
        self.served.insert(partition.clone(), self.count);
    }

    /// Whoever waits longest comes first.
    pub fn sort(&self, asked: &mut Asked) {
        asked.sort_by_cached_key(|(partition, _)| self.served.get(partition).copied());
    }
}

/// A fetch that was answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// What it asked.
    pub asked: Asked,
    /// What was known of the cluster when it was sent.
    pub view: Arc<ClusterView>,
    /// The answer.
    pub answer: Answer,
}

struct Waiting {
    asked: Asked,
    view: Arc<ClusterView>,
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

/// See the module's doc.
#[derive(Default)]
pub(super) struct Fetches {
    waiting: BTreeMap<BrokerId, Waiting>,
}

impl Fetches {
    /// Gives up each fetch that does not ask what is `wanted` of its leader.
    pub fn retain(&mut self, wanted: &BTreeMap<BrokerId, Asked>) {
        self.waiting.retain(|leader, waiting| wanted.get(leader) == Some(&waiting.asked));
    }

    /// Whether a fetch waits at `leader`.
    pub fn waits_at(&self, leader: BrokerId) -> bool {
        self.waiting.contains_key(&leader)
    }

    /// Whether no fetch waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a fetch that is sent to `leader` when its answer is first waited for.
    pub fn insert(
        &mut self,
        leader: BrokerId,
        asked: Asked,
        view: Arc<ClusterView>,
        answer: impl Future<Output = Answer> + Send + 'static,
    ) {
        self.waiting.insert(leader, Waiting { asked, view, answer: Box::pin(answer) });
    }

    /// Waits until one leader at least has answered; gives back all that have.
    pub async fn answered(&mut self) -> Vec<Answered> {
        let answers = poll_fn(|context| {
            let polled =
                self.waiting.iter_mut().filter_map(|(leader, waiting)| match waiting.answer.as_mut().poll(context) {
                    Poll::Ready(answer) => Some((*leader, answer)),
                    Poll::Pending => None,
                });
            let answers: Vec<(BrokerId, Answer)> = polled.collect();
            if answers.is_empty() && !self.waiting.is_empty() { Poll::Pending } else { Poll::Ready(answers) }
        });
        let answers = answers.await;
        let answered = answers.into_iter().filter_map(|(leader, answer)| {
            let Waiting { asked, view, .. } = self.waiting.remove(&leader)?;
            Some(Answered { asked, view, answer })
        });
        answered.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn asked(offset: i64) -> Asked {
        let position = Position { offset, epoch: Some(LeaderEpoch(3)) };
        vec![(TopicPartition::new("t", 0), FetchFrom { position, leader_epoch: LeaderEpoch(3) })]
    }

    fn insert(fetches: &mut Fetches, leader: i32, answer: impl Future<Output = Answer> + Send + 'static) {
        fetches.insert(BrokerId(leader), asked(7), Arc::default(), answer);
    }

    fn answered_now(fetches: &mut Fetches) -> Poll<usize> {
        let mut context = Context::from_waker(Waker::noop());
        pin!(fetches.answered()).poll(&mut context).map(|answers| answers.len())
    }

    /// Once a reader had reached the end of one leader's partitions, each of its polls waited
    /// `fetch.max.wait.ms` for that leader, and what the others had was read at two batches a second:
    /// the final read of seed 300223 ended in the middle of a log.
    #[test]
    fn a_leader_that_has_nothing_new_holds_up_no_other() {
        let mut fetches = Fetches::default();
        insert(&mut fetches, 1, pending());
        insert(&mut fetches, 2, ready(Ok(FetchResponse::default())));
        assert_eq!(answered_now(&mut fetches), Poll::Ready(1));
        assert!(fetches.waits_at(BrokerId(1)) && !fetches.waits_at(BrokerId(2)));
        assert_eq!(answered_now(&mut fetches), Poll::Pending);
    }

    #[test]
    fn all_that_have_answered_are_given_at_once_and_nothing_is_waited_for_where_none_was_asked() {
        let mut fetches = Fetches::default();
        assert_eq!(answered_now(&mut fetches), Poll::Ready(0));
        insert(&mut fetches, 1, ready(Err(RequestFailed::Lost("reset".to_owned()))));
        insert(&mut fetches, 2, ready(Ok(FetchResponse::default())));
        assert_eq!(answered_now(&mut fetches), Poll::Ready(2));
        assert!(fetches.is_empty());
    }

    /// A consumer whose fetches bring one batch read one partition to its end before it read the next, and
    /// those behind it stood still for as long as somebody wrote to it (`swarm` seed 30008).
    #[test]
    fn a_partition_that_brought_something_goes_behind_the_others() {
        let names = ["a", "b", "c"].map(|topic| TopicPartition::new(topic, 0));
        let (mut turns, from) = (Turns::default(), asked(7)[0].1);
        let order = |turns: &Turns| {
            let mut asked: Asked = names.iter().map(|name| (name.clone(), from)).collect();
            turns.sort(&mut asked);
            asked.iter().map(|(name, _)| name.topic.to_string()).collect::<String>()
        };
        assert_eq!(order(&turns), "abc");
        let rounds = [0, 1, 0, 2].map(|first: usize| {
            turns.served(&names[first]);
            order(&turns)
        });
        assert_eq!(rounds, ["bca", "cab", "cba", "bac"]);
    }

    #[test]
    fn a_fetch_is_kept_only_while_it_asks_what_is_wanted_of_its_leader() {
        let mut fetches = Fetches::default();
        for leader in 1..=4 {
            insert(&mut fetches, leader, pending());
        }
        let mut of_a_later_epoch = asked(7);
        of_a_later_epoch[0].1.leader_epoch = LeaderEpoch(4);
        let wanted = [(1, asked(7)), (2, asked(8)), (3, of_a_later_epoch)];
        fetches.retain(&wanted.into_iter().map(|(leader, asked)| (BrokerId(leader), asked)).collect());
        let waits: Vec<bool> = (1..=4).map(|leader| fetches.waits_at(BrokerId(leader))).collect();
        assert_eq!(waits, [true, false, false, false]);
    }
}
