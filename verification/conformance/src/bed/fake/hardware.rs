//! The device behind the lower seam: doorbells with a strict eye, and the turn of every poll.

use pmd_core::{
    provider::{
        CompletionQueueError, CompletionQueueMemory, Hardware, QueuePairHandle, SendDoorbell,
        SharedReceiveHandle, WqeRing,
    },
    wire::{SendWqe, Service, doorbell},
};
use pmd_host::backend::Waker;

use super::{
    Manner,
    net::Net,
    queue_pair::{Means, Phase, QueuePair},
    queues::{Completions, Receives},
};

/// One engine: a completion queue and the queue pairs that complete into it.
#[derive(Debug)]
pub(super) struct FakeHardware {
    pub(super) net: Net,
    pub(super) waker: Waker,
    pub(super) manner: Manner,
    domain: u32,
    /// By handle.
    queue_pairs: Vec<Option<QueuePair>>,
    /// By handle.
    shared: Vec<Receives>,
    completions: Completions,
}

impl FakeHardware {
    pub(super) fn new(net: Net, domain: u32, manner: Manner, completions: u32, waker: Waker) -> Self {
        let completions = Completions::new(completions, manner.cqe_size);
        Self { net, waker, manner, domain, queue_pairs: Vec::new(), shared: Vec::new(), completions }
    }

    pub(super) fn completion_memory(&self) -> CompletionQueueMemory {
        self.completions.memory(0x11)
    }

    pub(super) fn has_news(&self) -> bool {
        self.completions.has_news()
    }

    pub(super) fn install(&mut self, handle: QueuePairHandle, queue_pair: QueuePair) {
        let index = handle.0 as usize;
        if self.queue_pairs.len() <= index {
            self.queue_pairs.resize_with(index + 1, || None);
        }
        self.queue_pairs[index] = Some(queue_pair);
    }

    pub(super) fn install_shared(&mut self, handle: SharedReceiveHandle, receives: Receives) {
        assert_eq!(handle.0 as usize, self.shared.len(), "shared queues are never taken away");
        self.shared.push(receives);
    }

    /// Works on one queue pair with the network locked.
    pub(super) fn with<T>(
        &mut self,
        handle: QueuePairHandle,
        work: impl FnOnce(&mut QueuePair, &mut Means<'_>) -> T,
    ) -> Option<T> {
        let queue_pair = self.queue_pairs.get_mut(handle.0 as usize)?.as_mut()?;
        let mut means = Means {
            net: &mut self.net.lock(),
            completions: &mut self.completions,
            shared: &mut self.shared,
            domain: self.domain,
            manner: self.manner,
        };
        Some(work(queue_pair, &mut means))
    }

    /// Destroys a queue pair: whatever it is asked from now on fails.
    pub(super) fn remove(&mut self, handle: QueuePairHandle) {
        self.with(handle, |queue_pair, means| {
            let orphans: Vec<_> = means
                .net
                .mailboxes
                .remove(&queue_pair.number)
                .into_iter()
                .flat_map(|box_| box_.requests)
                .collect();
            for packet in orphans {
                let verdict = super::net::Verdict::Refused(pmd_core::wire::Syndrome::RetryExceeded);
                means.net.answer(packet.from, packet.sequence, verdict);
            }
            means.net.withdraw(queue_pair.number, queue_pair.peer);
        });
        if let Some(place) = self.queue_pairs.get_mut(handle.0 as usize) {
            *place = None;
        }
    }

    fn known(&self, index: usize) -> &QueuePair {
        self.queue_pairs[index].as_ref().expect("a doorbell of a queue pair that is here")
    }

    /// A turn of one queue pair; wakes this engine's next park when there is more to do.
    fn turn(&mut self, handle: QueuePairHandle) {
        let more = self.with(handle, |queue_pair, means| {
            if queue_pair.rests(means.manner.unevenness) {
                return queue_pair.phase != Phase::Reset && means.net.has_mail(queue_pair.number)
                    || queue_pair.is_busy();
            }
            queue_pair.work(means);
            let served = queue_pair.serve(means);
            queue_pair.is_busy() || served
        });
        if more == Some(true) {
            self.waker.wake();
        }
    }

    /// Takes note of a doorbell: the record must have moved, and by no more than the queue holds.
    fn rang(&mut self, index: usize) -> u32 {
        let queue_pair = self.queue_pairs[index].as_mut().expect("a queue pair that is here");
        let step = queue_pair.record.word(doorbell::SEND_RECORD).wrapping_sub(queue_pair.rung) & 0xffff;
        assert!(step != 0, "the doorbell rang before its record was written");
        let ahead = queue_pair.rung.wrapping_add(step).wrapping_sub(queue_pair.begun);
        assert!(ahead <= queue_pair.slots, "the record moved by more than the queue has room for");
        let before = queue_pair.rung;
        queue_pair.rung = before.wrapping_add(step);
        before
    }
}

impl Drop for FakeHardware {
    fn drop(&mut self) {
        (0..self.queue_pairs.len() as u32).for_each(|index| self.remove(QueuePairHandle(index)));
    }
}

/// Doorbell of one queue pair.
pub(super) struct FakeDoorbell<'a> {
    hardware: &'a mut FakeHardware,
    handle: QueuePairHandle,
}

