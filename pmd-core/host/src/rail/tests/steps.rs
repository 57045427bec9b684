//! One step after the other: each rule of the protocol by itself.

use super::*;

/// Two rails and a transfer of two chunks, one on each.
fn two_chunks(direction: Direction) -> (Bundle<Why>, TransferId) {
    let mut bundle = up(2, BundleConfig::default());
    let transfer = bundle.submit(&Request { direction, ..writing(&[100, 100]) });
    assert_eq!(posts(&mut bundle, NOW), [(0, 0), (1, 1)]);
    (bundle, transfer)
}

#[test]
fn a_transfer_is_told_and_done_when_all_of_it_has_landed_in_whichever_order() {
    let (mut bundle, transfer) = two_chunks(Direction::Write);
    bundle.landed(rail(1, 1), chunk(transfer, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), []);
    bundle.landed(rail(0, 1), chunk(transfer, 0), NOW);
    let notify = Action::Notify { rail: rail(0, 1), transfer, sequence: 0, settled: 0 };
    assert_eq!(all(&mut bundle, NOW), [notify]);
    bundle.notified(rail(0, 1), transfer);
    assert_eq!(all(&mut bundle, NOW), [Action::Finish { transfer, outcome: Ok(200), landed: 2 }]);
    assert_eq!(bundle.unfinished(), 0);
}

#[test]
fn a_write_goes_again_at_once_and_nobody_is_told_before_the_lost_rail_is_quiet_at_both_ends() {
    let (mut bundle, transfer) = two_chunks(Direction::Write);
    bundle.returned(rail(0, 1), chunk(transfer, 0), Fate::Lost("cut"), NOW);
    let again = Action::Post { rail: rail(1, 1), chunk: chunk(transfer, 0) };
    assert_eq!(all(&mut bundle, NOW), [Action::Close { rail: rail(0, 1) }, again]);
    bundle.landed(rail(1, 1), chunk(transfer, 1), NOW);
    bundle.landed(rail(1, 1), chunk(transfer, 0), NOW);
    bundle.closed(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Tell { rail: rail(0, 1) }]);
    bundle.heard(rail(0, 1), NOW);
    assert_eq!(bundle.state(0), Some(RailState::Down));
    let actions = all(&mut bundle, NOW);
    assert!(matches!(actions[..], [Action::Notify { rail: RailId { number: 1, .. }, .. }]), "{actions:?}");
}

#[test]
fn a_read_owes_nothing() {
    let (mut bundle, transfer) = two_chunks(Direction::Read);
    bundle.returned(rail(0, 1), chunk(transfer, 0), Fate::Lost("cut"), NOW);
    assert_eq!(all(&mut bundle, NOW).len(), 2);
    bundle.landed(rail(1, 1), chunk(transfer, 1), NOW);
    bundle.landed(rail(1, 1), chunk(transfer, 0), NOW);
    assert!(matches!(all(&mut bundle, NOW)[..], [Action::Notify { .. }]));
}

#[test]
fn a_failed_write_ends_only_when_the_peers_end_is_quiet() {
    let (mut bundle, transfer) = two_chunks(Direction::Write);
    bundle.returned(rail(0, 1), chunk(transfer, 0), Fate::Failed("key"), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Stop { transfer }, Action::Close { rail: rail(0, 1) }]);
    bundle.returned(rail(1, 1), chunk(transfer, 1), Fate::Stopped("stopped"), NOW);
    bundle.closed(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Tell { rail: rail(0, 1) }]);
    assert_eq!(bundle.state(1), Some(RailState::Up), "a chunk that was stopped takes no rail down");
    bundle.heard(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Finish { transfer, outcome: Err("key"), landed: 0 }]);
}

