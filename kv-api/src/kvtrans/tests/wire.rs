//! Messages survive the way, and nothing else is one.

use proptest::prelude::*;

use crate::kvtrans::wire::{Hello, LONGEST, Message, Reason, emit, parse};

fn any_message() -> impl Strategy<Value = Message> {
    let reason = prop_oneof![
        Just(Reason::Withdrawn),
        Just(Reason::TimedOut),
        Just(Reason::Cancelled),
        Just(Reason::Refused)
    ];
    prop_oneof![
        any::<(u64, u64, u64, u32)>().prop_map(|(ticket, address, room, key)| Message::Offer {
            ticket,
            address,
            room,
            key
        }),
        any::<u64>().prop_map(|ticket| Message::Withdraw { ticket }),
        any::<(u64, u16, u64)>().prop_map(|(ticket, stripes, length)| Message::Landed {
            ticket,
            stripes,
            length
        }),
        any::<(u64, u64)>().prop_map(|(ticket, length)| Message::TooLong { ticket, length }),
        (any::<u64>(), reason).prop_map(|(ticket, reason)| Message::Abandoned { ticket, reason }),
        any::<u64>().prop_map(|landed| Message::Goodbye { landed }),
        Just(Message::Farewell),
    ]
}

proptest! {
    #[test]
    fn parse_takes_what_emit_gives(message in any_message()) {
        let bytes = emit(&message);
        prop_assert!(bytes.len() <= LONGEST);
        prop_assert_eq!(parse::<Message>(&bytes), Some(message));
        prop_assert_eq!(parse::<Message>(&bytes[..bytes.len() - 1]), None);
        let longer = [bytes, vec![0]].concat();
        prop_assert_eq!(parse::<Message>(&longer), None);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = (parse::<Message>(&bytes), parse::<Hello>(&bytes));
    }
}
