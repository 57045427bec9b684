//! What is said on one stream before its first record: hellos, and with a key the handshake.
//!
//! ```text
//!            side that connects (Caller)                side that is connected to (Answerer)
//!  no key    hello                     ------------->   on the wire only:
//!                                      <-------------   hello
//!            Ready                     ------------->
//!  a key     hello, first message      ------------->   on every stream:
//!                                      <-------------   second message, a hello inside
//!            Ready, sealed             ------------->
//! ```
//! The hello is the handshake's prologue: one that was changed on its way does not verify. Ready, the first thing that is
//! sealed under fresh keys, proves that its sender does not play a recording. After it come records, sealed or
//! in the clear as both hellos together say. [`Pending`](super::pending::Pending) calls this, without waiting.
//!
//! A side that is connected to by one with another key, or where only one has a key, answers with its hello in the clear
//! ([`refusal`]), with zeroes where the other one expects a handshake, which never verify; and hangs up.

use super::{
    hub::Arrival,
    record::{HELLO, Hello, Protection, WIRE_HEAD, WireHead, WireKind},
    stream::Stream,
};
use crate::security::{Asking, Cipher, FIRST, KeyMismatch, NoiseFault, PreSharedKey, SECOND, TAG};

/// Bytes that the side that connects says first.
pub(super) const GREETING: usize = HELLO + FIRST;
/// Bytes of the answer.
const ANSWER: usize = HELLO + SECOND;
/// Bytes of Ready.
const READY: usize = WIRE_HEAD + TAG;

/// What has become of streams.
#[derive(Debug)]
pub(super) enum State<T> {
    /// Nothing yet.
    Waits,
    /// They are of no use any more.
    Lost,
    /// The peer is not there, or not what it should be.
    Gone,
    /// The peer has another key, or only one side has one.
    Refused(KeyMismatch),
    /// They are connected.
    Complete(T),
}

/// A stream that this side has dialled.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) stream: Stream,
    greeting: Bytes<GREETING>,
    answer: Bytes<ANSWER>,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    None,
    Asked(Asking),
    Agreed(Box<Cipher>),
    Failed,
}

/// Bytes that are sent or received, not all of them at once.
#[derive(Debug)]
struct Bytes<const MOST: usize> {
    bytes: [u8; MOST],
    length: usize,
    done: usize,
}

impl<const MOST: usize> Bytes<MOST> {
    fn of(parts: &[&[u8]]) -> Self {
        let mut all = Self::room(0);
        for part in parts {
            all.bytes[all.length..all.length + part.len()].copy_from_slice(part);
            all.length += part.len();
        }
        all
    }

    fn room(length: usize) -> Self {
        Self { bytes: [0; MOST], length, done: 0 }
    }

    /// Sends what is left. Whether all of it is sent.
    fn send(&mut self, stream: &mut Stream) -> bool {
        if self.done < self.length {
            stream.writable = true;
            self.done += stream.send(&self.bytes[self.done..self.length]);
        }
        self.done == self.length
    }

    /// Receives what is missing. Whether nothing is.
    fn receive(&mut self, stream: &mut Stream) -> bool {
        if self.done < self.length {
            stream.readable = true;
            self.done += stream.receive(&mut self.bytes[self.done..self.length]);
        }
        self.done == self.length
    }

