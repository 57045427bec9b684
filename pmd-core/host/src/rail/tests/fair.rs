//! Which rail takes what: by load, by rate, by nearness, by turns.

use super::*;

/// Lands whatever is posted, each rail at its own rate in bytes a second, and tells the bytes of each, and the time.
fn carry_out(bundle: &mut Bundle<Why>, rates: &[u64]) -> (Vec<u64>, Duration) {
    let mut bytes = vec![0; rates.len()];
    let mut free = vec![NOW; rates.len()];
    let mut in_hand = Vec::new();
    let mut now = NOW;
    loop {
        while let Some(action) = bundle.poll(now) {
            match action {
                Action::Post { rail, chunk } => {
                    let number = usize::from(rail.number);
                    let took = Duration::from_nanos(CHUNK * 1_000_000_000 / rates[number]);
                    free[number] = free[number].max(now) + took;
                    bytes[number] += CHUNK;
                    in_hand.push((free[number], rail, chunk));
                }
                Action::Notify { rail, transfer, .. } => bundle.notified(rail, transfer),
                Action::Finish { outcome, .. } => assert!(outcome.is_ok()),
                other => panic!("{other:?}"),
            }
        }
        in_hand.sort();
        if in_hand.is_empty() {
            assert_eq!(bundle.unfinished(), 0);
            return (bytes, now - NOW);
        }
        let (at, rail, chunk) = in_hand.remove(0);
        now = at;
        bundle.landed(rail, chunk, now);
    }
}

const CHUNK: u64 = 4 << 20;

#[test]
fn rails_share_by_their_rates_and_end_together() {
    let rates = [1_000_000_000, 4_000_000_000, 500_000_000];
    let mut bundle = up(3, BundleConfig::default());
    let chunks = vec![CHUNK; 1100];
    bundle.submit(&writing(&chunks));
    let (bytes, took) = carry_out(&mut bundle, &rates);
    let total: u64 = bytes.iter().sum();
    assert_eq!(total, 1100 * CHUNK);
    let ideal = Duration::from_secs_f64(total as f64 / rates.iter().sum::<u64>() as f64);
    assert!(took < ideal.mul_f64(1.03), "{took:?} instead of {ideal:?}");
    for (bytes, rate) in bytes.iter().zip(rates) {
        let share = total as f64 * rate as f64 / rates.iter().sum::<u64>() as f64;
        assert!((*bytes as f64 - share).abs() < 0.1 * share, "{bytes} instead of {share}");
    }
}

#[test]
fn a_very_slow_rail_does_not_hold_up_the_end() {
    let rates = [4_000_000_000, 10_000_000];
    let mut bundle = up(2, BundleConfig::default());
    // Rates are learnt with the first transfer.
    bundle.submit(&writing(&[CHUNK; 16]));
    carry_out(&mut bundle, &rates);
    bundle.submit(&writing(&[CHUNK; 16]));
    let (bytes, _) = carry_out(&mut bundle, &rates);
    assert_eq!(bytes[1], 0);
}

#[test]
fn an_old_rate_is_forgotten_so_that_a_rail_is_tried_again() {
    let mut bundle = up(2, BundleConfig { idle: Duration::ZERO, ..BundleConfig::default() });
    bundle.submit(&writing(&[CHUNK; 16]));
    carry_out(&mut bundle, &[4_000_000_000, 10_000_000]);
    assert!(bundle.load(1).and_then(|load| load.rate()).is_some());
    bundle.submit(&writing(&[CHUNK; 2]));
    let later = NOW + Duration::from_secs(60);
    assert_eq!(posts(&mut bundle, later), [(0, 0), (1, 1)]);
}

#[test]
fn chunks_that_are_told_together_do_not_make_a_rail_fast() {
    let mut bundle = up(1, BundleConfig { window: u64::MAX, ..BundleConfig::default() });
    let transfer = bundle.submit(&writing(&[CHUNK; 8]));
    assert_eq!(posts(&mut bundle, NOW).len(), 8);
    let seconds = |chunks: u32| NOW + Duration::from_secs(chunks.into());
    for index in 0..8 {
        // Two at a time, a microsecond apart.
        let at = seconds(2 * (index / 2 + 1)) + Duration::from_micros((index % 2).into());
        bundle.landed(rail(0, 1), chunk(transfer, index), at);
    }
    let rate = bundle.load(0).and_then(|load| load.rate()).expect("measured");
    assert!((CHUNK / 4..=CHUNK).contains(&rate), "{rate} where a chunk a second was carried");
}

#[test]
fn no_rail_has_more_in_hand_than_the_window_and_one_chunk_always_fits() {
    let config = BundleConfig { window: 250, ..BundleConfig::default() };
    let mut bundle = up(2, config);
    bundle.submit(&writing(&[100; 10]));
    assert_eq!(posts(&mut bundle, NOW), [(0, 0), (1, 1), (0, 2), (1, 3)]);
    let mut bundle = up(1, config);
    bundle.submit(&writing(&[1000; 3]));
    assert_eq!(posts(&mut bundle, NOW), [(0, 0)]);
}

#[test]
fn near_rails_are_preferred_while_one_is_up() {
    let mut bundle = up(3, BundleConfig::default());
    let near = RailSet::of([2]);
    let first = bundle.submit(&Request { near, ..writing(&[10; 3]) });
    assert_eq!(posts(&mut bundle, NOW), [(2, 0), (2, 1), (2, 2)]);
    bundle.returned(rail(2, 1), chunk(first, 1), Fate::Lost("cut"), NOW);
    let actions = all(&mut bundle, NOW);
    assert_eq!(actions[1..], [Action::Post { rail: rail(0, 1), chunk: chunk(first, 1) }]);
    assert!(!near.contains(0) && near.contains(2) && !RailSet::ALL.contains(64));
}

#[test]
fn a_transfer_whose_near_rail_is_full_does_not_hold_up_another() {
    let mut bundle = up(2, BundleConfig { window: 10, ..BundleConfig::default() });
    let on = |number| Request { near: RailSet::of([number]), ..writing(&[10; 4]) };
    bundle.submit(&on(0));
    assert_eq!(posts(&mut bundle, NOW), [(0, 0)]);
    bundle.submit(&on(1));
    assert_eq!(posts(&mut bundle, NOW), [(1, 0)]);
}

#[test]
fn transfers_take_turns_and_high_priority_has_seven_of_eight() {
    let mut bundle = up(1, BundleConfig::default());
    let one = bundle.submit(&writing(&[1; 40]));
    let other = bundle.submit(&writing(&[1; 40]));
    let high = bundle.submit(&Request { priority: Priority::High, ..writing(&[1; 40]) });
    let order: Vec<TransferId> = std::iter::from_fn(|| match bundle.poll(NOW) {
        Some(Action::Post { chunk, .. }) => Some(chunk.transfer),
        _ => None,
    })
    .collect();
    let count = |part: &[TransferId], of| part.iter().filter(|transfer| **transfer == of).count();
    assert_eq!([one, other, high].map(|of| count(&order[..32], of)), [2, 2, 28]);
    assert_eq!(order.len(), 120);
}