#[test]
fn a_notification_of_a_lost_rail_goes_again_under_its_number() {
    let mut bundle = up(2, BundleConfig::default());
    let transfer = bundle.submit(&writing(&[]));
    let notify = |number| Action::Notify { rail: rail(number, 1), transfer, sequence: 0, settled: 0 };
    assert_eq!(all(&mut bundle, NOW), [notify(0)]);
    bundle.unnotified(rail(0, 1), transfer, Fate::Lost("cut"));
    bundle.closed(rail(0, 1), NOW);
    assert_eq!(
        all(&mut bundle, NOW),
        [Action::Close { rail: rail(0, 1) }, Action::Tell { rail: rail(0, 1) }]
    );
    bundle.heard(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [notify(1)]);
    bundle.notified(rail(1, 1), transfer);
    assert_eq!(all(&mut bundle, NOW), [Action::Finish { transfer, outcome: Ok(0), landed: 0 }]);
}

#[test]
fn a_transfer_that_ends_while_its_notification_is_in_doubt_frees_its_number() {
    let mut bundle = up(1, BundleConfig::default());
    let transfer = bundle.submit(&writing(&[]));
    assert_eq!(all(&mut bundle, NOW).len(), 1);
    bundle.fail(transfer, "too late: the peer may know");
    bundle.unnotified(rail(0, 1), transfer, Fate::Lost("cut"));
    bundle.fail(transfer, "deadline");
    bundle.closed(rail(0, 1), NOW);
    bundle.heard(rail(0, 1), NOW);
    let actions = all(&mut bundle, NOW);
    assert_eq!(actions[2..], [Action::Finish { transfer, outcome: Err("deadline"), landed: 0 }]);
    let second = bundle.submit(&writing(&[]));
    let rail = open_again(&mut bundle);
    assert_eq!(
        all(&mut bundle, NOW * 2),
        [Action::Notify { rail, transfer: second, sequence: 1, settled: 1 }]
    );
}

/// Opens the only rail when it is time.
fn open_again(bundle: &mut Bundle<Why>) -> RailId {
    let at = bundle.next_timer().expect("a rail that is down has a time");
    let actions = all(bundle, at);
    let [Action::Open { rail }] = actions[..] else { panic!("{actions:?}") };
    bundle.opened(rail, at);
    assert_eq!(bundle.poll(at), Some(Action::Probe { rail }));
    bundle.answered(rail, at);
    rail
}

#[test]
fn a_peers_word_takes_a_rail_down_here_too() {
    let mut bundle = up(1, BundleConfig::default());
    bundle.heard(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Close { rail: rail(0, 1) }]);
    bundle.closed(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Tell { rail: rail(0, 1) }]);
    assert_eq!(bundle.state(0), Some(RailState::Down));
}

#[test]
fn a_rail_whose_other_end_is_quiet_closes_with_the_last_that_it_has_in_hand() {
    let (mut bundle, transfer) = two_chunks(Direction::Write);
    bundle.heard(rail(0, 1), NOW);
    bundle.heard(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Drain { rail: rail(0, 1) }]);
    assert_eq!(bundle.state(0), Some(RailState::Quieting));
    // What comes back owes nothing: the peer's end is quiet already.
    bundle.returned(rail(0, 1), chunk(transfer, 0), Fate::Lost("cut"), NOW);
    let again = Action::Post { rail: rail(1, 1), chunk: chunk(transfer, 0) };
    assert_eq!(all(&mut bundle, NOW), [Action::Close { rail: rail(0, 1) }, again]);
    bundle.lost(rail(0, 1));
    bundle.closed(rail(0, 1), NOW);
    assert_eq!(bundle.state(0), Some(RailState::Down));
    bundle.landed(rail(1, 1), chunk(transfer, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Tell { rail: rail(0, 1) }]);
    bundle.landed(rail(1, 1), chunk(transfer, 0), NOW);
    assert!(matches!(all(&mut bundle, NOW)[..], [Action::Notify { .. }]));
}

