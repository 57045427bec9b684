use super::{WrongSize, bytes, message_size};

#[test]
fn sizes_have_binary_units() {
    assert_eq!(bytes("8"), Ok(8));
    assert_eq!(bytes("64K"), Ok(65_536));
    assert_eq!(bytes("1MiB"), Ok(1 << 20));
    assert_eq!(message_size("1G"), Ok(1 << 30));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    assert_eq!(bytes("0"), Err(WrongSize::Number));
    assert_eq!(bytes(""), Err(WrongSize::Number));
    assert_eq!(bytes("-1"), Err(WrongSize::Number));
    assert_eq!(bytes("99999999999G"), Err(WrongSize::Number));
    assert_eq!(bytes("1T"), Err(WrongSize::Unit));
    assert_eq!(message_size("2G"), Err(WrongSize::TooLong { size: 2 << 30 }));
}
