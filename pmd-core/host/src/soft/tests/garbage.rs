//! What strangers and broken peers can send.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use nix::errno::Errno;
use proptest::prelude::*;

use super::{
    super::{
        memory::{Mapping, Protection},
        message::{BadFrame, Hello, Letter, Message},
        peer::Token,
        segment::Segment,
        socket::{self, Received},
    },
    *,
};
use crate::identity::DeviceId;

fn hello() -> Message {
    Message::Hello(Hello { device: DeviceId([3; 16]), token_address: 0, token: Token::random().unwrap() })
}

/// Whether the device hangs up on whoever sends these frames.
fn hangs_up(device: &Device, frames: &[(Vec<u8>, Vec<BorrowedFd<'_>>)]) -> bool {
    let stranger = socket::connect_to(device.id()).unwrap().unwrap();
    for (frame, descriptors) in frames {
        // Later frames may find the connection closed already.
        let _ = socket::send(&stranger, frame, descriptors);
    }
    device.service();
    matches!(socket::receive(&stranger), Received::End)
}

fn segment() -> OwnedFd {
    Segment::create().unwrap().1
}

#[test]
fn a_proper_hello_is_kept() {
    let device = open();
    assert!(!hangs_up(&device, &[(hello().encode(), vec![segment().as_fd()])]));
}

#[test]
fn garbage_ends_its_connection_and_nothing_else() {
    let (device, friend) = (open(), open());
    let (mut link, mut friends_link) = connected(&device, &friend);
    let segment = segment();
    let fd = segment.as_fd();
    let good = hello().encode();
    let mut other_version = good.clone();
    other_version[4] += 1;
    let file = nix::sys::memfd::memfd_create(c"short", nix::sys::memfd::MFdFlags::empty()).unwrap();
    let letter = Letter { from: 1, to: 2, serial: 3 };
    let arena = Message::Arena { id: 1, length: 1 << 20, prefault: true }.encode();
    let refused: [&[(Vec<u8>, Vec<BorrowedFd<'_>>)]; 11] = [
        &[(b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![])],
        &[(vec![0], vec![])],
        &[(vec![0xff; 1000], vec![])],
        &[(other_version, vec![fd])],
        &[(good.clone(), vec![])],
        &[(good.clone(), vec![fd, fd])],
        &[(good.clone(), vec![file.as_fd()])],
        &[(good[..20].to_vec(), vec![fd])],
        &[(good.clone(), vec![fd]), (good.clone(), vec![fd])],
        &[(good.clone(), vec![fd]), (Message::Offer(letter).encode(), vec![fd, fd])],
        &[(good.clone(), vec![fd]), (arena, vec![file.as_fd()])],
    ];
    for frames in refused {
        assert!(hangs_up(&device, frames), "{frames:?}");
    }
    exchange_packets(&mut link, &mut friends_link);
    assert!(link.peer().alive());
}

#[test]
fn a_frame_before_the_hello_is_refused() {
    let device = open();
    assert!(hangs_up(&device, &[(Message::ArenaGone { id: 1 }.encode(), vec![])]));
}

#[test]
fn nobody_can_take_the_place_of_a_peer() {
    let (device, friend) = (open(), open());
    let (link, _friends_link) = connected(&device, &friend);
    let claim =
        Message::Hello(Hello { device: friend.id(), token_address: 0, token: Token::random().unwrap() });
    assert!(hangs_up(&device, &[(claim.encode(), vec![segment().as_fd()])]));
    assert!(link.peer().alive());
}

#[test]
fn a_full_socket_delays_frames_and_loses_none() {
    let (one, other) = (open(), open());
    let (link, _kept) = connected(&one, &other);
    let peer = link.peer().clone();
    drop(link);
    // Far more announcements than a socket holds, with a descriptor each, before the other end looks.
    let config = DeviceConfig { same_process: false, ..DeviceConfig::default() };
    let reader = Device::open(config).unwrap();
    let (readers_link, _) = connected(&reader, &other);
    let arenas: Vec<_> =
        (0..400).map(|_| Arc::new(other.allocate(4096, ArenaOptions::default()).unwrap())).collect();
    within(|| {
        other.service();
        reader.service();
        (readers_link.peer().arenas().len() == arenas.len()).then_some(())
    });
    drop(arenas);
    within(|| {
        other.service();
        reader.service();
        readers_link.peer().arenas().is_empty().then_some(())
    });
    assert!(peer.alive());
}

#[test]
fn a_peer_cannot_write_a_segment() {
    let segment = segment();
    assert!(Mapping::new(&segment, 4096, Protection::Read).is_ok());
    assert_eq!(Mapping::new(&segment, 4096, Protection::ReadWrite).unwrap_err(), Errno::EPERM);
    assert_eq!(nix::unistd::ftruncate(&segment, 0), Err(Errno::EPERM));
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn messages_survive_their_frame(id in any::<u32>(), serial in any::<u64>(), prefault in any::<bool>()) {
        let letter = Letter { from: id, to: !id, serial };
        for message in [
            hello(),
            Message::Arena { id, length: serial, prefault },
            Message::ArenaGone { id },
            Message::Offer(letter),
            Message::Answer(letter),
        ] {
            let frame = message.encode();
            prop_assert!(frame.len() <= super::super::message::LONGEST);
            prop_assert_eq!(Message::decode(&frame), Ok(message));
            let longer = [frame.as_slice(), &[0]].concat();
            prop_assert_eq!(Message::decode(&longer), Err(BadFrame::Content));
        }
    }
}