#[test]
fn what_the_peer_answered_before_its_end_went_quiet_counts() {
    let (mut bundle, transfer) = two_chunks(Direction::Write);
    bundle.heard(rail(0, 1), NOW);
    bundle.heard(rail(1, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [0, 1].map(|number| Action::Drain { rail: rail(number, 1) }));
    bundle.landed(rail(0, 1), chunk(transfer, 0), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Close { rail: rail(0, 1) }]);
    bundle.returned(rail(1, 1), chunk(transfer, 1), Fate::Failed("key"), NOW);
    let finish = Action::Finish { transfer, outcome: Err("key"), landed: 1 };
    assert_eq!(all(&mut bundle, NOW), [finish, Action::Close { rail: rail(1, 1) }]);
}

#[test]
fn a_rail_that_drains_is_closed_with_the_last_and_not_with_the_first_that_comes_back() {
    let mut bundle = up(1, BundleConfig::default());
    let transfer = bundle.submit(&writing(&[100, 100]));
    assert_eq!(posts(&mut bundle, NOW), [(0, 0), (0, 1)]);
    bundle.heard(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Drain { rail: rail(0, 1) }]);
    bundle.returned(rail(0, 1), chunk(transfer, 1), Fate::Lost("not posted"), NOW);
    bundle.lost(rail(0, 1));
    assert_eq!(all(&mut bundle, NOW), [], "the peer may have refused the other one");
    bundle.returned(rail(0, 1), chunk(transfer, 0), Fate::Failed("key"), NOW);
    bundle.lost(rail(0, 1));
    let finish = Action::Finish { transfer, outcome: Err("key"), landed: 0 };
    assert_eq!(all(&mut bundle, NOW), [finish, Action::Close { rail: rail(0, 1) }]);
    bundle.closed(rail(0, 1), NOW);
    assert_eq!(bundle.state(0), Some(RailState::Down));
}

#[test]
fn a_rail_that_drains_is_closed_at_once_when_the_peer_goes() {
    let (mut bundle, _) = two_chunks(Direction::Write);
    bundle.heard(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Drain { rail: rail(0, 1) }]);
    bundle.peer_down("gone");
    let closed = |number| Action::Close { rail: rail(number, 1) };
    let actions = all(&mut bundle, NOW);
    assert!([0, 1].iter().all(|number| actions.contains(&closed(*number))), "{actions:?}");
}

#[test]
fn an_end_is_quiet_only_when_everything_has_come_back() {
    let (mut bundle, transfer) = two_chunks(Direction::Write);
    bundle.lost(rail(0, 1));
    bundle.closed(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Close { rail: rail(0, 1) }]);
    bundle.landed(rail(0, 1), chunk(transfer, 0), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Tell { rail: rail(0, 1) }]);
}

#[test]
fn a_rail_without_progress_is_lost_but_not_the_last_one() {
    let (mut bundle, transfer) = two_chunks(Direction::Write);
    let stall = BundleConfig::default().stall;
    assert_eq!(bundle.next_timer(), Some(NOW + stall));
    bundle.landed(rail(1, 1), chunk(transfer, 1), NOW + stall / 2);
    assert_eq!(all(&mut bundle, NOW + stall), [Action::Close { rail: rail(0, 1) }]);
    bundle.returned(rail(0, 1), chunk(transfer, 0), Fate::Lost("stalled"), NOW + stall);
    assert_eq!(posts(&mut bundle, NOW + stall), [(1, 0)]);
    assert_eq!(all(&mut bundle, NOW + stall * 100), [], "the last rail is never lost for being slow");
}

