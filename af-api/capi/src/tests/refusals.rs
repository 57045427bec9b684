//! Every status that is not done, produced.

use super::*;
use crate::boundary::guard;

#[test]
fn handles_that_are_no_more_and_pointers_to_nothing_are_refused() {
    let cluster = Cluster::new();
    let numbers = Numbers::new(cluster.worker, |_| 0.0);
    let gone = Numbers::new(cluster.worker, |_| 0.0);
    assert_eq!(pmd_af_memory_release(gone.memory), pmd_af_status::Ok);
    assert_eq!(pmd_af_memory_release(gone.memory), pmd_af_status::InvalidHandle);
    let (invalid, null_pointer) = (Some(pmd_af_status::InvalidHandle), Some(pmd_af_status::NullPointer));
    assert_eq!(push_pull(cluster.worker, &[gone.keyed(0)], &[], None).err(), invalid);
    assert_eq!(push_pull(null(), &[numbers.keyed(0)], &[], None).err(), null_pointer);
    let nowhere = pmd_af_keyed_tensor { memory: null(), ..numbers.keyed(0) };
    assert_eq!(push_pull(cluster.worker, &[nowhere], &[], None).err(), null_pointer);
    // SAFETY: no place for the node.
    assert_eq!(unsafe { pmd_af_node_start(null(), null_mut()) }, pmd_af_status::NullPointer);
    assert_eq!(pmd_af_request_poll(null()), pmd_af_status::NullPointer);
    let stranger = cluster.server.cast::<pmd_af_request>();
    assert_eq!(pmd_af_request_wait(stranger, 0), pmd_af_status::InvalidHandle);
    assert_eq!(pmd_af_request_release(stranger), pmd_af_status::InvalidHandle);
    assert_eq!(pmd_af_incoming_release(null_mut()), pmd_af_status::NullPointer);
    assert_eq!(pmd_af_node_leave(cluster.worker, PATIENCE), pmd_af_status::Ok);
    assert_eq!(pmd_af_node_leave(cluster.worker, PATIENCE), pmd_af_status::InvalidHandle);
}

#[test]
fn tensors_that_cannot_be_are_refused() {
    let cluster = Cluster::new();
    let numbers = Numbers::new(cluster.worker, |_| 0.0);
    let keyed = numbers.keyed(1);
    let with =
        |tensor| push_pull(cluster.worker, &[pmd_af_keyed_tensor { tensor, ..keyed }], &[], None).err();
    let (gaps, dense, large, negative) = ([1024_i64, 1], [512_i64, 1], [5_i64, 512], [-1_i64, 1]);
    let wrong = [
        pmd_af_tensor { strides: gaps.as_ptr(), ..keyed.tensor },
        pmd_af_tensor { shape: large.as_ptr(), ..keyed.tensor },
        pmd_af_tensor { shape: negative.as_ptr(), ..keyed.tensor },
        pmd_af_tensor { byte_offset: 4, ..keyed.tensor },
        pmd_af_tensor { type_bits: 24, ..keyed.tensor },
        pmd_af_tensor { type_lanes: 2, ..keyed.tensor },
        pmd_af_tensor { data: keyed.tensor.data.wrapping_byte_sub(4096), ..keyed.tensor },
    ];
    for tensor in wrong {
        assert_eq!(with(tensor), Some(pmd_af_status::InvalidArgument), "{tensor:?}");
    }
    assert_eq!(with(pmd_af_tensor { dimensions: -1, ..keyed.tensor }), Some(pmd_af_status::InvalidArgument));
    // A server has no worker, a worker no server.
    let other = Numbers::new(cluster.server, |_| 0.0);
    assert_eq!(
        push_pull(cluster.server, &[other.keyed(0)], &[], None).err(),
        Some(pmd_af_status::InvalidArgument)
    );
    assert_eq!(
        push_pull(cluster.worker, &[other.keyed(0)], &[], None).err(),
        Some(pmd_af_status::InvalidArgument)
    );
    // Strides that are those of a tensor without gaps.
    let fine = pmd_af_tensor { strides: dense.as_ptr(), ..keyed.tensor };
    let request =
        told(push_pull(cluster.worker, &[pmd_af_keyed_tensor { tensor: fine, ..keyed }], &[], None));
    let incoming = told(cluster.incoming());
    assert_eq!(pmd_af_request_poll(request), pmd_af_status::Pending);
    told(respond(incoming, &[]));
    assert_eq!(pmd_af_request_wait(request, PATIENCE), pmd_af_status::Ok);
    let _ = (pmd_af_request_release(request), pmd_af_incoming_release(incoming));

    // SAFETY: nobody maps the page; it is refused.
    let unmapped = made(null_mut(), |place| unsafe {
        pmd_af_memory_register(cluster.worker, std::ptr::without_provenance_mut(4096), 64, -1, place)
    });
    assert_eq!(unmapped, Err(pmd_af_status::Memory));
    // SAFETY: refused.
    let device = made(null_mut(), |place| unsafe {
        pmd_af_memory_register(cluster.worker, numbers.first.cast(), 64, 0, place)
    });
    assert_eq!(device, Err(pmd_af_status::Unavailable));
}

