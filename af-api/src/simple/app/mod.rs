//! Requests and responses of a number and a few bytes, between workers and servers: ps-lite's `SimpleApp`.
//!
//! They travel as events of the control connections that push-pulls have anyway, so they are for coordination and not for
//! bulk: each is at most [`BODY_LIMIT`] bytes. A handler runs on the application's own thread, one call at a time.

mod frame;
mod inbox;
mod links;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub(crate) use self::links::{Apps, WeakLink};
use self::{
    frame::{Frame, Kind},
    inbox::Inbox,
};
use super::{
    TrackError,
    tracker::{Timestamp, Tracker},
};
use crate::rendezvous::{MemberId, Roles};

/// Longest body of a request or a response.
pub const BODY_LIMIT: usize = 1 << 20;

/// What carries an application's messages: a worker's connections to its servers, or a server's to its workers.
pub trait Link: Send + Sync {
    /// Who is connected now.
    fn members(&self) -> Vec<MemberId>;

    /// Sends bytes to one of them; they arrive once, in order, or the member is down.
    ///
    /// # Errors
    /// [`LinkDown`] where it is not connected.
    fn send(&self, to: MemberId, bytes: Vec<u8>) -> Result<(), LinkDown>;
}

/// A member that is not connected, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{member} is not connected")]
pub struct LinkDown {
    /// Which.
    pub member: MemberId,
}

/// To whom a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One member.
    Member(MemberId),
    /// All that are connected and have one of these roles.
    Roles(Roles),
}

/// A request, or a response to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppMessage {
    /// Who sent it.
    pub from: MemberId,
    /// The number of the request at its sender.
    pub timestamp: Timestamp,
    /// The application's number.
    pub head: i32,
    /// The application's bytes.
    pub body: Vec<u8>,
}

/// What an application does with messages, on its own thread. A panic in it is caught; a request whose handler panics is not
/// answered.
pub trait AppHandler: Send + Sync {
    /// A request has come. Answer with [`SimpleApp::respond`], here or later.
    fn request(&self, app: &SimpleApp, request: AppMessage);

    /// A response to a request of this side has come.
    fn response(&self, app: &SimpleApp, response: AppMessage) {
        let _ = (app, response);
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// Nobody to send to.
    #[error("nobody is connected that the request could go to")]
    Nobody,
    /// More bytes than a message takes.
    #[error("a body of {bytes} bytes is longer than {BODY_LIMIT}: move it with a push")]
    TooLong {
        /// Bytes of the body.
        bytes: usize,
    },
    /// A receiver is down, or went down before it answered.
    #[error(transparent)]
    Down(#[from] LinkDown),
    /// A receiver has too many unanswered messages before it.
    #[error("{member} has too many messages to handle and dropped the request: try again")]
    Busy {
        /// Which.
        member: MemberId,
    },
    /// The request is not done, or its result is gone.
    #[error(transparent)]
    Track(#[from] TrackError),
}

/// One application, known by its number; both sides must have one of the same number. Clones are the same one; its thread
/// ends with the last.
#[derive(Clone)]
pub struct SimpleApp(Arc<Owner>);

struct Owner(Arc<Shared>);

struct Shared {
    number: u32,
    link: Arc<dyn Link>,
    requests: Tracker<Result<(), AppError>>,
    /// Who has yet to answer which request.
    awaited: Mutex<HashMap<Timestamp, BTreeSet<MemberId>>>,
    inbox: Inbox,
}

impl SimpleApp {
    /// An application on a link, with a handler. The link's owner must hand what arrives to [`SimpleApp::deliver`].
    ///
    /// # Errors
    /// Where its thread does not start.
    pub fn start(number: u32, link: Arc<dyn Link>, handler: Arc<dyn AppHandler>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            number,
            link,
            requests: Tracker::default(),
            awaited: Mutex::default(),
            inbox: Inbox::default(),
        });
        let app = Self(Arc::new(Owner(shared)));
        app.shared().inbox.start(&app, handler)?;
        Ok(app)
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.shared().number
    }

    /// Sends a request; does not wait. The returned number is for [`SimpleApp::wait`].
    ///
    /// # Errors
    /// [`AppError::Nobody`], [`AppError::TooLong`]; [`AppError::Down`] where a single receiver is not there. Of several
    /// receivers one that is down fails the wait.
    pub fn request(&self, to: &Target, head: i32, body: &[u8]) -> Result<Timestamp, AppError> {
        let shared = self.shared();
        check_length(body)?;
        let receivers = shared.receivers(to);
        if receivers.is_empty() {
            return Err(AppError::Nobody);
        }
        let timestamp = shared.requests.begin();
        shared.awaited().insert(timestamp, receivers.clone());
        let frame = Frame { app: shared.number, kind: Kind::Request, timestamp, head, body: body.to_vec() };
        let bytes = frame.encode();
        for member in &receivers {
            if let Err(down) = shared.link.send(*member, bytes.clone()) {
                if receivers.len() == 1 {
                    shared.awaited().remove(&timestamp);
                    shared.requests.forget(timestamp);
                    return Err(down.into());
                }
                shared.fail(timestamp, down.into());
            }
        }
        Ok(timestamp)
    }

    /// Waits until every receiver has answered the request. Can be asked once; the responses themselves go to the handler.
    ///
    /// # Errors
    /// [`AppError`] of the first receiver that did not answer.
    pub fn wait(&self, timestamp: Timestamp, timeout: Duration) -> Result<(), AppError> {
        self.shared().requests.take(timestamp, timeout)?
    }

    /// Answers a request; does not wait.
    ///
    /// # Errors
    /// [`AppError::TooLong`], [`AppError::Down`].
    pub fn respond(&self, request: &AppMessage, body: &[u8]) -> Result<(), AppError> {
        check_length(body)?;
        let (timestamp, head) = (request.timestamp, request.head);
        let frame =
            Frame { app: self.shared().number, kind: Kind::Response, timestamp, head, body: body.to_vec() };
        Ok(self.shared().link.send(request.from, frame.encode())?)
    }

    /// Bytes have come from a member over the link: whether they are this application's. Never waits; called by the link's
    /// owner on its control thread.
    pub fn deliver(&self, from: MemberId, bytes: &[u8]) -> bool {
        self.shared().deliver(from, bytes)
    }

    /// A member is down: what it has not answered fails.
    pub fn member_down(&self, member: MemberId) {
        self.shared().member_down(member);
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.inbox.close();
    }
}

impl Shared {
    fn receivers(&self, to: &Target) -> BTreeSet<MemberId> {
        match to {
            Target::Member(member) => BTreeSet::from([*member]),
            Target::Roles(roles) => {
                let members = self.link.members().into_iter();
                members.filter(|member| roles.contains(member.role.as_roles())).collect()
            }
        }
    }

