//! The lives of objects.

use super::*;
use crate::{
    kernel::abi::attribute,
    state::{MemoryRegion, state},
    uar::MmapRequest,
};

/// `IBV_QP_STATE`, and what a reliable queue pair needs on its way: see `device::transitions`.
fn modify(library: &Library, handle: u32, to: u8, mask: u32) -> Result<Vec<u8>, Errno> {
    let core = Answer::default()
        .pad(18)
        .bytes(&[1, 0])
        .pad(64)
        .u32(&[handle, mask, 0, 5, 6, 0x2001, 7])
        .u32(&[0])
        .u8(&[to, 0, 3, 0, 0, 4, 8, 12, 1, 14, 7, 6, 0, 0]);
    library.plain(command::MODIFY_QP, core)
}

#[test]
fn nothing_goes_before_a_context_is_allocated_and_only_one_is() {
    let library = Library::open();
    assert_eq!(number(library.plain(command::QUERY_DEVICE, Answer::default())), libc::EINVAL);
    assert_eq!(number(library.ioctl(method::QUERY_PORT, &[(0, 4, 1)])), libc::EINVAL);
    let (library, _) = Library::allocated();
    let request = Answer::default().u32(&[16, 4, 0, 0]).pad(32);
    let again = library.legacy(command::GET_CONTEXT, Answer::default(), request, 72);
    assert_eq!(number(again), libc::EINVAL);
}

#[test]
fn a_driver_that_wants_devx_is_told_to_do_without() {
    let library = Library::open();
    let with_devx = Answer::default().u32(&[16, 4, 1, 0]).pad(32);
    let refused = library.legacy(command::GET_CONTEXT, Answer::default(), with_devx, 72);
    assert_eq!(number(refused), libc::EOPNOTSUPP);
    let without = Answer::default().u32(&[16, 4, 0, 0]).pad(32);
    assert!(library.legacy(command::GET_CONTEXT, Answer::default(), without, 72).is_ok());
}

#[test]
fn a_queue_pair_goes_all_the_way_and_says_where_it_is() {
    let (library, _) = Library::allocated();
    let (completions, _) = library.completion_queue(1, -1);
    let (handle, number_of_it) = library.queue_pair(2, library.domain(), completions);
    let to_init = 1 | 1 << 3 | 1 << 4 | 1 << 5;
    let to_receive = 1 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 15 | 1 << 17 | 1 << 20;
    let to_send = 1 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 13 | 1 << 16;
    let early = modify(&library, handle, state::RTR, to_receive);
    assert_eq!(number(early), libc::EINVAL);
    for (to, mask) in [(state::INIT, to_init), (state::RTR, to_receive), (state::RTS, to_send)] {
        assert_eq!(number(modify(&library, handle, to, mask)), 0, "to {to}");
    }
    let answer = library.plain(command::QUERY_QP, Answer::default().u32(&[handle, 0])).expect("an answer");
    // Offsets of qp_state, rq_psn, sq_psn, dest_qp_num, retry_cnt and rnr_retry.
    assert_eq!(answer[108], state::RTS);
    assert_eq!([88, 92, 96].map(|offset| word(&answer, offset)), [5, 6, 0x2001]);
    assert_eq!((answer[118], answer[119]), (7, 6));
    let found = library.device().lock().queue_pairs.find(number_of_it).map(|found| found.send_buffer);
    assert_eq!(found, Some(0x3000 + (16 << 4)));
}

#[test]
fn ports_and_table_entries_that_are_not_there_are_refused() {
    let (library, _) = Library::allocated();
    let (completions, _) = library.completion_queue(1, -1);
    let (handle, _) = library.queue_pair(2, library.domain(), completions);
    let core = |partition: u16, port: u8| {
        let fields = Answer::default().pad(64).u32(&[handle, 1 | 1 << 3 | 1 << 4 | 1 << 5]).pad(92);
        fields.u16(&[partition, 0]).u8(&[state::INIT, 0, 0, 0, 0, 0, 0, 0, port])
    };
    for wrong in [core(0, 0), core(0, 2), core(9, 1)] {
        assert_eq!(number(library.plain(command::MODIFY_QP, wrong)), libc::EINVAL);
    }
    assert_eq!(number(library.plain(command::MODIFY_QP, core(0, 1))), 0);
}