#[test]
fn pauses_grow_with_failures_and_start_again_after_success() {
    let config = BundleConfig::default();
    let mut bundle = up(1, config);
    let mut now = NOW;
    let mut pauses = Vec::new();
    for failure in 0..8 {
        let rail = rail(0, 1 + failure);
        bundle.lost(rail);
        bundle.closed(rail, now);
        bundle.heard(rail, now);
        let at = bundle.next_timer().expect("it is opened again");
        pauses.push(at - now);
        assert!(
            all(&mut bundle, at - Duration::from_nanos(1))
                .iter()
                .all(|action| !matches!(action, Action::Open { .. }))
        );
        assert_eq!(all(&mut bundle, at), [Action::Open { rail: RailId { life: rail.life + 1, ..rail } }]);
        now = at;
    }
    assert_eq!(pauses[..3], [config.reopen, config.reopen * 2, config.reopen * 4]);
    assert_eq!(pauses[7], config.reopen_limit);
    let rail = rail(0, 9);
    bundle.opened(rail, now);
    bundle.answered(rail, now);
    let transfer = bundle.submit(&writing(&[10]));
    assert_eq!(all(&mut bundle, now).len(), 2);
    bundle.landed(rail, chunk(transfer, 0), now);
    bundle.lost(rail);
    bundle.closed(rail, now);
    bundle.heard(rail, now);
    assert_eq!(bundle.next_timer(), Some(now + config.reopen));
}

#[test]
fn a_chunk_that_always_comes_back_fails_its_transfer() {
    let mut bundle = up(1, BundleConfig { attempts: 2, ..BundleConfig::default() });
    let transfer = bundle.submit(&writing(&[10]));
    assert_eq!(posts(&mut bundle, NOW), [(0, 0)]);
    bundle.returned(rail(0, 1), chunk(transfer, 0), Fate::Lost("first"), NOW);
    bundle.closed(rail(0, 1), NOW);
    bundle.heard(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW).len(), 2);
    let rail = open_again(&mut bundle);
    assert_eq!(posts(&mut bundle, NOW), [(0, 0)]);
    bundle.returned(rail, chunk(transfer, 0), Fate::Lost("second"), NOW);
    bundle.closed(rail, NOW);
    bundle.heard(rail, NOW);
    let finish = Action::Finish { transfer, outcome: Err("second"), landed: 0 };
    assert_eq!(all(&mut bundle, NOW)[2..], [finish]);
}

#[test]
fn a_chunk_that_is_refused_goes_again_later_and_owes_nothing() {
    let config = BundleConfig::default();
    let mut bundle = up(1, config);
    let transfer = bundle.submit(&writing(&[10]));
    assert_eq!(posts(&mut bundle, NOW), [(0, 0)]);
    bundle.refused(rail(0, 1), chunk(transfer, 0), NOW);
    assert_eq!(all(&mut bundle, NOW), []);
    assert_eq!(bundle.next_timer(), Some(NOW + config.refused));
    assert_eq!(posts(&mut bundle, NOW + config.refused), [(0, 0)]);
}

#[test]
fn a_peer_that_is_gone_fails_everything_and_is_owed_nothing() {
    let (mut bundle, transfer) = two_chunks(Direction::Write);
    bundle.returned(rail(0, 1), chunk(transfer, 0), Fate::Lost("cut"), NOW);
    bundle.peer_down("gone");
    let told = all(&mut bundle, NOW);
    assert!(!told.iter().any(|action| matches!(action, Action::Finish { .. })), "{told:?}");
    bundle.returned(rail(1, 1), chunk(transfer, 1), Fate::Lost("cut"), NOW);
    let finish = Action::Finish { transfer, outcome: Err("gone"), landed: 0 };
    assert_eq!(all(&mut bundle, NOW), [finish]);
    let late = bundle.submit(&writing(&[5]));
    assert_eq!(all(&mut bundle, NOW), [Action::Finish { transfer: late, outcome: Err("gone"), landed: 0 }]);
    assert_eq!(bundle.next_timer(), None, "nothing is opened any more");
}

