//! Completion entries from arbitrary bytes: nothing panics, emit and parse are inverses, the view agrees with the
//! parsed form; and a completion queue over such entries never completes what is not outstanding and writes only
//! where its requests allow it.
//!
//! Input: one byte of shape ([`poller`] says which), then entries.

pub mod poller;

use pmd_core::wire::{
    Cqe, Cqe64, Cqe128Dump, CqeDump, CqeOpcode, CqeView, Opcode, Scatter, WireError, cqe,
    scatter::{payload, payload64},
};

/// Reads every entry of the input by itself, then hands all of them to a poller.
pub fn run(data: &[u8]) {
    let Some((shape, entries)) = data.split_first() else { return };
    let (whole, _) = entries.as_chunks::<64>();
    let mut preceding = [0; 64];
    for entry in whole.iter().take(poller::MOST_ENTRIES) {
        check(&preceding, entry);
        preceding = *entry;
    }
    poller::run(*shape, whole);
}

fn check(preceding: &Cqe64, entry: &Cqe64) {
    let view = CqeView(entry);
    check_payload(preceding, entry, view.byte_count());
    let dump = Cqe128Dump(&[*preceding, *entry]).to_string();
    let parsed = Cqe::parse(entry);
    assert!(dump.ends_with(&CqeDump(entry).to_string()));
    assert_eq!(dump.lines().any(|line| line.starts_with('!')), parsed.is_err(), "{dump}");
    match parsed {
        Ok(parsed) => check_good(entry, &parsed),
        Err(error) => assert_eq!(error, refusal(view), "{dump}"),
    }
}

fn check_payload(preceding: &Cqe64, entry: &Cqe64, count: u32) {
    let wide = [*preceding, *entry];
    let (narrow, wide) = (payload64(entry, count), payload(&wide, count));
    assert!(narrow.is_none_or(|bytes| bytes.len() as u64 <= u64::from(count) && bytes.len() <= 32));
    assert!(wide.is_none_or(|bytes| bytes.len() as u64 <= u64::from(count) && bytes.len() <= 64));
    assert!(narrow.is_none() || narrow == wide);
}

fn check_good(entry: &Cqe64, parsed: &Cqe) {
    let view = CqeView(entry);
    let (queue_pair, counter, byte_count, shared) = match parsed {
        Cqe::Requester(c) => {
            (c.queue_pair, c.wqe_counter, Some(c.byte_count), view.is_requester().then_some(0))
        }
        Cqe::Responder(c) => (c.queue_pair, c.wqe_counter, Some(c.byte_count), Some(c.shared_receive_queue)),
        Cqe::Error(c) => {
            assert_eq!(c.syndrome, view.syndrome());
            (c.queue_pair, c.wqe_counter, None, Some(c.shared_receive_queue))
        }
    };
    assert_eq!((queue_pair, counter), (view.queue_pair(), view.wqe_counter()));
    assert!(byte_count.is_none_or(|count| count == view.byte_count()));
    assert!(view.is_requester() || shared == Some(view.shared_receive_queue()));
    for owner in [false, true] {
        let (mut again, mut wide) = ([0xa5; 64], [[0xa5; 64]; 2]);
        parsed.emit_cqe64(owner, &mut again);
        parsed.emit_cqe128(owner, &[7; 64], &mut wide);
        assert_eq!(wide, [[7; 64], again]);
        assert_eq!(Cqe::parse(&again).as_ref(), Ok(parsed));
        assert_eq!(again[cqe::OP_OWN] & 1, u8::from(owner));
        // What means something in both is the same byte; the owner's bit is the round's.
        let kept = if matches!(parsed, Cqe::Error(_)) { 0xf0 } else { 0xfc };
        assert_eq!(again[cqe::OP_OWN] & kept, entry[cqe::OP_OWN] & kept);
    }
}

/// The error of an entry that does not parse, by the tables of the manual.
fn refusal(view: CqeView<'_>) -> WireError {
    let opcode = match view.opcode() {
        Err(error) => return error,
        Ok(opcode) => opcode,
    };
    match opcode {
        CqeOpcode::Resize | CqeOpcode::SignatureError | CqeOpcode::Invalid => {
            WireError::NotACompletion(opcode)
        }
        CqeOpcode::Requester => match Opcode::from_byte(view.send_opcode_bits()) {
            Err(error) => error,
            Ok(_) => compressed(view),
        },
        _ => compressed(view),
    }
}

fn compressed(view: CqeView<'_>) -> WireError {
    Scatter::parse(view.0).expect_err("all else is good")
}
