//! Queries and answers on the wire.

use super::server_stamps;
use crate::trace::{
    MOST_TAGS, MessageError, Recorder, RecorderConfig, ServerRecorder,
    message::{Answer, Query},
};

#[test]
fn what_is_encoded_is_decoded() {
    let query = Query { tags: vec![0, 7, u64::MAX] };
    assert_eq!(Query::decode(&query.encode()), Ok(query));
    let answer = Answer::decode(&Answer::encode([(7, server_stamps(3)), (9, server_stamps(4))].into_iter()));
    let answer = answer.expect("a good answer");
    assert_eq!(answer.stamps(7), Some(server_stamps(3)));
    assert_eq!(answer.stamps(9), Some(server_stamps(4)));
    assert_eq!(answer.stamps(8), None);
}

#[test]
fn bytes_have_a_fixed_order() {
    let query = Query { tags: vec![0x0102] };
    assert_eq!(query.encode(), [1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn what_is_no_message_is_refused() {
    let server = ServerRecorder::new(RecorderConfig::default());
    let worker = Recorder::new(RecorderConfig::default());
    let (to, from) = (worker.add_peer("server"), server.add_peer("worker"));
    for length in [0, 7, 9, 15] {
        let bytes = [1; 15];
        let wrong = |entry| MessageError::Length { bytes: length, entry };
        assert_eq!(server.answer(from, &bytes[..length]), Err(wrong(8)));
        assert_eq!(worker.merge(to, &bytes[..length]), Err(wrong(40)));
    }
    assert_eq!(server.answer(from, &[2; 16]), Err(MessageError::Version { found: 2 }));
    let many = vec![1; 8 + 8 * (MOST_TAGS + 1)];
    assert_eq!(server.answer(from, &many), Err(MessageError::TooMany { count: MOST_TAGS + 1 }));
}
