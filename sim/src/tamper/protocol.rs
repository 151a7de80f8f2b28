//! Edits of what came over the connections of clients that speak every version.

use wyrdlog::wire::kafka::Request;

use super::Tamper;
use crate::checkers::protocol::judged_in_time;
use crate::draw::Draw;
use crate::history::cluster::ClusterHistory;
use crate::history::protocol::{Came, Exchange, ProtocolHistory, Sent};

/// Where the error code stands in the answer to this request; none where it takes more to say.
fn error_at(exchange: &Exchange) -> Option<usize> {
    let Sent::Request { request, version, .. } = &exchange.sent else { return None };
    match (&**request, request.api().is_flexible(*version)) {
        (Request::ApiVersions(_), _) => Some(4),
        (Request::InitProducerId(_) | Request::DescribeCluster(_), true) => Some(4 + 1 + 4),
        (Request::InitProducerId(_), false) => Some(4 + 4),
        _ => None,
    }
}

/// One answer, or two, come otherwise.
pub(super) fn edit(met: &ClusterHistory, history: &mut ProtocolHistory, kind: Tamper, draw: &mut Draw) -> Option<()> {
    let is_frame = |exchange: &Exchange| matches!(exchange.came, Came::Frame(_)) && exchange.sent_ns > 0;
    let of_request = |exchange: &Exchange| is_frame(exchange) && matches!(exchange.sent, Sent::Request { .. });
    let count = history.exchanges.len();
    let choices: Vec<usize> = match kind {
        Tamper::DuplicateFrame | Tamper::SwapFrames => {
            let is_pair = |at: &usize| {
                let (one, next) = (&history.exchanges[*at], &history.exchanges[*at + 1]);
                of_request(one) && of_request(next) && one.client == next.client
            };
            (0..count.saturating_sub(1)).filter(is_pair).collect()
        }
        Tamper::CorruptFrame => {
            let is_plain =
                |at: &usize| is_frame(&history.exchanges[*at]) && error_at(&history.exchanges[*at]).is_some();
            (0..count).filter(is_plain).collect()
        }
        Tamper::DropFrame => {
            let judged = judged_in_time(met, history);
            let is_alone = |at: &usize| {
                let is_of_write = |one: &&Exchange| {
                    one.client == history.exchanges[*at].client && one.sent_ns == history.exchanges[*at].sent_ns
                };
                history.exchanges.iter().filter(is_of_write).count() == 1
            };
            judged.into_iter().filter(|at| of_request(&history.exchanges[*at])).filter(is_alone).collect()
        }
        _ => judged_in_time(met, history).into_iter().filter(|at| of_request(&history.exchanges[*at])).collect(),
    };
    let at = *draw.pick(&choices)?;
    match kind {
        Tamper::DuplicateFrame => history.exchanges[at + 1].came = history.exchanges[at].came.clone(),
        Tamper::SwapFrames => {
            let first = history.exchanges[at].came.clone();
            history.exchanges[at].came = std::mem::replace(&mut history.exchanges[at + 1].came, first);
        }
        Tamper::CorruptFrame => {
            let place = error_at(&history.exchanges[at])?;
            let Came::Frame(frame) = &mut history.exchanges[at].came else { return None };
            let mut bytes = frame.to_vec();
            // A code that no request of these deserves.
            bytes.get_mut(place..place + 2)?.copy_from_slice(&22_i16.to_be_bytes());
            *frame = bytes.into();
        }
        Tamper::DropFrame => history.exchanges[at].came = Came::Closed,
        _ => history.exchanges[at].ended_ns = None,
    }
    Some(())
}
