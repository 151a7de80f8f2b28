//! Leaving: leadership is handed over, then the session is closed.

use std::time::Duration;

use super::plane::{MESSAGE_TIMEOUT, Plane};
use crate::controller::{Refusal, Request};
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;
use crate::wire::private::{ControlledShutdown, ControlledShutdownResult, PrivateRequest, PrivateResponse};

/// How long the controller has to move everything away. After that the broker leaves nevertheless:
/// what it led is then moved because it is gone.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Hands over and closes the session, within bounded time.
pub async fn leave<R: Runtime>(plane: &Plane<R>) {
    plane.stopping.send_replace(true);
    if plane.within(HAND_OVER_TIMEOUT, hand_over(plane)).await.is_none() {
        tracing::warn!("leaving without having handed over leadership");
    }
    let session = plane.session.borrow().clone();
    if let Some(session) = session {
        // One that cannot be closed expires.
        let _ = plane.within(MESSAGE_TIMEOUT, session.close()).await;
    }
}

async fn hand_over<R: Runtime>(plane: &Plane<R>) {
    while !try_to_hand_over(plane).await {
        plane.pause().await;
    }
}

/// Whether nothing is left to be done.
async fn try_to_hand_over<R: Runtime>(plane: &Plane<R>) -> bool {
    let Some(broker_epoch) = plane.broker_epoch() else { return true };
    let Some((controller, _)) = plane.known_controller() else { return false };
    let message = ControlledShutdown { broker: plane.own(), broker_epoch };
    if controller == plane.own() {
        return is_done(answer(plane, message).await);
    }
    let Some(address) = plane.address_of(controller) else { return false };
    match plane.tell(&address, PrivateRequest::ControlledShutdown(message)).await {
        Ok(PrivateResponse::ControlledShutdown(result)) => is_done(result),
        _ => false,
    }
}

/// The controller that no longer knows this incarnation has nothing to move from it.
fn is_done(result: ControlledShutdownResult) -> bool {
    matches!(result.error, ErrorCode::None | ErrorCode::StaleBrokerEpoch) && result.remaining_partitions == 0
}

/// As the controller, if this broker is it.
pub async fn answer<R: Runtime>(plane: &Plane<R>, message: ControlledShutdown) -> ControlledShutdownResult {
    let ControlledShutdown { broker, broker_epoch } = message;
    let asked = plane.ask_own_controller(Request::ControlledShutdown { broker, broker_epoch });
    let error = match plane.within(MESSAGE_TIMEOUT, asked).await.unwrap_or(Err(Refusal::Unknown)) {
        Ok(_) => ErrorCode::None,
        Err(refusal) => super::proposals::error_code(&refusal),
    };
    let remaining_partitions = i32::from(!matches!(error, ErrorCode::None | ErrorCode::StaleBrokerEpoch));
    ControlledShutdownResult { error, remaining_partitions }
}

#[cfg(test)]
mod tests {
    use super::super::controller::Command;
    use super::super::testing::{Node, OWN, OWN_EPOCH};
    use super::*;
    use crate::controller::Answer;

    #[test]
    fn a_broker_that_leaves_stands_for_nothing_any_more_and_closes_its_session() {
        let node = Node::new();
        let ensemble = node.ensemble();
        node.begin_session();
        node.world.run(leave(&node.plane));
        assert!(*node.plane.stopping.borrow());
        assert_eq!(ensemble.heard(), ["close"]);
    }

    /// What a broker is told that wants to leave, when the controller decides so.
    fn told(decision: Result<Answer, Refusal>) -> (ErrorCode, i32) {
        let mut node = Node::new();
        let message = ControlledShutdown { broker: OWN, broker_epoch: OWN_EPOCH };
        let decide = async {
            let Some(Command::Request { reply, .. }) = node.commands.recv().await else { panic!("it is asked") };
            reply.send(decision).expect("somebody waits");
        };
        let (result, ()) = node.world.run(async { tokio::join!(answer(&node.plane, message), decide) });
        (result.error, result.remaining_partitions)
    }

    #[test]
    fn a_broker_may_go_once_nothing_remains_that_it_leads() {
        assert_eq!(told(Ok(Answer::Done)), (ErrorCode::None, 0));
        assert_eq!(told(Err(Refusal::StaleBrokerEpoch)), (ErrorCode::StaleBrokerEpoch, 0));
        assert_eq!(told(Err(Refusal::NotController)), (ErrorCode::NotController, 1));
    }
}
