//! Messages of push-pulls from arbitrary bytes: nothing panics, every length is checked, and what parses is emitted
//! as it was.
//!
//! Input: one byte of shape (0: a request, otherwise a response), then the message.

use af_api::wire::{RequestView, ResponseView, emit_inline, emit_lengths, emit_refusal};

/// Shape: the rest is a request's header.
pub const REQUEST: u8 = 0;
/// Shape: the rest is a response.
pub const RESPONSE: u8 = 1;

/// Parses the input as its shape says.
pub fn run(data: &[u8]) {
    match data {
        [REQUEST, message @ ..] => check_request(message),
        [_, message @ ..] => check_response(message),
        [] => {}
    }
}

fn check_request(message: &[u8]) {
    let Ok(view) = RequestView::parse(message) else { return };
    assert_eq!(view.metadata_bytes() + view.data.len(), message.len());
    let inside = view.pushes.iter().filter(|push| push.is_inline()).map(|push| push.length as usize);
    assert_eq!(inside.sum::<usize>(), view.data.len());
    let mut again = Vec::new();
    view.emit(&mut again);
    assert_eq!(again, message);
}

fn check_response(message: &[u8]) {
    let Ok(view) = ResponseView::parse(message) else { return };
    let mut again = Vec::new();
    match &view {
        ResponseView::Complete => {}
        ResponseView::Lengths(lengths) => emit_lengths(lengths, &mut again),
        ResponseView::Inline { lengths, data } => {
            assert_eq!(lengths.iter().map(|length| *length as usize).sum::<usize>(), data.len());
            emit_inline(lengths, &mut again);
            again.extend_from_slice(data);
        }
        ResponseView::Refused(refusal) => {
            // Values that this refusal has no use for are not kept.
            emit_refusal(*refusal, &mut again);
            assert_eq!(ResponseView::parse(&again), Ok(view));
            return;
        }
    }
    assert_eq!(again, message);
}
