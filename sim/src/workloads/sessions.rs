//! Clients that hold ephemerals and watches while their sessions come and go: some close, some are
//! abandoned to their time-out.
//!
//! What they are told is not recorded: the servers' events are judged, by `session_safety` and
//! `watch_order`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wyrdlog::base::address::Address;
use wyrdlog::base::znode::{Acl, CreateMode, ErrorCode};
use wyrdlog::client::coordinator::{Config, CoordinatorClient, CoordinatorError, SessionState};
use wyrdlog::runtime::{Clock, Random};

use super::Load;
use crate::engine::SimRuntime;
use crate::history::Client;

/// The ephemerals' parent.
const PARENT: &str = "/sessions";
/// How often a client does something.
const PAUSE: Duration = Duration::from_millis(250);
/// The names of ephemerals that a client uses over and over.
const NAMES: u64 = 4;

/// What all clients of the workload share.
pub struct Sessions {
    /// Where the coordinators are.
    pub servers: Vec<Address>,
    /// What time-out the sessions ask for.
    pub session_timeout: Duration,
    /// Until when.
    pub load: Load,
    /// How many clients there are.
    pub clients: u32,
    /// How many sessions end per minute, of all clients together.
    pub ends_per_minute: u32,
}

impl Sessions {
    /// One client, until the load ends.
    pub async fn run(self: Arc<Self>, runtime: SimRuntime, client: Client) {
        while !self.load.is_over() {
            let config = Config::new(self.servers.clone(), self.session_timeout);
            let (coordinator, mut events) = CoordinatorClient::start(&runtime, config);
            let lives = Duration::from_secs(60) * self.clients / self.ends_per_minute.max(1);
            let ends = runtime.now() + runtime.random_duration("session life", Duration::ZERO, lives * 2);
            while runtime.now() < ends && !self.load.is_over() {
                runtime.sleep(runtime.random_duration("pause", Duration::ZERO, PAUSE * 2)).await;
                let is_over = matches!(*coordinator.state().borrow(), SessionState::Expired);
                if is_over || self.act(&runtime, &coordinator, client).await.is_err() {
                    break;
                }
                while events.try_recv().is_ok() {}
            }
            if self.load.is_over() || runtime.random_below("session end", 2) == 0 {
                // A session that could not be closed expires.
                let _ = coordinator.close().await;
            }
        }
    }

    /// Does one thing. An error says that the session is over.
    async fn act(
        &self,
        runtime: &SimRuntime,
        coordinator: &CoordinatorClient,
        client: Client,
    ) -> Result<(), CoordinatorError> {
        let own = format!("{PARENT}/c{client}-{}", runtime.random_below("ephemeral", NAMES));
        let open = Acl::open();
        let done = match runtime.random_below("act", 10) {
            0..=3 => match coordinator.create(own, Bytes::new(), open.clone(), CreateMode::Ephemeral).await {
                Err(error) if error.is(ErrorCode::NoNode) => {
                    coordinator.create(PARENT, Bytes::new(), open, CreateMode::Persistent).await.map(drop)
                }
                other => other.map(drop),
            },
            4 => coordinator.delete(own, None).await,
            5..=6 => coordinator.get_children(PARENT, true).await.map(drop),
            7..=8 => {
                let other =
                    format!("{PARENT}/c{}-{}", runtime.random_below("other", 32), runtime.random_below("other", NAMES));
                coordinator.exists(other, true).await.map(drop)
            }
            _ => coordinator.get_data(own, true).await.map(drop),
        };
        match done {
            Err(error @ (CoordinatorError::SessionExpired | CoordinatorError::Closed)) => Err(error),
            _ => Ok(()),
        }
    }
}