impl SendDoorbell for FakeDoorbell<'_> {
    fn blue_flame_limit(&self) -> u32 {
        self.hardware.manner.blue_flame
    }

    fn ring(&mut self, control: [u8; 8]) {
        let index = self.handle.0 as usize;
        let before = self.hardware.rang(index);
        assert_eq!(
            last_control(self.hardware.known(index), before),
            control,
            "the doorbell repeats the last WQE"
        );
        self.hardware.turn(self.handle);
    }

    fn blue_flame(&mut self, wqe: WqeRing) {
        let index = self.handle.0 as usize;
        let before = self.hardware.rang(index);
        let queue_pair = self.hardware.known(index);
        assert_eq!(queue_pair.rung.wrapping_sub(before), wqe.slots, "BlueFlame carries all that was posted");
        assert_eq!(wqe.first, before & (queue_pair.slots - 1));
        assert_eq!((wqe.buffer, wqe.wqe_count), (queue_pair.send.pointer(), queue_pair.slots));
        self.hardware.turn(self.handle);
    }
}

/// The first eight bytes of the last WQE up to the producer index, looked for from `first`.
fn last_control(queue_pair: &QueuePair, first: u32) -> [u8; 8] {
    let queue = queue_pair.send.read(0, queue_pair.send.length());
    let mut position = first;
    loop {
        let wqe = SendWqe::parse_strict(&queue, position, Service::Connected).expect("a WQE");
        let next = position.wrapping_add(u32::from(wqe.basic_blocks()));
        if next == queue_pair.rung {
            let start = (position & (queue_pair.slots - 1)) as usize * 64;
            let mut control = [0; 8];
            control.copy_from_slice(&queue[start..start + 8]);
            return control;
        }
        position = next;
    }
}

impl Hardware for FakeHardware {
    type Doorbell<'a> = FakeDoorbell<'a>;

    fn doorbell(&mut self, handle: QueuePairHandle) -> FakeDoorbell<'_> {
        FakeDoorbell { hardware: self, handle }
    }

    fn progress(&mut self) -> Result<(), CompletionQueueError> {
        (0..self.queue_pairs.len() as u32).for_each(|index| self.turn(QueuePairHandle(index)));
        match self.completions.overrun() {
            Some(capacity) => Err(CompletionQueueError::Overrun { capacity }),
            None => Ok(()),
        }
    }

    fn arm(&mut self, _: [u8; 8]) {
        // A parked engine is woken by its mailboxes.
    }
}
