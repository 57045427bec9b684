//! What `pmd dump` prints, exactly.

use pmd_core::wire::inline::InlineHeader;
use pmd_core::wire::{
    ControlFlags, ControlSegment, Cqe, Cqe128Dump, CqeDump, DataSegment, ErrorCompletion, Opcode,
    ReceivePath, Received, RemoteSegment, RequesterCompletion, ResponderCompletion, Scatter, SendDump,
    Service, Side, Syndrome,
};

const CONTROL: ControlSegment = ControlSegment {
    opcode: Opcode::RdmaWrite,
    opmod: 0,
    index: 3,
    queue_pair: 0x00ab_cdef,
    units: 3,
    flags: ControlFlags::CQ_UPDATE,
    immediate: 0,
};
const REMOTE: RemoteSegment = RemoteSegment { address: 0x7fff_dead_beef_0000, rkey: 0x00be_ef07 };

fn dump(queue: &[u8], index: u32) -> String {
    SendDump { queue, index, service: Service::Connected }.to_string()
}

#[test]
fn write_shows_each_segment() {
    let mut queue = [0; 256];
    let (units, _) = queue.as_chunks_mut::<16>();
    CONTROL.emit(&mut units[12]);
    REMOTE.emit(&mut units[13]);
    DataSegment { length: 4096, lkey: 0x00ca_fe01, address: 0x1122_3344_5566_7788 }.emit(&mut units[14]);
    assert_eq!(
        dump(&queue, 3),
        "00000308 abcdef03 00000008 00000000 | control RDMA_WRITE index=0x3 qp=0xabcdef ds=3 flags=CQ_UPDATE\n\
         7fffdead beef0000 00beef07 00000000 | remote address=0x7fffdeadbeef0000 rkey=0xbeef07\n\
         00001000 00cafe01 11223344 55667788 | data length=4096 lkey=0xcafe01 address=0x1122334455667788\n"
    );
}

#[test]
fn inline_payload_that_wraps_is_followed() {
    let mut queue = [0; 256];
    let (units, _) = queue.as_chunks_mut::<16>();
    let control = ControlSegment {
        opcode: Opcode::SendImmediate,
        units: 6,
        flags: ControlFlags::FENCE | ControlFlags::SOLICITED,
        immediate: 0x0102_0304,
        ..CONTROL
    };
    control.emit(&mut units[12]);
    InlineHeader { length: 70 }.emit(units[13].first_chunk_mut().unwrap());
    units[0] = [0xaa; 16];
    assert_eq!(
        dump(&queue, 7),
        "0000030b abcdef06 00000082 01020304 | control SEND_IMM index=0x3 qp=0xabcdef ds=6 flags=SOLICITED | FENCE \
         imm=0x1020304\n\
         80000046 00000000 00000000 00000000 | inline length=70\n\
         00000000 00000000 00000000 00000000 | inline continued\n\
         00000000 00000000 00000000 00000000 | inline continued\n\
         aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa | inline continued\n\
         00000000 00000000 00000000 00000000 | inline continued\n"
    );
}

#[test]
fn bytes_that_are_no_work_request_are_shown_with_the_reason() {
    let mut queue = [0x33; 64];
    assert_eq!(
        dump(&queue, 0),
        "33333333 33333333 33333333 33333333 | control\n\
         ! work-request opcode 0x33 is unknown: the send queue slot was not written, or not by this format\n"
    );
    let (units, _) = queue.as_chunks_mut::<16>();
    ControlSegment { units: 1, ..CONTROL }.emit(&mut units[0]);
    assert!(dump(&queue, 0).ends_with("! RdmaWrite needs 2 units before its data and has 1 (ds)\n"));
    assert_eq!(dump(&queue[..60], 0), "! a send queue of 60 bytes is not a power of two of 64-byte blocks\n");
}

#[test]
fn completions_show_each_line() {
    let mut entry = [0; 64];
    Cqe::Requester(RequesterCompletion {
        queue_pair: 0x00ab_cdef,
        operation: Opcode::RdmaWrite,
        wqe_counter: 3,
        byte_count: 0,
        timestamp: 0x11,
        scatter: Scatter::Memory,
    })
    .emit_cqe64(true, &mut entry);
    assert_eq!(
        CqeDump(&entry).to_string(),
        "00000000 00000000 00000000 00000000 | -\n\
         00000000 00000000 00000000 00000000 | -\n\
         00000000 00000000 00000000 00000000 | srqn=0x0 imm=0x0 bytes=0\n\
         00000000 00000011 08abcdef 00030001 | REQ RDMA_WRITE qp=0xabcdef wqe=0x3 solicited=0 owner=1\n"
    );
}

#[test]
fn scattered_receive_shows_its_preceding_half() {
    let mut cqe = [[0; 64]; 2];
    Cqe::Responder(ResponderCompletion {
        received: Received::SendImmediate(0x55),
        queue_pair: 0x12,
        path: ReceivePath { source_queue_pair: 0x34, ..ReceivePath::default() },
        byte_count: 40,
        solicited: true,
        scatter: Scatter::Preceding,
        ..ResponderCompletion::default()
    })
    .emit_cqe128(false, &[0x77; 64], &mut cqe);
    let preceding = "77777777 77777777 77777777 77777777 | preceding\n".repeat(4);
    assert_eq!(
        Cqe128Dump(&cqe).to_string(),
        preceding
            + "00000000 00000000 00000000 00000000 | -\n\
               00000000 00000000 00000034 00000000 | path source=0x34\n\
               00000000 00000055 00000000 00000028 | srqn=0x0 imm=0x55 bytes=40\n\
               00000000 00000000 00000012 0000003a | RESP_SEND_IMM qp=0x12 wqe=0x0 solicited=1 owner=0\n"
    );
}

#[test]
fn error_says_what_to_check() {
    let mut entry = [0; 64];
    Cqe::Error(ErrorCompletion {
        side: Side::Requester,
        queue_pair: 0x12,
        operation: 0x10,
        wqe_counter: 9,
        syndrome: Syndrome::RemoteAccess,
        vendor: 0x88,
        shared_receive_queue: 0,
    })
    .emit_cqe64(false, &mut entry);
    let text = CqeDump(&entry).to_string();
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with(
            "00000000 00008813 10000012 000900d0 | REQ_ERR opcode=0x10 qp=0x12 wqe=0x9 vendor=0x88: remote access error"
        ),
        "{last}"
    );
    assert!(last.ends_with("(syndrome 0x13)"), "{last}");
}

#[test]
fn entry_that_was_never_written_is_shown_with_the_reason() {
    let text = CqeDump(&[0xf0; 64]).to_string();
    assert_eq!(text.lines().count(), 5);
    assert!(text.ends_with(
        "! completion-queue entry Invalid holds no completion of a work request: check ownership first\n"
    ));
}
