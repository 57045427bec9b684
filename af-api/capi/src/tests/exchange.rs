//! What moves, and what is told of it.

use super::*;

const EMPTY: pmd_af_incoming_info = pmd_af_incoming_info {
    worker: 9,
    instance: 9,
    number: 9,
    tag: 9,
    pushes: 9,
    pulls: 9,
    batch: true,
    cancelled: true,
};

fn info(incoming: *const pmd_af_incoming) -> pmd_af_incoming_info {
    // SAFETY: a place for what is known.
    told(made(EMPTY, |place| unsafe { pmd_af_incoming_read(incoming, place) }))
}

#[test]
fn tensors_are_pushed_and_answers_are_pulled() {
    let cluster = Cluster::new();
    let pushed = Numbers::new(cluster.worker, |at| at as f32);
    let pulled = Numbers::new(cluster.worker, |_| 0.0);
    let answer = Numbers::new(cluster.server, |_| 0.0);
    for round in 0..5_u32 {
        let options = pmd_af_request_options { tag: round, ..DEFAULTS };
        let (push, pull) = ([pushed.keyed(7)], [pulled.keyed(8)]);
        let request = told(push_pull(cluster.worker, &push, &pull, Some(&options)));
        let incoming = told(cluster.incoming());
        let known = info(incoming);
        assert_eq!((known.worker, known.tag, known.pushes, known.pulls), (0, round, 1, 1));
        assert!(!known.batch && !known.cancelled);
        // SAFETY: a place for the tensor.
        let keyed = |call: unsafe extern "C" fn(_, usize, *mut pmd_af_keyed_tensor) -> _, index| {
            // SAFETY: a place for the tensor.
            made(pushed.keyed(0), |place| unsafe { call(incoming.cast_const(), index, place) })
        };
        let came = told(keyed(pmd_af_incoming_push, 0));
        let wanted = told(keyed(pmd_af_incoming_pull, 0));
        assert_eq!(
            (came.key, came.bytes, wanted.key, wanted.bytes),
            (7, 4 * NUMBERS as u64, 8, 4 * NUMBERS as u64)
        );
        assert_eq!((came.tensor.dimensions, came.tensor.type_code, came.tensor.type_bits), (2, 2, 32));
        assert_eq!(keyed(pmd_af_incoming_push, 1).err(), Some(pmd_af_status::InvalidArgument));
        assert_eq!(keyed(pmd_af_incoming_pull, 1).err(), Some(pmd_af_status::InvalidArgument));
        // SAFETY: so many numbers, which nothing writes before the answer.
        let given = unsafe { std::slice::from_raw_parts(came.tensor.data.cast::<f32>(), NUMBERS) };
        answer.all().iter_mut().zip(given).for_each(|(number, given)| *number = given * 2.0 + round as f32);
        let response = told(respond(incoming, &[answer.keyed(8)]));
        assert_eq!(pmd_af_response_wait(response, PATIENCE), pmd_af_status::Ok);
        assert_eq!(pmd_af_response_release(response), pmd_af_status::Ok);
        assert_eq!(respond(incoming, &[answer.keyed(8)]).err(), Some(pmd_af_status::InvalidHandle));
        assert_eq!(pmd_af_incoming_release(incoming), pmd_af_status::Ok);
        assert_eq!(pmd_af_request_wait(request, PATIENCE), pmd_af_status::Ok, "{}", last_error());
        assert_eq!(pmd_af_request_poll(request), pmd_af_status::Ok);
        let (mut lengths, mut count) = ([0; 1], 0);
        // SAFETY: room for one length.
        let mut read =
            |capacity| unsafe { pmd_af_request_lengths(request, lengths.as_mut_ptr(), capacity, &mut count) };
        assert_eq!((read(0), read(1)), (pmd_af_status::BufferTooSmall, pmd_af_status::Ok));
        assert_eq!((lengths, count), ([4 * NUMBERS as u32], 1));
        // SAFETY: a place for the number.
        let number = told(made(0, |place| unsafe { pmd_af_request_number(request, place) }));
        assert_eq!(pmd_af_request_release(request), pmd_af_status::Ok);
        let (mut traces, mut count) = ([pmd_af_trace::default(); 1], 9);
        // SAFETY: room for one trace.
        let mut fetch = |number, capacity| unsafe {
            let traces = traces.as_mut_ptr();
            pmd_af_fetch_traces(cluster.worker, number, PATIENCE, traces, capacity, &mut count)
        };
        assert_eq!((fetch(number, 0), fetch(number, 1)), (pmd_af_status::BufferTooSmall, pmd_af_status::Ok));
        assert_eq!(fetch(number + 1, 1), pmd_af_status::Ok);
        assert_eq!(count, 0, "nothing is known of the next");
        let trace = traces[0];
        assert!(trace.request_sent > 0 && trace.response_received >= trace.request_sent, "{trace:?}");
        assert!(trace.request_received > 0 && trace.response_start >= trace.request_received, "{trace:?}");
        let right = |(at, number): (usize, &f32)| *number == at as f32 * 2.0 + round as f32;
        assert!(pulled.all().iter().enumerate().all(|number| right((number.0, number.1))), "round {round}");
    }
}

