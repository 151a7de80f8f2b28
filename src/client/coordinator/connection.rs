//! Keeps a session connected: tries servers, carries bytes between one of them and the
//! [`Protocol`], and keeps time. One task; nothing here decides what a byte means.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::Config;
use super::error::CoordinatorError;
use super::protocol::{Effect, Protocol, SessionState};
use crate::base::address::Address;
use crate::base::ids::Zxid;
use crate::base::limits::JUTE_BYTES_MAX;
use crate::base::time::Instant;
use crate::runtime::{Runtime, Stream, timeout, watch};
use crate::wire::zookeeper::{Request, Response, WatchEvent, take_frame};

/// The largest frame that is accepted from a server: a list of children may be longer than any
/// request.
const RESPONSE_BYTES_MAX: usize = 4 * JUTE_BYTES_MAX;
/// No request is taken while more than this waits to be written.
const OUTGOING_BYTES_MAX: usize = 2 * JUTE_BYTES_MAX;
/// The session outlives so many attempts that nobody answers, however few servers there are.
const ATTEMPTS_MIN: u32 = 3;
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// What a request came to, and the zxid in the header of its reply: none where no reply came.
pub(super) type Outcome = (Result<Response, CoordinatorError>, Option<Zxid>);

/// A request on its way to the task.
pub(super) struct Command {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Outcome>,
}

/// The task's state.
pub(super) struct Connection<R: Runtime> {
    pub(super) runtime: R,
    pub(super) config: Config,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::UnboundedSender<WatchEvent>,
    pub(super) state: watch::Sender<SessionState>,
    pub(super) protocol: Protocol<oneshot::Sender<Outcome>>,
}

impl<R: Runtime> Connection<R> {
    /// Runs until the session has ended or all handles are dropped.
    pub(super) async fn run(mut self) {
        self.shuffle_servers();
        let mut failures = 0;
        while !self.protocol.is_ended() && !self.commands.is_closed() {
            let at = failures % self.config.servers.len();
            let began = self.runtime.now();
            if self.try_server(self.config.servers[at].clone()).await {
                // Another server first: the one that was lost is the least likely to be there.
                self.config.servers.rotate_left(at + 1);
                failures = 0;
            } else {
                failures += 1;
                if failures.is_multiple_of(self.config.servers.len()) {
                    self.refuse_waiting(&CoordinatorError::NotSent);
                }
            }
            self.pause(failures, began).await;
        }
        self.finish().await;
    }

    /// A pause of random length, so that clients of a lost server do not come back as one. None
    /// after a connection that has lasted; one that is lost at once again must not be a busy loop.
    async fn pause(&self, failures: usize, began: Instant) {
        let longest = self.config.reconnect_backoff_max;
        let has_lasted = failures == 0 && self.runtime.now().since(began) > longest;
        if !has_lasted && !self.protocol.is_ended() {
            let pause = self.runtime.random_duration("coordinator-client-backoff", Duration::ZERO, longest);
            self.runtime.sleep(pause).await;
        }
    }

    /// Fisher and Yates: every client begins elsewhere.
    fn shuffle_servers(&mut self) {
        for last in (1..self.config.servers.len()).rev() {
            let other = self.runtime.random_below("coordinator-client-servers", last as u64 + 1);
            self.config.servers.swap(last, other as usize);
        }
    }

    fn refuse_waiting(&mut self, error: &CoordinatorError) {
        while let Ok(command) = self.commands.try_recv() {
            // Whoever does not wait any more need not be told.
            let _ = command.reply.send((Err(error.clone()), None));
        }
    }

