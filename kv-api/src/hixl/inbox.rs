//! Notifications that peers have sent, until the program takes them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pmd_host::{
    control::{Refusal, RequestError},
    endpoint::Peer,
};

use super::{HixlError, NotifyDesc};

/// Request kind: a notification, answered by nothing.
pub(super) const NOTIFY: u16 = 1;

/// Notifications of one link that may wait to be taken.
pub(super) const LINK_LIMIT: usize = 4096;

/// Refusal codes of [`NOTIFY`].
const FULL: u16 = 1;
const MALFORMED: u16 = 2;

/// What has arrived.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Arrived>);

#[derive(Default)]
struct Arrived {
    notifications: Vec<NotifyDesc>,
    /// How many of them came over each control connection.
    of_link: HashMap<u64, usize>,
}

impl Inbox {
    /// Takes a notification in, or says why not.
    pub(super) fn put(&self, link: u64, body: &[u8]) -> Result<(), Refusal> {
        let notification = decode(body)?;
        let mut arrived = self.arrived();
        let count = arrived.of_link.entry(link).or_default();
        if *count >= LINK_LIMIT {
            return Err(Refusal { code: FULL, detail: format!("{LINK_LIMIT} notifications wait") });
        }
        *count += 1;
        arrived.notifications.push(notification);
        Ok(())
    }

    /// Everything that has arrived, in its order.
    pub(super) fn take(&self) -> Vec<NotifyDesc> {
        std::mem::take(&mut *self.arrived()).notifications
    }

    fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a notification and waits until the peer has it.
pub(super) fn send(peer: &Peer, notification: &NotifyDesc, patience: Duration) -> Result<(), HixlError> {
    let body = encode(notification);
    match peer.request(NOTIFY, body, patience) {
        Ok(_) => Ok(()),
        Err(RequestError::Timeout { .. }) => Err(HixlError::Timeout { what: "the notification" }),
        Err(RequestError::Refused(Refusal { code: FULL, .. })) => {
            Err(HixlError::NotifyFull { limit: LINK_LIMIT })
        }
        Err(error) => Err(HixlError::NotifyFailed(error)),
    }
}

/// Refuses what is too long before anything is sent.
pub(super) fn check(notification: &NotifyDesc) -> Result<(), HixlError> {
    let NotifyDesc { name, notify_msg } = notification;
    for (part, length) in [("name", name.len()), ("message", notify_msg.len())] {
        if length > NotifyDesc::LIMIT {
            return Err(HixlError::NotifyTooLong { part, length });
        }
    }
    Ok(())
}

fn encode(notification: &NotifyDesc) -> Vec<u8> {
    // Only a failing writer makes this fail, and a vector does not.
    postcard::to_allocvec(&(&notification.name, &notification.notify_msg)).unwrap_or_default()
}

fn decode(body: &[u8]) -> Result<NotifyDesc, Refusal> {
    let malformed =
        || Refusal { code: MALFORMED, detail: format!("{} bytes are no notification", body.len()) };
    let ((name, notify_msg), rest) =
        postcard::take_from_bytes::<(Vec<u8>, Vec<u8>)>(body).map_err(|_| malformed())?;
    let notification = NotifyDesc { name, notify_msg };
    check(&notification).map_err(|_| malformed())?;
    if rest.is_empty() { Ok(notification) } else { Err(malformed()) }
}
