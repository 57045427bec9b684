//! Notifications.

use super::*;
use crate::hixl::inbox::LINK_LIMIT;

#[test]
fn notifications_arrive_in_order_and_are_taken_once() {
    let (client, server, name) = pair(&direct());
    let notification = |number: u32| NotifyDesc::new(format!("block {number}"), number.to_le_bytes());
    for number in 0..100 {
        client.send_notify(&name, &notification(number), PATIENCE).expect("sent");
    }
    let wanted: Vec<_> = (0..100).map(notification).collect();
    assert_eq!(server.take_notifies().expect("taken"), wanted);
    assert_eq!(server.take_notifies().expect("taken"), []);
    assert_eq!(client.take_notifies().expect("taken"), []);
}

#[test]
fn names_and_messages_have_a_limit() {
    let (client, server, name) = pair(&direct());
    let long = vec![0xff_u8; NotifyDesc::LIMIT];
    let longest = NotifyDesc::new(long.clone(), long);
    client.send_notify(&name, &longest, PATIENCE).expect("as long as may be");
    for too_long in [NotifyDesc::new([0; 1025], []), NotifyDesc::new([], [0; 1025])] {
        assert_eq!(status(client.send_notify(&name, &too_long, PATIENCE)), Status::ParamInvalid);
    }
    client.send_notify(&name, &NotifyDesc::default(), PATIENCE).expect("an empty one");
    assert_eq!(server.take_notifies().expect("taken"), [longest, NotifyDesc::default()]);
}

#[test]
fn a_link_has_room_for_a_number_of_them() {
    let (client_engine, server, name) = pair(&direct());
    let other = client(&direct());
    other.connect(&name, PATIENCE).expect("connected");
    let notification = NotifyDesc::new("full", "soon");
    for _ in 0..LINK_LIMIT {
        client_engine.send_notify(&name, &notification, PATIENCE).expect("sent");
    }
    let one_more = client_engine.send_notify(&name, &notification, PATIENCE);
    assert_eq!(status(one_more), Status::ResourceExhausted);
    other.send_notify(&name, &notification, PATIENCE).expect("another link has room of its own");
    assert_eq!(server.take_notifies().expect("taken").len(), LINK_LIMIT + 1);
    client_engine.send_notify(&name, &notification, PATIENCE).expect("there is room again");
    assert_eq!(LINK_LIMIT, 4096);
}

#[test]
fn there_has_to_be_a_link() {
    let (client_engine, server, name) = pair(&direct());
    let notification = NotifyDesc::new("a", "b");
    let other = client(&direct());
    assert_eq!(status(other.send_notify(&name, &notification, PATIENCE)), Status::NotConnected);
    assert_eq!(status(other.send_notify("x", &notification, PATIENCE)), Status::ParamInvalid);
    server.finalize();
    let deadline = Instant::now() + PATIENCE;
    // Until the goodbye has arrived the notification goes to somebody who is not there any more.
    loop {
        match status(client_engine.send_notify(&name, &notification, PATIENCE)) {
            Status::NotConnected => break,
            early => assert_eq!(early, Status::NotifyFailed),
        }
        assert!(Instant::now() < deadline);
    }
}