#[test]
fn answers_that_do_not_fit_fail_at_both_ends() {
    let cluster = Cluster::new();
    let (pulled, answer) = (Numbers::new(cluster.worker, |_| 5.0), Numbers::new(cluster.server, |_| 0.0));
    let small = pmd_af_tensor { shape: [1, 512].as_ptr(), ..answer.keyed(0).tensor };
    let small = pmd_af_keyed_tensor { tensor: small, ..answer.keyed(0) };
    for (answers, wanted) in [
        (vec![small], pmd_af_status::Mismatch),
        (vec![], pmd_af_status::Mismatch),
        (vec![answer.keyed(0), answer.keyed(1)], pmd_af_status::Mismatch),
    ] {
        let request = told(push_pull(cluster.worker, &[], &[pulled.keyed(0)], None));
        let incoming = told(cluster.incoming());
        assert_eq!(respond(incoming, &answers).err(), Some(wanted));
        assert_eq!(pmd_af_request_wait(request, PATIENCE), wanted, "{}", last_error());
        let _ = (pmd_af_request_release(request), pmd_af_incoming_release(incoming));
    }
    // One that is refused, and one that is released without an answer.
    for refuse in [true, false] {
        let request = told(push_pull(cluster.worker, &[], &[pulled.keyed(0)], None));
        let incoming = told(cluster.incoming());
        if refuse {
            assert_eq!(pmd_af_refuse(incoming, 7), pmd_af_status::Ok);
        }
        assert_eq!(pmd_af_incoming_release(incoming), pmd_af_status::Ok);
        assert_eq!(pmd_af_request_wait(request, PATIENCE), pmd_af_status::Refused);
        assert_eq!(pmd_af_request_release(request), pmd_af_status::Ok);
    }
    assert!(pulled.all().iter().all(|number| *number == 5.0), "nothing was written");
}