    fn heard(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Caller {
    pub(super) fn new(stream: Stream, hello: Hello, key: Option<&PreSharedKey>) -> Result<Self, NoiseFault> {
        let said = hello.to_bytes();
        let Some(key) = key else {
            // The wire's answer stands for all of them.
            let answer = Bytes::room(if hello.stream == 0 { HELLO } else { 0 });
            return Ok(Self { stream, greeting: Bytes::of(&[&said]), answer, keys: Keys::None });
        };
        let (asking, first) = Asking::begin(key, &said)?;
        let greeting = Bytes::of(&[&said, &first]);
        Ok(Self { stream, greeting, answer: Bytes::room(ANSWER), keys: Keys::Asked(asking) })
    }

    pub(super) fn is_greeted(&self) -> bool {
        self.greeting.done == self.greeting.length
    }

    /// Says hello; whether that is over.
    pub(super) fn greet(&mut self) -> bool {
        self.greeting.send(&mut self.stream)
    }

    /// Hears the answer, whose hello it gives if it has one.
    pub(super) fn hear(&mut self) -> State<Option<Hello>> {
        if !self.answer.receive(&mut self.stream) {
            return if self.stream.ended { State::Lost } else { State::Waits };
        }
        let mut said = [0; HELLO];
        match std::mem::replace(&mut self.keys, Keys::Failed) {
            Keys::None => {
                self.keys = Keys::None;
                let Some(answer) = self.answer.heard().first_chunk() else { return State::Complete(None) };
                said = *answer;
            }
            Keys::Asked(asking) => match asking.finish(self.answer.heard(), &mut said) {
                Ok(cipher) => {
                    self.keys = Keys::Agreed(Box::new(cipher));
                    // Kept for when it is asked for again.
                    self.answer = Bytes::of(&[&said]);
                    self.answer.done = HELLO;
                }
                Err(NoiseFault::Refused) => return State::Refused(self.mismatch()),
                Err(NoiseFault::Unavailable) => return State::Gone,
            },
            Keys::Agreed(cipher) => {
                self.keys = Keys::Agreed(cipher);
                said.copy_from_slice(self.answer.heard());
            }
            Keys::Failed => return State::Gone,
        }
        Hello::parse(&said).map_or(State::Gone, |hello| State::Complete(Some(hello)))
    }

    /// Why an answer does not verify: whoever refuses says in the clear whether it has a key.
    fn mismatch(&self) -> KeyMismatch {
        let said = self.answer.heard().first_chunk().map(Hello::parse);
        let has_none = matches!(said, Some(Ok(hello)) if !hello.protection.is_keyed());
        KeyMismatch::of(true, !has_none)
    }

    /// Says that the answer was heard, and seals the stream if `protection` says so. Whether there was room: there always is,
    /// behind a hello.
    pub(super) fn confirm(&mut self, protection: Protection) -> bool {
        let ready = ready();
        self.stream.writable = true;
        match std::mem::replace(&mut self.keys, Keys::None) {
            // One Ready, on the wire.
            Keys::None => self.answer.length == 0 || self.stream.send(&ready) == ready.len(),
            Keys::Agreed(mut cipher) => {
                let mut sealed = [0; READY];
                let is_sealed = cipher.seal(&ready, &mut sealed).is_ok();
                let said = is_sealed && self.stream.send(&sealed) == READY;
                if protection == Protection::Sealed {
                    self.stream.seal(cipher);
                }
                said
            }
            Keys::Asked(_) | Keys::Failed => false,
        }
    }
}

/// A stream that a peer has dialled.
#[derive(Debug)]
pub(super) struct Answerer {
    stream: Stream,
    answer: Bytes<ANSWER>,
    ready: Bytes<READY>,
    cipher: Option<Box<Cipher>>,
    protection: Protection,
}

impl Answerer {
    /// Answers with `hello`, whose protection is what both sides agree on.
    pub(super) fn new(arrival: Arrival, hello: Hello) -> Result<Self, NoiseFault> {
        let Arrival { stream, handshake } = arrival;
        let (said, protection) = (hello.to_bytes(), hello.protection);
        let Some(handshake) = handshake else {
            let (answer, ready) = match hello.stream {
                0 => (Bytes::of(&[&said]), Bytes::room(WIRE_HEAD)),
                _ => (Bytes::room(0), Bytes::room(0)),
            };
            return Ok(Self { stream, answer, ready, cipher: None, protection });
        };
        let mut answer = Bytes::room(ANSWER);
        let cipher = Some(Box::new(handshake.answer(&said, &mut answer.bytes)?));
        Ok(Self { stream, answer, ready: Bytes::room(READY), cipher, protection })
    }

    /// Goes on until the other side is ready.
    pub(super) fn go_on(&mut self) -> State<()> {
        self.answer.send(&mut self.stream);
        if !self.ready.receive(&mut self.stream) {
            return if self.stream.ended { State::Lost } else { State::Waits };
        }
        if self.ready.length == 0 || self.cipher.is_none() && *self.ready.heard() == ready() {
            return State::Complete(());
        }
        let Some(mut cipher) = self.cipher.take() else { return State::Lost };
        let mut said = [0; READY];
        let is_ready =
            cipher.open(self.ready.heard(), &mut said) == Ok(WIRE_HEAD) && said[..WIRE_HEAD] == ready();
        if is_ready && self.protection == Protection::Sealed {
            self.stream.seal(cipher);
        }
        // It is not heard twice.
        self.ready = Bytes::room(0);
        if is_ready { State::Complete(()) } else { State::Lost }
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }
}

/// What `ours` refuses `theirs` with: so many bytes as are waited for there.
pub(super) fn refusal(ours: Hello, theirs: &Hello) -> Vec<u8> {
    let mut answer = ours.to_bytes().to_vec();
    let length = if theirs.protection.is_keyed() { ANSWER } else { HELLO };
    answer.resize(length, 0);
    answer
}

fn ready() -> [u8; WIRE_HEAD] {
    WireHead { kind: WireKind::Ready, length: 0, position: 0 }.to_bytes()
}
