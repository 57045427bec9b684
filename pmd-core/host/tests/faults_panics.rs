//! Applications that panic: what was asked gets a typed refusal or its route fails; the process and other peers go on.

mod faults_support;

use faults_support::{Callback, Memory, Node, PATIENCE, Seen, carry_out, list, open, round_trip, within};
use pmd_core::memory::Access;
use pmd_host::{
    control::{DownReason, Refusal, RequestError},
    endpoint::{EndpointError, Peer},
    transfer::{Direction, Outcome, RouteFault, SendError},
};

/// A server and a client that is not to be disturbed.
struct Scene {
    server: Node,
    steady: Node,
    steady_peer: Peer,
}

impl Scene {
    fn new() -> Self {
        let (server, steady) = (open("server"), open("steady"));
        let steady_peer = steady.connect(&server);
        assert_eq!(server.sees(), Seen::Connected("steady".into()));
        Self { server, steady, steady_peer }
    }

    /// The server lives: its old peer moves bytes and messages, and a new one can come and go.
    fn goes_on(&self) {
        self.server.application.panic_in(None);
        let from = Memory::heap(&self.steady.endpoint, 4096, Access::READ_WRITE);
        let to = Memory::arena(&self.server.endpoint, 4096, Access::READ_WRITE);
        from.fill(1);
        let work = list(Direction::Write, 4096, [(from.piece(0, 4096), to.remote(0))]);
        assert_eq!(carry_out(self.steady_peer.route(), &work), Ok(Outcome { bytes: 4096 }));
        assert!(to.holds_only(&[1]));
        let back = self.server.peer("steady");
        round_trip((&self.steady, &self.steady_peer), (&self.server, &back));
        let newcomer = open("newcomer");
        let peer = newcomer.connect(&self.server);
        within(|| (self.server.sees() == Seen::Connected("newcomer".into())).then_some(()));
        assert_eq!(peer.request(1, vec![1, 2], PATIENCE), Ok(vec![2, 1]));
        drop((peer, newcomer));
        assert_eq!(self.server.sees_down("newcomer"), DownReason::Goodbye);
    }
}

fn is_panic(refusal: &Refusal) -> bool {
    refusal.code == Refusal::PANICKED
}

#[test]
fn a_panic_in_a_request_is_a_refusal() {
    let scene = Scene::new();
    scene.server.application.panic_in(Some(Callback::Request));
    let answer = scene.steady_peer.request(1, vec![1, 2], PATIENCE);
    assert!(matches!(&answer, Err(RequestError::Refused(refusal)) if is_panic(refusal)), "{answer:?}");
    scene.server.application.panic_in(None);
    assert_eq!(scene.steady_peer.request(1, vec![1, 2], PATIENCE), Ok(vec![2, 1]));
    scene.goes_on();
}

#[test]
fn a_panic_in_an_event_is_nobodys_fault() {
    let scene = Scene::new();
    scene.server.application.panic_in(Some(Callback::Event));
    scene.steady_peer.connection().event(5, vec![]).unwrap();
    assert_eq!(scene.steady_peer.request(1, vec![1, 2], PATIENCE), Ok(vec![2, 1]));
    assert_eq!(scene.steady_peer.down_reason(), None);
    scene.goes_on();
}

#[test]
fn a_panic_in_a_message_fails_that_route_only() {
    let scene = Scene::new();
    let client = open("client");
    let peer = client.connect(&scene.server);
    assert_eq!(scene.server.sees(), Seen::Connected("client".into()));
    let back = scene.server.peer("client");
    scene.server.application.panic_in(Some(Callback::Message));
    peer.route().send(b"boom", None).unwrap();
    assert_eq!(within(|| back.route().fault()), RouteFault::HandlerPanicked);
    assert_eq!(back.route().send(b"x", None), Err(SendError::RouteFailed(RouteFault::HandlerPanicked)));
    scene.goes_on();
    // The sender's side finds out with what it does next, and connects anew.
    let from = Memory::heap(&client.endpoint, 4096, Access::READ_WRITE);
    let to = Memory::arena(&scene.server.endpoint, 4096, Access::READ_WRITE);
    let work = list(Direction::Write, 4096, [(from.piece(0, 4096), to.remote(0))]);
    let end = faults_support::until_failure(peer.route(), &work);
    assert_eq!(end.0, 0, "{end:?}");
    peer.close();
    let again = client.connect(&scene.server);
    let back =
        within(|| scene.server.endpoint.peers().into_iter().find(|peer| peer.identity().name == "client"));
    round_trip((&client, &again), (&scene.server, &back));
}

#[test]
fn a_panic_when_connected_refuses_the_peer() {
    let scene = Scene::new();
    scene.server.application.panic_in(Some(Callback::Connected));
    let client = open("client");
    let refused = client.endpoint.connect(scene.server.endpoint.local_address().unwrap()).unwrap_err();
    assert!(
        matches!(&refused, EndpointError::Request(RequestError::Refused(refusal)) if is_panic(refusal)),
        "{refused}"
    );
    within(|| (scene.server.endpoint.peers().len() == 1).then_some(()));
    within(|| client.endpoint.peers().is_empty().then_some(()));
    scene.goes_on();
    let peer = client.connect(&scene.server);
    round_trip((&client, &peer), (&scene.server, &scene.server.peer("client")));
}

#[test]
fn a_panic_in_down_is_survived() {
    let scene = Scene::new();
    let client = open("client");
    let peer = client.connect(&scene.server);
    assert_eq!(scene.server.sees(), Seen::Connected("client".into()));
    scene.server.application.panic_in(Some(Callback::Down));
    drop((peer, client));
    within(|| (scene.server.endpoint.peers().len() == 1).then_some(()));
    // `down` comes after the peer was forgotten, on the thread that answers this.
    assert_eq!(scene.steady_peer.request(1, vec![1, 2], PATIENCE), Ok(vec![2, 1]));
    scene.goes_on();
}

#[test]
fn panics_at_both_ends_of_one_message_leave_both_processes() {
    let scene = Scene::new();
    let client = open("client");
    let peer = client.connect(&scene.server);
    let back = scene.server.peer("client");
    client.application.panic_in(Some(Callback::Message));
    scene.server.application.panic_in(Some(Callback::Message));
    peer.route().send(b"boom", None).unwrap();
    let _ = back.route().send(b"boom", None);
    within(|| back.route().fault().or_else(|| peer.route().fault()));
    client.application.panic_in(None);
    scene.goes_on();
}
