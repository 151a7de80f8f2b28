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