#[test]
fn what_a_peer_that_leaves_has_in_hand_ends_by_its_answers_and_nothing_more_is_posted() {
    let mut bundle = up(2, BundleConfig::default());
    let told = bundle.submit(&writing(&[]));
    assert!(matches!(all(&mut bundle, NOW)[..], [Action::Notify { .. }]));
    let whole = bundle.submit(&Request { notify: false, ..writing(&[100, 100]) });
    let untold = bundle.submit(&writing(&[100, 100]));
    let posted = all(&mut bundle, NOW).into_iter().map(|action| match action {
        Action::Post { rail, chunk } => (rail, chunk),
        other => panic!("{other:?}"),
    });
    let (of_whole, of_untold): (Vec<_>, Vec<_>) = posted.partition(|(_, chunk)| chunk.transfer == whole);
    assert_eq!([of_whole.len(), of_untold.len()], [2, 2]);
    bundle.peer_left("left");
    assert_eq!(all(&mut bundle, NOW), [], "nothing is stopped, and no rail is closed");
    let late = bundle.submit(&writing(&[5]));
    let finish = |transfer, outcome, landed| Action::Finish { transfer, outcome, landed };
    assert_eq!(all(&mut bundle, NOW), [finish(late, Err("left"), 0)]);
    assert_eq!(bundle.next_timer(), None, "a rail that shows no progress is not lost");
    assert_eq!(all(&mut bundle, NOW * 100), []);
    bundle.notified(rail(0, 1), told);
    assert_eq!(all(&mut bundle, NOW), [finish(told, Ok(0), 0)]);
    of_whole.into_iter().for_each(|(rail, chunk)| bundle.landed(rail, chunk, NOW));
    let mut rest = all(&mut bundle, NOW);
    assert_eq!(rest.remove(0), finish(whole, Ok(200), 2));
    of_untold.into_iter().for_each(|(rail, chunk)| bundle.landed(rail, chunk, NOW));
    rest.extend(all(&mut bundle, NOW));
    // Nobody can be told any more, and rails go with the last that they have.
    assert!(rest.contains(&finish(untold, Err("left"), 2)));
    assert_eq!(rest.iter().filter(|action| matches!(action, Action::Close { .. })).count(), 2);
    assert_eq!(rest.len(), 3);
}

#[test]
fn what_comes_back_from_a_peer_that_has_left_fails_its_transfer_alone_and_owes_nothing() {
    let mut bundle = up(3, BundleConfig::default());
    let request = Request { notify: false, ..writing(&[100, 100]) };
    let [first, second] = [(); 2].map(|()| bundle.submit(&request));
    assert_eq!(posts(&mut bundle, NOW), [(0, 0), (1, 0), (2, 1), (0, 1)]);
    // One that owes a word that will not come.
    bundle.returned(rail(2, 1), chunk(first, 1), Fate::Lost("cut"), NOW);
    bundle.peer_left("left");
    assert_eq!(all(&mut bundle, NOW), [Action::Close { rail: rail(2, 1) }]);
    bundle.returned(rail(0, 1), chunk(second, 1), Fate::Lost("down"), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Close { rail: rail(0, 1) }]);
    bundle.landed(rail(0, 1), chunk(first, 0), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Finish { transfer: first, outcome: Err("left"), landed: 1 }]);
    bundle.landed(rail(1, 1), chunk(second, 0), NOW);
    let finish = Action::Finish { transfer: second, outcome: Err("down"), landed: 1 };
    assert_eq!(all(&mut bundle, NOW), [finish, Action::Close { rail: rail(1, 1) }]);
}

#[test]
fn a_notification_that_a_peer_has_answered_for_counts_although_it_has_left_and_the_rail_has_nothing_else() {
    let mut bundle = up(2, BundleConfig::default());
    let transfer = bundle.submit(&writing(&[]));
    assert!(matches!(all(&mut bundle, NOW)[..], [Action::Notify { rail: RailId { number: 0, .. }, .. }]));
    bundle.peer_left("left");
    assert_eq!(all(&mut bundle, NOW), [Action::Close { rail: rail(1, 1) }], "the other has it in hand");
    bundle.notified(rail(0, 1), transfer);
    let finish = Action::Finish { transfer, outcome: Ok(0), landed: 0 };
    assert_eq!(all(&mut bundle, NOW), [finish, Action::Close { rail: rail(0, 1) }]);
}