#[test]
fn what_others_need_is_busy() {
    let (library, _) = Library::allocated();
    let domain = library.domain();
    let (completions, _) = library.completion_queue(1, -1);
    let (queue_pair, _) = library.queue_pair(2, domain, completions);
    let destroy = |number, handle| library.plain(number, Answer::default().u32(&[handle]));
    assert_eq!(number(destroy(command::DESTROY_CQ, completions)), libc::EBUSY);
    assert_eq!(number(destroy(command::DEALLOC_PD, domain)), libc::EBUSY);
    assert_eq!(number(destroy(command::DESTROY_QP, queue_pair)), 0);
    assert_eq!(number(destroy(command::DESTROY_QP, queue_pair)), libc::EINVAL);
    assert_eq!(number(destroy(command::DESTROY_CQ, completions)), 0);
    assert_eq!(number(destroy(command::DEALLOC_PD, domain)), 0);
}

#[test]
fn handles_of_one_context_are_nothing_to_another() {
    let (one, _) = Library::allocated();
    let (other, _) = Library::allocated();
    let domain = one.domain();
    let (completions, _) = one.completion_queue(1, -1);
    assert_eq!(number(other.try_queue_pair(2, domain, completions)), libc::EINVAL);
    assert_eq!(number(other.plain(command::DEALLOC_PD, Answer::default().u32(&[domain]))), libc::EINVAL);
}

#[test]
fn closing_frees_everything() {
    let (library, asynchronous) = Library::allocated();
    let device = library.device();
    let memory = vec![0_u8; 8192];
    let domain = library.domain();
    let start = memory.as_ptr() as u64;
    let core = Answer::default().u64(&[start, 8192, start]).u32(&[domain, 1]);
    let answer = library.plain(command::REG_MR, core).expect("a region");
    let key = word(&answer, 4);
    let (completions, cqn) = library.completion_queue(1, -1);
    let (_, qpn) = library.queue_pair(2, domain, completions);
    let there = || {
        let tables = device.lock();
        let region = tables.regions.find(key).map(|region: &MemoryRegion| (region.start, region.length));
        (region, tables.completion_queues.find(cqn).is_some(), tables.queue_pairs.find(qpn).is_some())
    };
    assert_eq!(there(), (Some((start, 8192)), true, true));
    let descriptor = library.descriptor;
    drop(library);
    assert_eq!(there(), (None, false, false));
    assert!(!super::super::owns(descriptor));
    drop(take(asynchronous));
}

#[test]
fn regions_are_what_they_are_registered_as() {
    let (library, _) = Library::allocated();
    let memory = vec![0_u8; 8192];
    let start = memory.as_ptr() as u64;
    let domain = library.domain();
    let register = |start: u64, length: u64, access: u32| {
        let core = Answer::default().u64(&[start, length, start]).u32(&[domain, access]);
        library.plain(command::REG_MR, core)
    };
    assert_eq!(number(register(start, 0, 1)), libc::EINVAL);
    assert_eq!(number(register(4096, 64, 1)), libc::EFAULT);
    assert_eq!(number(register(start, 64, 2)), libc::EINVAL);
    assert_eq!(number(register(start, 64, 1 << 6)), libc::EOPNOTSUPP);
    let answer = register(start, 64, 1).expect("a region");
    let (handle, key) = (word(&answer, 0), word(&answer, 4));
    // Again: translation and access.
    let core = Answer::default().u32(&[handle, 1 | 4]).u64(&[start, 128, start]).u32(&[0, 7]);
    let answer = library.plain(command::REREG_MR, core).expect("changed");
    assert_eq!(word(&answer, 0), key);
    let region = library.device().lock().regions.find(key).copied().expect("registered");
    assert_eq!((region.length, region.access), (128, 7));
    library.ioctl(method::MR_DESTROY, &[(attribute::ONLY, 0, handle.into())]).expect("registered");
    assert!(library.device().lock().regions.find(key).is_none());
}

