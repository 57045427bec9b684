//! Addresses as options have them.

use crate::metrics::{AddressError, DEFAULT_PORT, MetricsAddress, PORTS};

fn parsed(text: &str) -> Result<String, AddressError> {
    text.parse::<MetricsAddress>().map(|address| address.to_string())
}

#[test]
fn only_an_address_that_is_named_leaves_this_host() {
    assert_eq!(parsed("9500").as_deref(), Ok("127.0.0.1:9500"));
    assert_eq!(parsed("0.0.0.0:9500").as_deref(), Ok("0.0.0.0:9500"));
    assert_eq!(parsed("[::]:9500").as_deref(), Ok("[::]:9500"));
    assert_eq!(parsed("::1").as_deref(), Ok(&*format!("[::1]:{DEFAULT_PORT}")));
    for wrong in ["", "localhost", "70000", "1.2.3.4:", "http://127.0.0.1:1"] {
        assert_eq!(parsed(wrong), Err(AddressError { given: wrong.to_owned() }));
    }
}

#[test]
fn some_ports_are_tried_and_none_beyond_the_last() {
    let ports = |text: &str| {
        let address: MetricsAddress = text.parse().unwrap();
        address.candidates().map(|candidate| candidate.port()).collect::<Vec<_>>()
    };
    assert_eq!(ports("9500"), (9500..9500 + PORTS).collect::<Vec<_>>());
    assert_eq!(ports("65534"), [65534, 65535]);
    assert_eq!(ports("0"), [0]);
}