#[test]
fn a_notification_that_comes_back_from_a_peer_that_has_left_fails_its_transfer_and_its_rail_goes() {
    for fate in [Fate::Lost("down"), Fate::Stopped("down")] {
        let mut bundle = up(1, BundleConfig::default());
        let transfer = bundle.submit(&writing(&[]));
        assert_eq!(all(&mut bundle, NOW).len(), 1);
        bundle.peer_left("left");
        assert_eq!(all(&mut bundle, NOW), []);
        bundle.unnotified(rail(0, 1), transfer, fate);
        let mut rest = all(&mut bundle, NOW);
        // It may be told that the rail goes before or after.
        rest.retain(|action| *action != Action::Close { rail: rail(0, 1) });
        assert_eq!(rest, [Action::Finish { transfer, outcome: Err("down"), landed: 0 }]);
        assert_eq!(bundle.state(0), Some(RailState::Quieting));
    }
}

#[test]
fn a_notification_that_always_comes_back_fails_its_transfer() {
    let mut bundle = up(1, BundleConfig { attempts: 2, ..BundleConfig::default() });
    let transfer = bundle.submit(&writing(&[]));
    assert_eq!(all(&mut bundle, NOW).len(), 1);
    bundle.unnotified(rail(0, 1), transfer, Fate::Lost("first"));
    bundle.closed(rail(0, 1), NOW);
    bundle.heard(rail(0, 1), NOW);
    let quiet = [Action::Close { rail: rail(0, 1) }, Action::Tell { rail: rail(0, 1) }];
    assert_eq!(all(&mut bundle, NOW), quiet);
    let rail = open_again(&mut bundle);
    assert_eq!(all(&mut bundle, NOW), [Action::Notify { rail, transfer, sequence: 0, settled: 0 }]);
    bundle.unnotified(rail, transfer, Fate::Lost("second"));
    assert_eq!(all(&mut bundle, NOW), [Action::Close { rail }], "the peer's word is owed");
    bundle.heard(rail, NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Finish { transfer, outcome: Err("second"), landed: 0 }]);
}

#[test]
fn an_idle_rail_is_probed_and_lost_when_the_probe_does_not_come_back() {
    let config = BundleConfig::default();
    let mut bundle = up(2, config);
    let due = NOW + config.idle;
    assert_eq!(bundle.next_timer(), Some(due));
    let probe = |number| Action::Probe { rail: rail(number, 1) };
    assert_eq!(all(&mut bundle, due), [probe(0), probe(1)]);
    assert_eq!(all(&mut bundle, due), [], "one at a time");
    let answered = due + config.probe / 2;
    bundle.answered(rail(0, 1), answered);
    assert_eq!(bundle.next_timer(), Some(due + config.probe));
    assert_eq!(all(&mut bundle, due + config.probe), [Action::Close { rail: rail(1, 1) }]);
    assert_eq!([bundle.state(0), bundle.state(1)], [Some(RailState::Up), Some(RailState::Quieting)]);
    // The last one too: what comes stays on the route.
    assert_eq!(all(&mut bundle, answered + config.idle), [probe(0)]);
    let end = answered + config.idle + config.probe;
    assert_eq!(all(&mut bundle, end), [Action::Close { rail: rail(0, 1) }]);
}

