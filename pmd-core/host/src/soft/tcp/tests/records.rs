//! Formats: what is written is read, and what cannot be is not.

use super::*;
use crate::soft::tcp::record::{BULK_HEAD, BadRecord, BulkHead, LONGEST_BODY, VERSION};

fn good() -> Hello {
    let address = TcpAddress { socket: ([127, 0, 0, 1], 1).into(), device: DeviceId([3; 16]), queue_pair: 5 };
    Hello { stream: 2, streams: 1, ..hello(DeviceId([9; 16]), &address, 2) }
}

#[test]
fn hellos_are_read_as_written() {
    for protection in [Protection::Nothing, Protection::Proof, Protection::Sealed] {
        let hello = Hello { protection, lines: 1 << 20, ..good() };
        assert_eq!(Hello::parse(&hello.to_bytes()), Ok(hello));
    }
    assert_eq!(good().count(), 3);
}

#[test]
fn bad_hellos_are_named() {
    let mut bytes = good().to_bytes();
    bytes[0] ^= 1;
    assert_eq!(Hello::parse(&bytes), Err(BadRecord::Magic));
    let mut bytes = good().to_bytes();
    bytes[8] += 1;
    assert_eq!(Hello::parse(&bytes), Err(BadRecord::Version { theirs: VERSION + 1 }));
    let field = |hello: Hello| match Hello::parse(&hello.to_bytes()) {
        Err(BadRecord::Field { field, value }) => (field, value),
        other => panic!("{other:?}"),
    };
    assert_eq!(field(Hello { streams: 0, ..good() }), ("number of streams", 0));
    assert_eq!(field(Hello { streams: 17, ..good() }), ("number of streams", 17));
    assert_eq!(field(Hello { stream: 3, ..good() }), ("stream", 3));
    assert_eq!(field(Hello { lines: 63, ..good() }), ("number of lines", 63));
    assert_eq!(field(Hello { lines: 1 << 21, ..good() }), ("number of lines", 1 << 21));
    assert_eq!(field(Hello { lines: 0, ..good() }), ("number of lines", 0));
    let mut bytes = good().to_bytes();
    bytes[15] = 3;
    assert_eq!(Hello::parse(&bytes), Err(BadRecord::Field { field: "protection", value: 3 }));
}

#[test]
fn heads_are_read_as_written_and_bad_ones_are_named() {
    for (kind, length) in [(WireKind::Request, 63 << 10), (WireKind::Consumed, 4), (WireKind::Ready, 0)] {
        let head = WireHead { kind, length, position: 0xdead_beef };
        assert_eq!(WireHead::parse(&head.to_bytes()), Ok(head));
        let longer = WireHead { length: length + 1, ..head };
        let found = WireHead::parse(&longer.to_bytes());
        assert!(matches!(found, Err(BadRecord::Field { field: "length", .. })), "{kind:?}: {found:?}");
    }
    assert_eq!(LONGEST_BODY, 63 << 10);
    let unknown = WireHead::parse(&[9, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(unknown, Err(BadRecord::Field { field: "kind", value: 9 }));
    let head = BulkHead { length: 1 << 31, message: 7, offset: 12 };
    assert_eq!(BulkHead::parse(&head.to_bytes()), Ok(head));
    assert!(BulkHead::parse(&[0; BULK_HEAD]).is_err());
}
