//! Requests and responses, over links within the process.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, Weak,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use super::PATIENCE;
use crate::{
    rendezvous::{MemberId, Roles},
    simple::{AppError, AppHandler, AppMessage, BODY_LIMIT, Link, LinkDown, SimpleApp, Target, TrackError},
};

/// Applications by member: what one sends is delivered to the other on the sender's thread.
#[derive(Clone, Default)]
struct Hub(Arc<Mutex<HashMap<MemberId, SimpleApp>>>);

struct HubLink {
    ourselves: MemberId,
    hub: Weak<Mutex<HashMap<MemberId, SimpleApp>>>,
}

impl Link for HubLink {
    fn members(&self) -> Vec<MemberId> {
        let Some(hub) = self.hub.upgrade() else { return Vec::new() };
        let members: Vec<_> = hub.lock().expect("no panic").keys().copied().collect();
        members.into_iter().filter(|member| *member != self.ourselves).collect()
    }

    fn send(&self, to: MemberId, bytes: Vec<u8>) -> Result<(), LinkDown> {
        let app = self.hub.upgrade().and_then(|hub| hub.lock().expect("no panic").get(&to).cloned());
        assert!(app.ok_or(LinkDown { member: to })?.deliver(self.ourselves, &bytes));
        Ok(())
    }
}

impl Hub {
    fn join(&self, member: MemberId, handler: impl AppHandler + 'static) -> SimpleApp {
        let link = Arc::new(HubLink { ourselves: member, hub: Arc::downgrade(&self.0) });
        let app = SimpleApp::start(7, link, Arc::new(handler)).expect("a thread");
        self.0.lock().expect("no panic").insert(member, app.clone());
        app
    }
}

/// Answers with the body turned round; panics at head -1; keeps quiet at head -2.
struct Reverse;

impl AppHandler for Reverse {
    fn request(&self, app: &SimpleApp, request: AppMessage) {
        assert!(request.head != -1, "asked to panic");
        if request.head != -2 {
            let body: Vec<u8> = request.body.iter().rev().copied().collect();
            app.respond(&request, &body).expect("the requester is there");
        }
    }
}

/// Tells responses.
struct Telling(Mutex<Sender<AppMessage>>);

impl AppHandler for Telling {
    fn request(&self, _: &SimpleApp, request: AppMessage) {
        panic!("no request is expected: {request:?}");
    }

    fn response(&self, _: &SimpleApp, response: AppMessage) {
        self.0.lock().expect("no panic").send(response).expect("the test listens");
    }
}

fn worker(hub: &Hub) -> (SimpleApp, Receiver<AppMessage>) {
    let (tell, told) = channel();
    (hub.join(MemberId::worker(0), Telling(Mutex::new(tell))), told)
}

#[test]
fn a_request_is_answered() {
    let hub = Hub::default();
    let server = hub.join(MemberId::server(0), Reverse);
    let (worker, told) = worker(&hub);
    assert_eq!((server.number(), worker.number()), (7, 7));
    let timestamp = worker.request(&Target::Member(MemberId::server(0)), 5, b"abc").expect("it is there");
    assert_eq!(worker.wait(timestamp, PATIENCE), Ok(()));
    let wanted = AppMessage { from: MemberId::server(0), timestamp, head: 5, body: b"cba".to_vec() };
    assert_eq!(told.try_recv(), Ok(wanted), "the handler ran before the wait ended");
    let again = worker.wait(timestamp, PATIENCE);
    assert_eq!(again, Err(AppError::Track(TrackError::Taken { timestamp })));
}

#[test]
fn a_request_to_a_group_waits_for_all() {
    let hub = Hub::default();
    let servers = [0, 1, 2].map(|rank| hub.join(MemberId::server(rank), Reverse));
    let (worker, told) = worker(&hub);
    let timestamp = worker.request(&Target::Roles(Roles::SERVER), 1, b"xy").expect("they are there");
    assert_eq!(worker.wait(timestamp, PATIENCE), Ok(()));
    let mut from: Vec<_> = told.try_iter().map(|response| response.from).collect();
    from.sort_unstable();
    assert_eq!(from, [0, 1, 2].map(MemberId::server));
    drop(servers);
}

#[test]
fn who_is_not_there_is_told() {
    let hub = Hub::default();
    let (worker, _told) = worker(&hub);
    let nobody = MemberId::server(9);
    assert_eq!(
        worker.request(&Target::Member(nobody), 0, b""),
        Err(AppError::Down(LinkDown { member: nobody }))
    );
    assert_eq!(worker.request(&Target::Roles(Roles::SERVER), 0, b""), Err(AppError::Nobody));
    let long = vec![0; BODY_LIMIT + 1];
    let too_long = worker.request(&Target::Member(nobody), 0, &long);
    assert_eq!(too_long, Err(AppError::TooLong { bytes: BODY_LIMIT + 1 }));
}

#[test]
fn a_receiver_that_goes_down_fails_what_waits_for_it() {
    let hub = Hub::default();
    let server = hub.join(MemberId::server(0), Reverse);
    let (worker, _told) = worker(&hub);
    let timestamp = worker.request(&Target::Member(MemberId::server(0)), -2, b"").expect("it is there");
    let early = worker.wait(timestamp, Duration::ZERO);
    assert!(matches!(early, Err(AppError::Track(TrackError::Timeout { .. }))));
    worker.member_down(MemberId::server(1));
    worker.member_down(MemberId::server(0));
    let member = MemberId::server(0);
    assert_eq!(worker.wait(timestamp, PATIENCE), Err(AppError::Down(LinkDown { member })));
    drop(server);
}

#[test]
fn a_handler_that_panics_handles_the_next() {
    let hub = Hub::default();
    let _server = hub.join(MemberId::server(0), Reverse);
    let (worker, _told) = worker(&hub);
    let to = Target::Member(MemberId::server(0));
    worker.request(&to, -1, b"").expect("it is there");
    let timestamp = worker.request(&to, 1, b"").expect("it is there");
    assert_eq!(worker.wait(timestamp, PATIENCE), Ok(()));
}

#[test]
fn too_many_requests_are_sent_back() {
    /// Handles nothing until it is let go.
    struct Stuck(Mutex<Receiver<()>>);
    impl AppHandler for Stuck {
        fn request(&self, _: &SimpleApp, _: AppMessage) {
            let _ = self.0.lock().expect("no panic").recv_timeout(PATIENCE);
        }
    }
    let hub = Hub::default();
    let (go, may_go) = channel();
    let server = hub.join(MemberId::server(0), Stuck(Mutex::new(may_go)));
    let (worker, _told) = worker(&hub);
    let to = Target::Member(MemberId::server(0));
    let timestamps: Vec<_> = (0..4098).map(|_| worker.request(&to, 0, b"").expect("it is there")).collect();
    let member = MemberId::server(0);
    assert_eq!(worker.wait(timestamps[4097], PATIENCE), Err(AppError::Busy { member }));
    drop(go);
    drop(server);
}

#[test]
fn what_is_not_for_the_application_is_left_alone() {
    let hub = Hub::default();
    let server = hub.join(MemberId::server(0), Reverse);
    let from = MemberId::worker(0);
    assert!(!server.deliver(from, b""));
    assert!(!server.deliver(from, &[2, 7, 0, 0, 0, 0]));
    assert!(!server.deliver(from, &[1, 7, 9]));
    assert!(!server.deliver(from, &[1, 8, 0, 0, 0, 0]), "another application's");
    assert!(!server.deliver(from, &[1, 7, 0, 0, 0, 0, 0]), "trailing bytes");
}