#[test]
fn a_rail_with_something_in_hand_is_judged_by_that_and_not_by_a_probe() {
    let config = BundleConfig::default();
    let mut bundle = up(1, config);
    let due = NOW + config.idle;
    assert_eq!(all(&mut bundle, due), [Action::Probe { rail: rail(0, 1) }]);
    let transfer = bundle.submit(&Request { notify: false, ..writing(&[100]) });
    assert_eq!(posts(&mut bundle, due), [(0, 0)]);
    let landed = due + config.probe * 10;
    assert_eq!(all(&mut bundle, landed), []);
    bundle.landed(rail(0, 1), chunk(transfer, 0), landed);
    let done = [Action::Finish { transfer, outcome: Ok(100), landed: 1 }];
    assert_eq!(all(&mut bundle, landed), done);
    assert_eq!(bundle.next_timer(), Some(landed + config.probe), "the probe has not come back");
    bundle.answered(rail(0, 1), landed);
    assert_eq!(bundle.next_timer(), Some(landed + config.idle));
}

#[test]
fn a_rail_whose_first_probe_does_not_come_back_is_lost() {
    let config = BundleConfig::default();
    let mut bundle = Bundle::<Why>::new(1, Role::Opens, config);
    assert_eq!(all(&mut bundle, NOW), [Action::Open { rail: rail(0, 1) }]);
    bundle.opened(rail(0, 1), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Probe { rail: rail(0, 1) }]);
    assert_eq!(bundle.next_timer(), Some(NOW + config.probe));
    assert_eq!(all(&mut bundle, NOW + config.probe), [Action::Close { rail: rail(0, 1) }]);
}

#[test]
fn nobody_probes_idle_rails_but_the_end_that_opens_and_that_only_where_it_should() {
    let mut awaits = Bundle::<Why>::new(1, Role::Awaits, BundleConfig::default());
    assert!(awaits.offered(rail(0, 1)));
    awaits.opened(rail(0, 1), NOW);
    assert_eq!(all(&mut awaits, NOW), [Action::Probe { rail: rail(0, 1) }]);
    awaits.answered(rail(0, 1), NOW);
    let mut never = up(1, BundleConfig { idle: Duration::ZERO, ..BundleConfig::default() });
    for bundle in [&mut awaits, &mut never] {
        assert_eq!((bundle.state(0), bundle.next_timer()), (Some(RailState::Up), None));
        assert_eq!(all(bundle, NOW * 1000), []);
    }
}

#[test]
fn the_end_that_awaits_takes_new_lives_only() {
    let mut bundle = Bundle::<Why>::new(1, Role::Awaits, BundleConfig::default());
    assert_eq!(all(&mut bundle, NOW), []);
    assert!(bundle.offered(rail(0, 3)));
    assert!(!bundle.offered(rail(0, 4)), "the life before is not over");
    bundle.heard(rail(0, 3), NOW);
    bundle.closed(rail(0, 3), NOW);
    assert_eq!(bundle.state(0), Some(RailState::Down));
    assert!(!bundle.offered(rail(0, 3)) && !bundle.offered(rail(0, 2)) && !bundle.offered(rail(1, 9)));
    assert_eq!(all(&mut bundle, NOW).len(), 2);
    // A life that was never heard of is quiet here.
    bundle.heard(rail(0, 4), NOW);
    assert_eq!(all(&mut bundle, NOW), [Action::Tell { rail: rail(0, 4) }]);
    assert!(bundle.offered(rail(0, 5)));
    assert!(!up(1, BundleConfig::default()).offered(rail(0, 5)), "the end that opens is offered nothing");
}

#[test]
fn what_is_told_of_another_life_changes_nothing() {
    let (mut bundle, transfer) = two_chunks(Direction::Write);
    bundle.landed(rail(0, 2), chunk(transfer, 0), NOW);
    bundle.returned(rail(1, 1), chunk(transfer, 0), Fate::Lost("elsewhere"), NOW);
    bundle.lost(rail(0, 2));
    bundle.heard(rail(1, 7), NOW);
    bundle.closed(rail(1, 1), NOW);
    bundle.notified(rail(0, 1), transfer);
    assert_eq!(all(&mut bundle, NOW), []);
    assert_eq!([bundle.state(0), bundle.state(1)], [Some(RailState::Up); 2]);
}