#[test]
fn register_pages_are_objects_that_are_mapped() {
    let (library, _) = Library::allocated();
    let (mut offset, mut length, mut page) = (0_u64, 0_u32, 0_u32);
    let mut allocate = |kind: u64| {
        library.ioctl(
            method::UAR_ALLOC,
            &[
                (attribute::UAR_HANDLE, 0, 0),
                (attribute::UAR_TYPE, 8, kind),
                (attribute::UAR_OFFSET, 8, (&raw mut offset).expose_provenance() as u64),
                (attribute::UAR_LENGTH, 4, (&raw mut length).expose_provenance() as u64),
                (attribute::UAR_PAGE, 4, (&raw mut page).expose_provenance() as u64),
            ],
        )
    };
    assert_eq!(number(allocate(2)), libc::EINVAL);
    let handle = allocate(0).expect("a page")[0];
    assert_eq!((length, u64::from(page)), (4096, handle));
    let request = MmapRequest { address: 0, length: 4096, flags: libc::MAP_SHARED };
    let mapped = super::super::map(library.descriptor, offset, &request).expect("its page");
    assert!(!mapped.is_null());
    for nothing in [0, 1, offset + 4096 * 1000, 5 << 20] {
        assert_eq!(number(super::super::map(library.descriptor, nothing, &request)), libc::EINVAL);
    }
    crate::uar::forget(mapped, 4096);
    library.ioctl(method::UAR_DESTROY, &[(attribute::UAR_HANDLE, 0, handle)]).expect("allocated");
    assert_eq!(number(super::super::map(library.descriptor, offset, &request)), libc::EINVAL);
}

#[test]
fn shared_receive_queues_have_limits() {
    let (library, _) = Library::allocated();
    let domain = library.domain();
    let core = Answer::default().u64(&[5]).u32(&[domain, 15, 1, 0]);
    let driver = Answer::default().u64(&[0x1000, 0x2000]).u32(&[0, 0, 0, 0]);
    let answer = library.legacy(command::CREATE_SRQ, core, driver, 8).expect("a queue");
    let (handle, srqn) = (word(&answer, 0), word(&answer, 16));
    let limit =
        |limit: u32| library.plain(command::MODIFY_SRQ, Answer::default().u32(&[handle, 2, 0, limit]));
    assert_eq!((number(limit(16)), number(limit(7))), (libc::EINVAL, 0));
    let answer = library.plain(command::QUERY_SRQ, Answer::default().u32(&[handle, 0])).expect("an answer");
    assert_eq!([0, 4].map(|offset| word(&answer, offset)), [15, 1]);
    let queue = library.device().lock().shared_receives.find(srqn).copied().expect("a queue");
    assert_eq!((queue.slots, queue.shift), (16, 5));
    assert_eq!(number(library.plain(command::DESTROY_SRQ, Answer::default().u32(&[handle, 0]))), 0);
}

#[test]
fn methods_that_are_not_there_send_the_library_another_way() {
    let (library, _) = Library::allocated();
    // ADVISE_MR, and DEVX.
    for method in [(7, 2), (0x1001, 0x1000)] {
        assert_eq!(number(library.ioctl(method, &[])), libc::EPROTONOSUPPORT);
    }
    let address = 0;
    assert_eq!(number(super::super::ioctl(library.descriptor, 0x5401, address)), libc::ENOTTY);
    assert_eq!(number(library.plain(command::QUERY_PORT, Answer::default().u8(&[2]))), libc::EINVAL);
    let resize = Answer::default().u32(&[19]).u16(&[2, 0]).0;
    assert_eq!(number(library.write(&resize)), libc::EOPNOTSUPP);
}
