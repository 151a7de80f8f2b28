//! Links between servers, and which messages need not be told apart from lost ones.

use wyrdlog::base::ids::{ServerId, Term};
use wyrdlog::consensus::{Message, Outcome};

/// From whom to whom messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    pub from: ServerId,
    pub to: ServerId,
}

/// Whether `next`, right behind `last` on a link, says all that `last` does.
pub fn is_superseded(last: &Message, next: &Message) -> bool {
    match (last, next) {
        (Message::Append { term, prev, entries, .. }, Message::Append { term: later, prev: same, .. }) => {
            entries.is_empty() && (term, prev) == (later, same)
        }
        (
            Message::AppendResponse { term, outcome: Outcome::Matched { index }, .. },
            Message::AppendResponse { term: later, outcome: Outcome::Matched { index: further }, .. },
        ) => term == later && index <= further,
        _ => false,
    }
}

/// Whether the message is of a term that is over for a server whose durable term is `term`.
pub fn is_ignored_for_ever(message: &Message, term: Term) -> bool {
    match message {
        Message::VoteResponse { granted: false, .. } => message.term() <= term,
        _ => message.term() < term,
    }
}