    async fn finish(mut self) {
        let error = match *self.state.borrow() {
            SessionState::Expired => CoordinatorError::SessionExpired,
            _ => CoordinatorError::Closed,
        };
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            let _ = command.reply.send((Err(error.clone()), None));
        }
    }

    /// How long a server may take to be connected and to answer for the session.
    fn connect_timeout(&self) -> Duration {
        let servers = u32::try_from(self.config.servers.len()).unwrap_or(u32::MAX);
        let share = self.session_timeout() / servers.max(ATTEMPTS_MIN);
        share.max(self.config.connect_timeout_min)
    }

    fn session_timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.protocol.timeout_ms()).unwrap_or(0))
    }

    /// Serves the session through one server, until that connection is lost. Whether there was one.
    async fn try_server(&mut self, server: Address) -> bool {
        let deadline = self.runtime.now() + self.connect_timeout();
        let Ok(Ok(stream)) = timeout(&self.runtime, self.connect_timeout(), self.runtime.connect(&server)).await else {
            return false;
        };
        let mut was_connected = false;
        // Why it was lost makes no difference to what is done next.
        let _ = self.serve(stream, deadline, &mut was_connected).await;
        let mut effects = Vec::new();
        self.protocol.disconnected(&mut effects);
        self.carry_out(effects);
        was_connected
    }

    async fn serve(&mut self, stream: R::Stream, greeting_due: Instant, was_connected: &mut bool) -> io::Result<()> {
        let (mut reader, mut writer) = stream.split();
        let (mut received, mut out, mut effects) = (BytesMut::new(), Vec::new(), Vec::new());
        let mut written = 0;
        self.protocol.connected(&mut out);
        let mut sent_at = self.runtime.now();
        let mut heard_at = sent_at;
        loop {
            let due = self.next_deadline(greeting_due, sent_at, heard_at);
            received.reserve(READ_BYTES);
            tokio::select! {
                biased;
                read = reader.read_buf(&mut received) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    heard_at = self.runtime.now();
                    while let Some(frame) = take_frame(&mut received, RESPONSE_BYTES_MAX).map_err(io::Error::other)? {
                        let result = self.protocol.receive(frame, &mut out, &mut effects);
                        *was_connected |= self.protocol.is_connected();
                        self.carry_out(std::mem::take(&mut effects));
                        result.map_err(io::Error::other)?;
                    }
                    if self.protocol.is_ended() {
                        return Ok(());
                    }
                }
                count = writer.write(&out[written..]), if written < out.len() => {
                    written += count?;
                    if written == out.len() {
                        out.clear();
                        written = 0;
                    }
                }
                command = self.commands.recv(), if self.protocol.accepts() && out.len() < OUTGOING_BYTES_MAX => {
                    let Some(Command { request, reply }) = command else { return Ok(()) };
                    self.protocol.request(reply, &request, &mut out, &mut effects);
                    self.carry_out(std::mem::take(&mut effects));
                    sent_at = self.runtime.now();
                }
                () = self.runtime.sleep_until(due) => {
                    let now = self.runtime.now();
                    if now >= self.silence_deadline(greeting_due, heard_at) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    self.protocol.ping(&mut out);
                    sent_at = now;
                }
            }
        }
    }

    /// When the server has been silent for too long: two thirds of the time-out, which leaves a
    /// third to find another server.
    fn silence_deadline(&self, greeting_due: Instant, heard_at: Instant) -> Instant {
        if self.protocol.is_connected() { heard_at + self.session_timeout() * 2 / 3 } else { greeting_due }
    }

    /// The silence deadline, or before that the next ping: a third of the time-out after the
    /// client last sent something.
    fn next_deadline(&self, greeting_due: Instant, sent_at: Instant, heard_at: Instant) -> Instant {
        let silence = self.silence_deadline(greeting_due, heard_at);
        if self.protocol.is_connected() { silence.min(sent_at + self.session_timeout() / 3) } else { silence }
    }

    fn carry_out(&mut self, effects: Vec<Effect<oneshot::Sender<Outcome>>>) {
        for effect in effects {
            match effect {
                // Nobody may wait any more, or care for events: both are theirs to decide.
                Effect::Complete(reply, outcome) => drop(reply.send((outcome, self.protocol.reply_zxid()))),
                Effect::Event(event) => drop(self.events.send(event)),
                Effect::State(state) => drop(self.state.send_replace(state)),
            }
        }
    }
}
