use super::{Input, TextError};

fn bytes(text: &str) -> Vec<u8> {
    Input::parse(text.as_bytes()).unwrap().bytes
}

#[test]
fn reads_what_wire_prints() {
    let input = Input::parse(
        b"00000008 abcdef03 00000008 00000000 | control RDMA_WRITE\n! wrong | 12\n00 01 | remote\n",
    )
    .unwrap();
    assert_eq!(input.bytes[..4], [0, 0, 0, 8]);
    assert_eq!(input.bytes[16..], [0, 1]);
    assert_eq!(input.comment(0), Some("control RDMA_WRITE"));
    assert_eq!(input.comment(16), Some("remote"));
    assert_eq!(input.comment(1), None);
}

#[test]
fn reads_xxd_and_hexdump() {
    let expected = [0x30, 0x31, 0x7c, 0x41, 0xab];
    assert_eq!(bytes("00000000: 3031 7c41 ab                             01|A."), expected);
    assert_eq!(bytes("00000000  30 31 7c 41 ab           |01|A.|"), expected);
    assert_eq!(bytes("30 317c41\n\n# comment\nab # more"), expected);
    let input = Input::parse(b"00000000  30 31  |01|").unwrap();
    assert_eq!(input.comment(0), None);
}

#[test]
fn says_where_text_is_wrong() {
    let refused = |text: &str| Input::parse(text.as_bytes()).unwrap_err();
    assert_eq!(refused("00 01\n02 0g"), TextError::NotHex { line: 2, column: 5, found: 'g' });
    assert_eq!(refused("0001 020"), TextError::OddDigits { line: 1, column: 6, digits: 3 });
    assert_eq!(refused("00000000: 00\n*\n"), TextError::Squeezed { line: 2, column: 1 });
    assert_eq!(refused("00 \u{fc}"), TextError::NotHex { line: 1, column: 4, found: '\u{fc}' });
    assert!(matches!(Input::parse(&[0x30, 0xff]), Err(TextError::NotHex { line: 1, column: 2, .. })));
}

#[test]
fn knows_the_place_of_each_byte() {
    let input = Input::parse(b"\n0001 02\n00000003: 03 04\n").unwrap();
    assert_eq!(input.place(1), (2, 3));
    assert_eq!(input.place(2), (2, 6));
    assert_eq!(input.place(4), (3, 14));
    assert_eq!(Input::binary(vec![0; 9]).place(8), (1, 9));
}
