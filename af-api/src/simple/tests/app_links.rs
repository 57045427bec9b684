//! Requests and responses over the connections of a worker and its servers.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use super::PATIENCE;
use crate::{
    rendezvous::{MemberId, Roles},
    simple::{AppError, AppHandler, AppMessage, LinkDown, SimpleApp, Target, TrackError},
    worker::tests::support::{server, worker},
};

/// Answers with the head added to each byte; keeps quiet at head 0. Tells what came.
struct Adder(Mutex<Sender<AppMessage>>);

impl AppHandler for Adder {
    fn request(&self, app: &SimpleApp, request: AppMessage) {
        if request.head != 0 {
            let body: Vec<u8> = request.body.iter().map(|byte| byte + request.head as u8).collect();
            app.respond(&request, &body).expect("the requester is there");
        }
        let _ = self.0.lock().expect("no panic").send(request);
    }

    fn response(&self, _: &SimpleApp, response: AppMessage) {
        let _ = self.0.lock().expect("no panic").send(response);
    }
}

fn adder() -> (Arc<Adder>, std::sync::mpsc::Receiver<AppMessage>) {
    let (tell, told) = channel();
    (Arc::new(Adder(Mutex::new(tell))), told)
}

#[test]
fn requests_go_both_ways() {
    let servers = [server(0), server(1)];
    let worker = worker(3, &[&servers[0], &servers[1]]);
    let (handler, told) = adder();
    let at_worker = SimpleApp::on_worker(&worker, 5, handler).unwrap();
    let (server_handler, server_told) = adder();
    let at_servers = servers.each_ref().map(|server| {
        SimpleApp::on_server(server, 5, Arc::clone(&server_handler) as Arc<dyn AppHandler>).unwrap()
    });
    let _other = SimpleApp::on_worker(&worker, 6, server_handler).unwrap();

    let timestamp = at_worker.request(&Target::Roles(Roles::SERVER), 2, b"abc").unwrap();
    assert_eq!(at_worker.wait(timestamp, PATIENCE), Ok(()));
    let mut responses: Vec<AppMessage> = told.try_iter().collect();
    responses.sort_unstable_by_key(|response| response.from);
    let wanted =
        |rank| AppMessage { from: MemberId::server(rank), timestamp, head: 2, body: b"cde".to_vec() };
    assert_eq!(responses, [wanted(0), wanted(1)]);

    let timestamp = at_servers[1].request(&Target::Member(MemberId::worker(3)), 1, b"xyz").unwrap();
    assert_eq!(at_servers[1].wait(timestamp, PATIENCE), Ok(()));
    let from_worker =
        server_told.try_iter().find(|message| message.from == MemberId::worker(3) && message.head == 1);
    assert_eq!(from_worker.map(|message| message.body), Some(b"yz{".to_vec()));
}

#[test]
fn who_cannot_be_reached_is_told() {
    let (server, stranger) = (server(0), MemberId::server(9));
    let worker = worker(3, &[&server]);
    let at_worker = SimpleApp::on_worker(&worker, 5, adder().0).unwrap();
    let at_server = SimpleApp::on_server(&server, 5, adder().0).unwrap();
    let down = |member| Err(AppError::Down(LinkDown { member }));
    assert_eq!(at_worker.request(&Target::Member(stranger), 1, b""), down(stranger));
    let (as_worker, as_server) = (MemberId::worker(0), MemberId::server(0));
    assert_eq!(at_worker.request(&Target::Member(as_worker), 1, b""), down(as_worker));
    assert_eq!(at_server.request(&Target::Member(as_server), 1, b""), down(as_server));
    assert_eq!(at_server.request(&Target::Roles(Roles::SERVER), 1, b""), Err(AppError::Nobody));
    drop(worker);
    assert_eq!(at_worker.request(&Target::Member(as_server), 1, b""), down(as_server));
}

#[test]
fn a_server_that_goes_fails_what_waits_for_it() {
    let server = server(0);
    let worker = worker(3, &[&server]);
    let at_worker = SimpleApp::on_worker(&worker, 5, adder().0).unwrap();
    let (handler, told) = adder();
    let at_server = SimpleApp::on_server(&server, 5, handler).unwrap();
    let member = MemberId::server(0);
    let timestamp = at_worker.request(&Target::Member(member), 0, b"").unwrap();
    told.recv_timeout(PATIENCE).expect("it came");
    let early = at_worker.wait(timestamp, Duration::ZERO);
    assert!(matches!(early, Err(AppError::Track(TrackError::Timeout { .. }))));
    drop((at_server, server));
    assert_eq!(at_worker.wait(timestamp, PATIENCE), Err(AppError::Down(LinkDown { member })));
}

#[test]
fn a_worker_that_goes_fails_what_its_server_waits_for() {
    let server = server(0);
    let worker = worker(3, &[&server]);
    let (handler, told) = adder();
    let _at_worker = SimpleApp::on_worker(&worker, 5, handler).unwrap();
    let at_server = SimpleApp::on_server(&server, 5, adder().0).unwrap();
    let member = MemberId::worker(3);
    let timestamp = at_server.request(&Target::Member(member), 0, b"").unwrap();
    told.recv_timeout(PATIENCE).expect("it came");
    drop(worker);
    assert_eq!(at_server.wait(timestamp, PATIENCE), Err(AppError::Down(LinkDown { member })));
}