#[test]
fn requests_of_a_batch_come_together_and_pushes_go_into_offered_memory() {
    let cluster = Cluster::new();
    let (first, second) = (Numbers::new(cluster.worker, |_| 1.0), Numbers::new(cluster.worker, |_| 2.0));
    let offered = Numbers::new(cluster.server, |_| 0.0);
    let half = pmd_af_keyed_tensor {
        tensor: pmd_af_tensor { shape: [2, 512].as_ptr(), ..first.keyed(0).tensor },
        ..first.keyed(3)
    };
    let other_half = pmd_af_keyed_tensor {
        memory: second.memory,
        tensor: pmd_af_tensor { data: second.first.cast(), ..half.tensor },
        key: 4,
        ..half
    };
    // SAFETY: two pairs of worker and key.
    let offer =
        unsafe { pmd_af_offer(cluster.server, &offered.keyed(0), [0, 0].as_ptr(), [3, 4].as_ptr(), 2) };
    assert_eq!(offer, pmd_af_status::Ok, "{}", last_error());
    let part = |part| pmd_af_request_options { part, ..DEFAULTS };
    let begun = told(push_pull(cluster.worker, &[half], &[], Some(&part(PMD_AF_PART_START))));
    let ended = told(push_pull(cluster.worker, &[other_half], &[], Some(&part(PMD_AF_PART_END))));
    let incoming = told(cluster.incoming());
    let known = info(incoming);
    assert_eq!((known.pushes, known.pulls, known.batch), (2, 0, true));
    assert!(offered.all()[..NUMBERS / 2].iter().all(|number| *number == 1.0));
    assert!(offered.all()[NUMBERS / 2..].iter().all(|number| *number == 2.0));
    told(respond(incoming, &[]));
    for request in [begun, ended] {
        assert_eq!(pmd_af_request_wait(request, PATIENCE), pmd_af_status::Ok, "{}", last_error());
        assert_eq!(pmd_af_request_release(request), pmd_af_status::Ok);
    }
    assert_eq!(pmd_af_incoming_release(incoming), pmd_af_status::Ok);
    assert_eq!(pmd_af_take_back(cluster.server, 0, 3, PATIENCE), pmd_af_status::Ok, "{}", last_error());
    assert_eq!(pmd_af_take_back(cluster.server, 0, 3, PATIENCE), pmd_af_status::NotFound);
}

#[test]
fn barriers_members_and_events_are_told() {
    let cluster = Cluster::new();
    let (mut members, mut count) = ([pmd_af_member::default(); 2], 0);
    // SAFETY: room for two members.
    let mut read =
        |capacity| unsafe { pmd_af_node_members(cluster.worker, members.as_mut_ptr(), capacity, &mut count) };
    assert_eq!((read(1), read(2)), (pmd_af_status::BufferTooSmall, pmd_af_status::Ok));
    assert_eq!(count, 2);
    assert_eq!(
        members.map(|member| (member.role, member.rank, member.epoch, member.up)),
        [(2, 0, 1, true), (4, 0, 1, true)]
    );
    let none = pmd_af_member::default();
    // SAFETY: a place for the member.
    let own = |node, role| made(none, |place| unsafe { pmd_af_node_self(node, role, place) });
    assert_eq!((own(cluster.worker, 4), own(cluster.server, 2)), (Ok(members[1]), Ok(members[0])));
    assert_eq!(own(cluster.worker, 2), Err(pmd_af_status::NotFound));
    let shape = pmd_af_shape { workers: 1, servers: 1, group_size: 1 };
    // SAFETY: a place for the shape.
    let found = made(pmd_af_shape::default(), |place| unsafe { pmd_af_node_shape(cluster.server, place) });
    assert_eq!(told(found), shape);

    let (server, scheduler) = (cluster.server.addr(), cluster.scheduler.addr());
    let enter = |node: *const pmd_af_node, timeout| {
        let roles = PMD_AF_SERVERS | PMD_AF_WORKERS;
        // SAFETY: a name.
        unsafe { pmd_af_node_barrier(node, c"both".as_ptr(), roles, PMD_AF_SCOPE_EVERYONE, 0, timeout) }
    };
    let other = thread::spawn(move || enter(std::ptr::without_provenance(server), PATIENCE));
    assert_eq!(enter(cluster.worker, PATIENCE), pmd_af_status::Ok, "{}", last_error());
    assert_eq!(other.join().expect("it ends"), pmd_af_status::Ok);
    assert_eq!(enter(cluster.worker, 10), pmd_af_status::Missing);
    assert!(last_error().contains("server 0"), "{}", last_error());

    let event = pmd_af_event::default();
    // SAFETY: a place for the event.
    let next =
        |timeout| made(event, |place| unsafe { pmd_af_node_wait_event(cluster.worker, timeout, place) });
    assert_eq!(next(0), Err(pmd_af_status::Timeout));
    assert_eq!(pmd_af_node_leave(cluster.server, PATIENCE), pmd_af_status::Ok);
    let left = told(next(PATIENCE));
    assert_eq!((left.kind, left.member.role, left.member.rank), (PMD_AF_EVENT_LEFT, 2, 0));
    let scheduler = std::ptr::without_provenance(scheduler);
    assert_eq!(pmd_af_scheduler_wait_finished(scheduler, 0), pmd_af_status::Timeout);
    assert_eq!(pmd_af_node_leave(cluster.worker, PATIENCE), pmd_af_status::Ok);
    assert_eq!(pmd_af_scheduler_wait_finished(scheduler, PATIENCE), pmd_af_status::Ok);
}
