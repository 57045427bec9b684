//! The ring against a queue: any mix of operations, any lengths, bodies made of words that look like markers.

use alloc::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Push { length: usize, word: u32 },
    Abandon { length: usize, word: u32 },
    Take,
    Publish,
    Refresh,
    Acknowledge,
}

/// A word that would be taken for a marker if it were looked at: nothing, packets of all kinds, a skip.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![Just(NOTHING), Just(PAD), 1u32..200, any::<u32>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..520, word()).prop_map(|(length, word)| Step::Push { length, word }),
        1 => (0usize..520, word()).prop_map(|(length, word)| Step::Abandon { length, word }),
        4 => Just(Step::Take),
        1 => Just(Step::Publish),
        2 => Just(Step::Refresh),
        1 => Just(Step::Acknowledge),
    ]
}

/// Words laid so that each falls on a marker where a line of payload begins.
fn words(length: usize, word: u32) -> Vec<u8> {
    word.to_ne_bytes().into_iter().cycle().take(length).collect()
}

/// Fills a grant and publishes it or not; returns the body if it was published.
fn offer(producer: &mut Producer, bytes: Vec<u8>, commit: bool) -> Option<Vec<u8>> {
    let longest = producer.longest_body();
    let before = producer.position();
    match producer.reserve(bytes.len()) {
        Ok(mut grant) => {
            grant.write(0, &bytes).unwrap();
            if commit {
                grant.commit();
                return Some(bytes);
            }
        }
        Err(Refused::TooLong { body, most }) => {
            assert_eq!((body, most), (bytes.len(), longest));
            assert!(bytes.len() > longest);
            assert_eq!(producer.position(), before);
        }
        Err(Refused::Full { needed, free }) => assert!(needed > free),
    }
    None
}

proptest! {
    #[test]
    fn behaves_as_a_queue_of_packets(
        lines in prop::sample::select(vec![2usize, 4, 8, 32]),
        start in prop_oneof![Just(0), Just(0u32.wrapping_sub(32)), Just((1 << 31) - 32)],
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let (mut producer, mut consumer) = ring(lines).unwrap();
        if start != 0 {
            producer.start_at(start);
            consumer.start_at(start);
            consumer.publish();
        }
        let mut model = VecDeque::new();
        for step in steps {
            match step {
                Step::Push { length, word } => model.extend(offer(&mut producer, words(length, word), true)),
                Step::Abandon { length, word } => {
                    prop_assert_eq!(offer(&mut producer, words(length, word), false), None);
                }
                Step::Take => prop_assert_eq!(take(&mut consumer), model.pop_front()),
                Step::Publish => consumer.publish(),
                Step::Refresh => producer.refresh().unwrap(),
                Step::Acknowledge => producer.acknowledge(consumer.position()).unwrap(),
            }
            prop_assert!(producer.lines_in_use() < lines as u32);
            prop_assert!(consumer.unpublished() < lines as u32);
        }
        while let Some(bytes) = model.pop_front() {
            prop_assert_eq!(take(&mut consumer), Some(bytes));
        }
        prop_assert_eq!(take(&mut consumer), None);
        // All that was given out has come back.
        prop_assert_eq!(consumer.position(), producer.position());
        settle(&mut producer, &mut consumer);
        prop_assert_eq!(producer.lines_in_use(), 0);
    }
}