#[test]
fn requests_are_bounded_late_and_cancelled() {
    let cluster = Cluster::new();
    let (pushed, pulled) = (Numbers::new(cluster.worker, |_| 1.0), Numbers::new(cluster.worker, |_| 5.0));
    assert_eq!(pmd_af_declare(cluster.worker, 0, 1, 64, 1), pmd_af_status::Ok, "{}", last_error());
    assert_eq!(push_pull(cluster.worker, &[pushed.keyed(1)], &[], None).err(), Some(pmd_af_status::Capacity));
    assert_eq!(pmd_af_declare(cluster.worker, 9, 1, 64, 1), pmd_af_status::NotFound);
    assert_eq!(pmd_af_declare(cluster.worker, 0, 2, 4 * NUMBERS as u64, 1), pmd_af_status::Ok);
    let request = told(push_pull(cluster.worker, &[pushed.keyed(2)], &[pulled.keyed(3)], None));
    let more = |options: &pmd_af_request_options| {
        push_pull(cluster.worker, &[pushed.keyed(2)], &[pulled.keyed(3)], Some(options)).err()
    };
    assert_eq!(more(&pmd_af_request_options { at_once: true, ..DEFAULTS }), Some(pmd_af_status::Busy));
    assert_eq!(more(&pmd_af_request_options { timeout_ms: 20, ..DEFAULTS }), Some(pmd_af_status::Timeout));
    assert_eq!(more(&pmd_af_request_options { part: 4, ..DEFAULTS }), Some(pmd_af_status::InvalidArgument));
    let nobody = pmd_af_request_options { servers: [3].as_ptr(), server_count: 1, ..DEFAULTS };
    assert_eq!(more(&nobody), Some(pmd_af_status::NotFound));
    let (mut length, mut count) = (0, 0);
    // SAFETY: room for one length.
    let pending = unsafe { pmd_af_request_lengths(request, &mut length, 1, &mut count) };
    assert_eq!(pending, pmd_af_status::Pending);
    assert_eq!(pmd_af_request_wait(request, 1), pmd_af_status::Timeout);
    let incoming = told(cluster.incoming());
    assert_eq!(pmd_af_request_cancel(request), pmd_af_status::Cancelled);
    assert_eq!(pmd_af_request_wait(request, PATIENCE), pmd_af_status::Cancelled);
    let answer = Numbers::new(cluster.server, |_| 9.0);
    assert_eq!(respond(incoming, &[answer.keyed(3)]).err(), Some(pmd_af_status::Cancelled));
    assert!(pulled.all().iter().all(|number| *number == 5.0), "nothing was written");
    let _ = (pmd_af_incoming_release(incoming), pmd_af_request_release(request));
    let (mut room, mut count) = (null_mut(), 9);
    // SAFETY: room for one request.
    let mut batch = |gather, capacity| unsafe {
        pmd_af_get_batch(cluster.server, gather, 1, 1, &mut room, capacity, &mut count)
    };
    assert_eq!(batch(PMD_AF_GATHER_QUORUM, 0), pmd_af_status::BufferTooSmall);
    assert_eq!(batch(PMD_AF_GATHER_ANY, 1), pmd_af_status::Timeout);
    assert_eq!(batch(3, 1), pmd_af_status::InvalidArgument);
}

#[test]
fn a_server_that_leaves_is_down() {
    let cluster = Cluster::new();
    let pulled = Numbers::new(cluster.worker, |_| 0.0);
    let request = told(push_pull(cluster.worker, &[], &[pulled.keyed(0)], None));
    assert_eq!(pmd_af_node_leave(cluster.server, PATIENCE), pmd_af_status::Ok);
    let ended = pmd_af_request_wait(request, PATIENCE);
    // It may have said that it abandons the request before it went.
    assert!(matches!(ended, pmd_af_status::PeerDown | pmd_af_status::Refused), "{ended:?}: {}", last_error());
    assert_eq!(pmd_af_request_release(request), pmd_af_status::Ok);
    let deadline = std::time::Instant::now() + std::time::Duration::from_millis(PATIENCE);
    loop {
        // Until the goodbye has arrived a request is taken.
        match push_pull(cluster.worker, &[], &[pulled.keyed(0)], None) {
            Err(status) => break assert_eq!(status, pmd_af_status::PeerDown, "{}", last_error()),
            Ok(request) => {
                let _ = (pmd_af_request_cancel(request), pmd_af_request_release(request));
            }
        }
        assert!(std::time::Instant::now() < deadline, "the server never goes down");
    }
}