    fn deliver(&self, from: MemberId, bytes: &[u8]) -> bool {
        let Some(frame) = Frame::decode(bytes).filter(|frame| frame.app == self.number) else { return false };
        let Frame { kind, timestamp, head, body, .. } = frame;
        match kind {
            Kind::Busy => self.fail(timestamp, AppError::Busy { member: from }),
            Kind::Request => {
                if !self.inbox.put(true, AppMessage { from, timestamp, head, body }) {
                    let busy =
                        Frame { app: self.number, kind: Kind::Busy, timestamp, head, body: Vec::new() };
                    // Who is down by now waits for nothing.
                    let _ = self.link.send(from, busy.encode());
                }
            }
            Kind::Response => {
                self.inbox.put(false, AppMessage { from, timestamp, head, body });
            }
        }
        true
    }

    /// A response was handled.
    fn answered(&self, from: MemberId, timestamp: Timestamp) {
        let mut awaited = self.awaited();
        let Some(missing) = awaited.get_mut(&timestamp) else { return };
        missing.remove(&from);
        if missing.is_empty() {
            awaited.remove(&timestamp);
            drop(awaited);
            self.requests.finish(timestamp, Ok(()));
        }
    }

    /// A request fails; answers of others that still come are handled, but not waited for.
    fn fail(&self, timestamp: Timestamp, error: AppError) {
        if self.awaited().remove(&timestamp).is_some() {
            self.requests.finish(timestamp, Err(error));
        }
    }

    fn member_down(&self, member: MemberId) {
        let awaited = self.awaited();
        let of_member = awaited.iter().filter(|(_, missing)| missing.contains(&member));
        let failing: Vec<Timestamp> = of_member.map(|(timestamp, _)| *timestamp).collect();
        drop(awaited);
        failing.into_iter().for_each(|timestamp| self.fail(timestamp, LinkDown { member }.into()));
    }

    /// Neither the link nor a handler is called under it.
    fn awaited(&self) -> MutexGuard<'_, HashMap<Timestamp, BTreeSet<MemberId>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimpleApp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SimpleApp").field("number", &self.number()).finish_non_exhaustive()
    }
}

const fn check_length(body: &[u8]) -> Result<(), AppError> {
    if body.len() > BODY_LIMIT { Err(AppError::TooLong { bytes: body.len() }) } else { Ok(()) }
}
