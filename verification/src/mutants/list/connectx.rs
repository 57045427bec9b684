//! Faults on the way to a ConnectX, which the simulated one must refuse: under libmlx5's own queues, every store as it
//! happens, with the lint that aborts.

use super::super::{
    Check::*,
    Mutant,
    edit::{edit, within},
};
use super::{
    mutant,
    post::{RECORD, RECORD_LATE},
};

const SEND: &str = "src/queue/send.rs";
const COMPLETION: &str = "src/queue/completion.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "on ConnectX: the doorbell record is stored after the doorbell",
        &[edit(SEND, RECORD, ""), edit(SEND, "doorbell.ring(self.last_control);", RECORD_LATE)],
        OnConnectx("mlx5::data::writes_of_every_size", "but the doorbell record says"),
    ),
    mutant(
        "on ConnectX: ds is one less",
        &[within(SEND, "units: units as u8,", "units as u8", "units as u8 - 1")],
        OnConnectx("mlx5::data::writes_of_every_size", "is wrong for opcode"),
    ),
    mutant(
        "on ConnectX: ds is one more",
        &[within(SEND, "units: units as u8,", "units as u8", "units as u8 + 1")],
        OnConnectx("mlx5::data::writes_of_every_size", "data segment 0 has length 0"),
    ),
    mutant(
        "on ConnectX: the WQE index is the slot's number",
        &[within(
            SEND,
            "index: self.producer as u16,",
            "self.producer",
            "(self.producer & self.ring.mask())",
        )],
        OnConnectx("mlx5::queues::send_indexes_outlive_sixteen_bits", "but the last WQE begins with"),
    ),
    mutant(
        "on ConnectX: the doorbell repeats an older WQE",
        &[edit(
            SEND,
            "self.last_control = doorbell::send_register(&control).to_ne_bytes();",
            "if position == 0 { self.last_control = doorbell::send_register(&control).to_ne_bytes(); }",
        )],
        OnConnectx("mlx5::data::writes_of_every_size", "but the last WQE begins with"),
    ),
    mutant(
        "on ConnectX: an empty entry is written",
        &[edit(
            SEND,
            "entry.length.wrapping_sub(1) < self.limits.message",
            "entry.length <= self.limits.message",
        )],
        OnConnectx("mlx5::data::writes_of_every_size", "has length 0"),
    ),
    mutant(
        "on ConnectX: the consumer index is not told",
        &[edit(
            COMPLETION,
            "self.store_record(doorbell::CONSUMER_RECORD, doorbell::consumer_record(self.consumer));",
            "",
        )],
        OnConnectx("mlx5::queues::receive_indexes_outlive_sixteen_bits", "overran"),
    ),
    mutant(
        "on ConnectX: the consumer index is one too far",
        &[edit(
            COMPLETION,
            "self.store_record(doorbell::CONSUMER_RECORD, doorbell::consumer_record(self.consumer));",
            "let far = self.consumer.wrapping_add(1);
             self.store_record(doorbell::CONSUMER_RECORD, doorbell::consumer_record(far));",
        )],
        OnConnectx("mlx5::data::writes_of_every_size", "is past the producer"),
    ),
];