#[test]
fn nodes_that_cannot_start_say_why() {
    // At an address where no other test listens.
    let nobody = std::net::TcpListener::bind(("127.18.0.3", 0)).expect("a port");
    let port = nobody.local_addr().expect("an address").port();
    drop(nobody);
    let hurried = |roles, port| pmd_af_options { start_timeout_ms: 200, ..options(roles, port) };
    let lost = pmd_af_options { scheduler_host: c"127.18.0.3".as_ptr(), ..hurried(PMD_AF_WORKERS, port) };
    assert_eq!(start(&lost).err(), Some(pmd_af_status::ConnectFailed), "{}", last_error());
    let (scheduler, port) = scheduler();
    // A busy machine may need longer to find out who is missing.
    let missing = [200, 2000, PATIENCE].into_iter().find(|patience| {
        let patient = pmd_af_options { start_timeout_ms: *patience, ..options(PMD_AF_WORKERS, port) };
        start(&patient).err() == Some(pmd_af_status::Missing)
    });
    assert!(missing.is_some() && last_error().contains("server 0"), "{}", last_error());
    let refused = pmd_af_options { workers: 2, ..options(PMD_AF_WORKERS, port) };
    assert_eq!(start(&refused).err(), Some(pmd_af_status::Refused), "{}", last_error());
    let invalid = [
        pmd_af_options { rank: 3, ..hurried(PMD_AF_WORKERS, port) },
        pmd_af_options { roles: 3, ..hurried(PMD_AF_WORKERS, port) },
        pmd_af_options { roles: PMD_AF_SCHEDULER, ..hurried(PMD_AF_WORKERS, port) },
        pmd_af_options { transport: c"ship".as_ptr(), ..hurried(PMD_AF_WORKERS, port) },
        pmd_af_options { name: c"\xff".as_ptr(), ..hurried(PMD_AF_WORKERS, port) },
    ];
    for options in invalid {
        assert_eq!(
            start(&options).err(),
            Some(pmd_af_status::InvalidArgument),
            "{options:?}: {}",
            last_error()
        );
    }
    let nowhere = pmd_af_options {
        transport: c"verbs".as_ptr(),
        device: c"no_such_0".as_ptr(),
        ..hurried(PMD_AF_SERVERS, port)
    };
    assert_eq!(start(&nowhere).err(), Some(pmd_af_status::Unavailable), "{}", last_error());
    assert_eq!(pmd_af_scheduler_close(scheduler), pmd_af_status::Ok);
    assert_eq!(pmd_af_scheduler_close(scheduler), pmd_af_status::InvalidHandle);
}

#[test]
fn who_waits_for_requests_of_a_server_that_goes_is_told() {
    // Whoever asks once it is gone has no server: then the waiting began too late, and is begun earlier.
    for pause in (0..12).map(|power| std::time::Duration::from_millis(1 << power)) {
        let cluster = Cluster::new();
        let server = cluster.server.addr();
        let waiting = thread::spawn(move || {
            let (server, mut count) = (std::ptr::without_provenance(server), 0);
            // SAFETY: room for one request.
            made(null_mut(), |place| unsafe {
                pmd_af_get_batch(server, PMD_AF_GATHER_ANY, 0, PATIENCE, place, 1, &mut count)
            })
            .map(|_| ())
        });
        thread::sleep(pause);
        assert_eq!(pmd_af_node_leave(cluster.server, PATIENCE), pmd_af_status::Ok);
        // The worker is still there, and asks for nothing.
        match waiting.join().expect("it ends") {
            Err(pmd_af_status::Failed) => return,
            other => assert_eq!(other, Err(pmd_af_status::InvalidHandle)),
        }
    }
    panic!("the waiting never began in time");
}

#[test]
fn a_panic_is_a_status() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let status = guard(|| panic!("one"));
    std::panic::set_hook(hook);
    assert_eq!((status, last_error().as_str()), (pmd_af_status::Panic, "a defect of this library: one"));
}