#[test]
fn the_table_allows_what_the_picture_shows() {
    let allowed = |from: RailState| RailState::ALL.into_iter().filter(move |to| from.may_become(*to));
    let numbers: Vec<usize> = RailState::ALL.into_iter().map(|from| allowed(from).count()).collect();
    assert_eq!(numbers, [1, 2, 2, 1, 1]);
    assert!(!RailState::Opening.may_become(RailState::Up));
    assert_eq!(RailState::ALL.map(RailState::name), ["down", "opening", "probing", "up", "quieting"]);
}

#[test]
fn an_inbox_takes_each_number_once_and_remembers_little() {
    let mut inbox = Inbox::default();
    assert_eq!([0, 2, 0, 1, 2].map(|sequence| inbox.take(sequence, 0)), {
        [Taken::New, Taken::New, Taken::Again, Taken::New, Taken::Again]
    });
    assert_eq!(inbox.take(3, 3), Taken::New);
    assert_eq!(inbox.remembered(), 1);
    assert_eq!(inbox.take(2, 0), Taken::Again, "what is settled is old, whatever it says itself");
    assert_eq!(inbox.take(2, 3), Taken::Nonsense);
    assert_eq!(inbox.take(WINDOW, 0), Taken::Nonsense);
    for sequence in 4..3 * WINDOW {
        assert_eq!(inbox.take(sequence, sequence), Taken::New);
        assert!(inbox.remembered() <= 1);
    }
}

#[test]
fn notifications_beyond_the_window_wait() {
    let mut bundle = up(1, BundleConfig::default());
    let transfers: Vec<_> = (0..=WINDOW).map(|_| bundle.submit(&writing(&[]))).collect();
    assert_eq!(all(&mut bundle, NOW).len() as u64, WINDOW);
    bundle.notified(rail(0, 1), transfers[1]);
    assert_eq!(all(&mut bundle, NOW).len(), 1, "the oldest is not settled");
    bundle.notified(rail(0, 1), transfers[0]);
    let last = Action::Notify {
        rail: rail(0, 1),
        transfer: transfers[WINDOW as usize],
        sequence: WINDOW,
        settled: 2,
    };
    assert!(all(&mut bundle, NOW).contains(&last));
}

#[test]
fn a_notification_that_is_given_up_makes_room_for_one_that_waits_for_a_number() {
    // At once, or when the peer's word has come.
    for fate in [Fate::Stopped("late"), Fate::Failed("late")] {
        let mut bundle = up(2, BundleConfig::default());
        let waiting = bundle.submit(&writing(&[100]));
        assert_eq!(posts(&mut bundle, NOW), [(0, 0)]);
        let oldest = bundle.submit(&writing(&[]));
        let notify = Action::Notify { rail: rail(1, 1), transfer: oldest, sequence: 0, settled: 0 };
        assert_eq!(all(&mut bundle, NOW), [notify]);
        for sequence in 1..WINDOW {
            let transfer = bundle.submit(&writing(&[]));
            let notify = Action::Notify { rail: rail(1, 1), transfer, sequence, settled: 0 };
            assert_eq!(all(&mut bundle, NOW), [notify]);
            bundle.notified(rail(1, 1), transfer);
            assert_eq!(all(&mut bundle, NOW), [Action::Finish { transfer, outcome: Ok(0), landed: 0 }]);
        }
        bundle.landed(rail(0, 1), chunk(waiting, 0), NOW);
        assert_eq!(all(&mut bundle, NOW), [], "there is no number left");
        bundle.unnotified(rail(1, 1), oldest, fate);
        if fate == Fate::Failed("late") {
            bundle.heard(rail(1, 1), NOW);
        }
        let actions = all(&mut bundle, NOW);
        let is_told = |action: &Action<Why>| matches!(action, Action::Notify { transfer, sequence: WINDOW, settled: WINDOW, .. } if *transfer == waiting);
        assert!(actions.iter().any(is_told), "{fate:?}: {actions:?}");
    }
}
