//! Completions against the model.

use pmd_core::{
    provider::{Completion, CompletionError, CompletionKind, Provider},
    wire::Syndrome,
};

use super::{
    bench::World,
    expect::{Effect, Payload, Pending},
};

impl World {
    /// Polls one side and checks every completion; how many there were.
    pub(super) fn poll(&mut self, side: usize, limit: usize) -> usize {
        let mut completions = [Completion::EMPTY; 16];
        let count = self.sides[side].backend.poll(&mut completions[..limit]).expect("a working queue");
        for completion in &completions[..count] {
            assert_eq!(Some(completion.queue_pair), self.sides[side].backend.number(self.sides[side].handle));
            match completion.result {
                Ok(CompletionKind::Receive | CompletionKind::ReceiveWriteImmediate) => {
                    self.received(side, completion);
                }
                Ok(kind) => self.sent(side, completion, kind),
                Err(error) if error.is_receive => self.receive_failed(side, completion, error),
                Err(error) => self.send_failed(side, completion, error),
            }
        }
        count
    }

    /// Takes the oldest requests up to `id`; those before it are done without a word, so they were unsignalled.
    fn take(&mut self, side: usize, id: u64) -> Pending {
        loop {
            let pending = self.sides[side].pending.pop_front();
            let pending = pending.unwrap_or_else(|| panic!("completion of {id}, which is not outstanding"));
            if pending.id == id {
                return pending;
            }
            assert!(!pending.signalled, "{pending:?} was passed over by {id}");
            assert!(!self.sides[side].failed, "{pending:?} was not flushed before {id}");
            self.done(side, pending);
        }
    }

    fn sent(&mut self, side: usize, completion: &Completion, kind: CompletionKind) {
        assert!(!self.sides[side].failed, "{completion:?} after an error");
        let pending = self.take(side, completion.id);
        assert!(pending.signalled, "{pending:?} completes without being asked to");
        assert_eq!((kind, completion.byte_length), (pending.kind, pending.returned), "{pending:?}");
        assert_eq!(completion.immediate, None);
        self.done(side, pending);
    }

    /// A request has succeeded: what it was to leave behind is there.
    pub(super) fn done(&mut self, side: usize, pending: Pending) {
        match pending.effect {
            Effect::Nothing => {}
            Effect::Landed(slot, expected) => {
                self.sides[1 - side].memory.assert_holds(slot, &expected);
            }
            Effect::Returned(slot, expected) => self.sides[side].memory.assert_holds(slot, &expected),
            Effect::ReturnedAny(slot) => self.sides[side].memory.give_back(slot),
            Effect::Refused(syndrome) => panic!("request {} succeeded, not {syndrome}", pending.id),
        }
    }

    fn send_failed(&mut self, side: usize, completion: &Completion, error: CompletionError) {
        assert!(!self.causes.is_empty(), "{completion:?} without a reason");
        let pending = self.take(side, completion.id);
        if self.sides[side].failed {
            assert_eq!(error.syndrome, Syndrome::Flushed, "{pending:?} after the first error");
        } else if let (Effect::Refused(expected), [Some(only)]) = (&pending.effect, &self.causes[..])
            && *only == pending.id
        {
            assert_eq!(error.syndrome, *expected, "{pending:?}");
        }
        self.sides[side].failed = true;
        // The peer may still take what is on its way: its slot is free after a restart only.
        if let Some(slot) = pending.effect.own_slot() {
            self.sides[side].memory.give_back(slot);
        }
    }

    fn received(&mut self, side: usize, completion: &Completion) {
        assert!(!self.sides[side].receives_failed, "{completion:?} after an error");
        let receive = self.sides[side].receives.pop_front();
        let receive = receive.unwrap_or_else(|| panic!("{completion:?} of no receive"));
        assert_eq!(receive.id, completion.id, "receives complete in order");
        let message = self.sides[1 - side].messages.pop_front();
        let message = message.unwrap_or_else(|| panic!("{completion:?} of no message"));
        assert_eq!(completion.immediate, message.immediate, "{message:?}");
        self.assert_written_before(side, message.id);
        let memory = &mut self.sides[side].memory;
        let kind = match message.payload {
            Payload::Bytes(bytes) => {
                assert_eq!(completion.byte_length as usize, bytes.len());
                memory.assert_holds(receive.slot, &bytes);
                CompletionKind::Receive
            }
            Payload::Written(length) => {
                assert_eq!(completion.byte_length as usize, length);
                memory.assert_holds(receive.slot, &[]);
                CompletionKind::ReceiveWriteImmediate
            }
        };
        assert_eq!(completion.result, Ok(kind));
    }

    /// A message comes after the writes that were posted before it, and after its own.
    fn assert_written_before(&self, receiver: usize, id: u64) {
        for pending in self.sides[1 - receiver].pending.iter().filter(|pending| pending.id <= id) {
            if let Effect::Landed(slot, expected) = &pending.effect {
                let memory = &self.sides[receiver].memory;
                assert!(memory.holds(*slot, expected), "message {id} came before {pending:?}");
            }
        }
    }

    fn receive_failed(&mut self, side: usize, completion: &Completion, error: CompletionError) {
        assert!(!self.causes.is_empty(), "{completion:?} without a reason");
        let receive = self.sides[side].receives.pop_front();
        let receive = receive.unwrap_or_else(|| panic!("{completion:?} of no receive"));
        assert_eq!(receive.id, completion.id, "receives complete in order");
        let first = !self.sides[side].receives_failed;
        match error.syndrome {
            Syndrome::Flushed => {}
            Syndrome::LocalLength if first => {
                let message = self.sides[1 - side].messages.front();
                assert!(message.is_some_and(|message| !message.fits(receive.capacity)), "{message:?} fits");
            }
            other => panic!("{completion:?} fails with {other}"),
        }
        self.sides[side].receives_failed = true;
        self.sides[side].memory.give_back(receive.slot);
    }
}
