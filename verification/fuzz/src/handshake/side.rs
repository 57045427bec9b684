//! One side: what pmd-host's control thread does with a connection's bytes, and what it said and heard.

use super::{
    channel::Channel,
    frame::{Frame, FrameError, FrameReader, encode, preamble},
};
use crate::security::PreSharedKey;

/// A side of a connection.
pub(super) struct Side {
    key: Option<PreSharedKey>,
    connects: bool,
    channel: Option<Channel>,
    reader: FrameReader,
    /// Sent, and not arrived.
    wire: Vec<u8>,
    /// Sent, and taken off the wire, on this connection or an earlier one.
    sent: Vec<u8>,
    /// Events on this connection, all sent.
    pub(super) said: Vec<Frame>,
    /// How many of the other side's have been heard.
    pub(super) heard: usize,
    /// Heard, and not yet compared.
    fresh: Vec<Frame>,
    /// Why it has hung up.
    pub(super) down: Option<FrameError>,
    /// Bytes that arrived.
    pub(super) arrived: usize,
}

impl Side {
    pub(super) fn new(key: Option<PreSharedKey>, connects: bool) -> Self {
        let mut wire = Vec::new();
        let begin = |key: &PreSharedKey| Channel::begin(key, connects, &mut wire);
        let channel = key.as_ref().map(begin).transpose().expect("a random source");
        let mut reader = if channel.is_some() { FrameReader::greeted() } else { FrameReader::new() };
        reader.raise_limit();
        if channel.is_none() {
            wire.extend(preamble());
        }
        Self {
            key,
            connects,
            channel,
            reader,
            wire,
            sent: Vec::new(),
            said: Vec::new(),
            heard: 0,
            fresh: Vec::new(),
            down: None,
            arrived: 0,
        }
    }

    /// Its end of another connection; what was sent before can be sent again by whoever recorded it.
    pub(super) fn start_again(&mut self) {
        let fresh = Self::new(self.key.clone(), self.connects);
        let mut before = std::mem::replace(self, fresh);
        before.sent.append(&mut before.wire);
        (self.sent, self.arrived) = (before.sent, before.arrived);
    }

    /// Says an event, once keys are agreed on; a side without a key says it in the clear.
    pub(super) fn say(&mut self, length: usize) {
        if self.down.is_some() {
            return;
        }
        let frame = Frame::Event { kind: self.said.len() as u16, body: vec![length as u8; length] };
        let write = |out: &mut Vec<u8>| encode(&frame, out).expect("shorter than the limit");
        match &mut self.channel {
            Some(channel) if !channel.is_agreed() => return,
            Some(channel) => channel.seal(&mut self.wire, write).expect("agreed keys seal"),
            None => write(&mut self.wire),
        }
        self.said.push(frame);
    }

    /// Takes bytes off the wire.
    pub(super) fn take_wire(&mut self, most: usize) -> Vec<u8> {
        let taken: Vec<u8> = self.wire.drain(..most.min(self.wire.len())).collect();
        self.sent.extend_from_slice(&taken);
        taken
    }

    /// Changes a bit on the wire.
    pub(super) fn flip(&mut self, bit: usize) {
        let bits = self.wire.len() * 8;
        if let Some(bit) = bit.checked_rem(bits) {
            self.wire[bit / 8] ^= 1 << (bit % 8);
        }
    }

    /// Sends the last bytes that were taken off the wire once more, before all others; how many.
    pub(super) fn send_again(&mut self, most: usize) -> usize {
        let start = self.sent.len().saturating_sub(most);
        self.wire.splice(..0, self.sent[start..].iter().copied());
        self.sent.len() - start
    }

    /// Takes what arrived, as a socket does.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while self.down.is_none() && !bytes.is_empty() {
            let read = match &mut self.channel {
                Some(channel) => channel.fill(&mut bytes),
                None => self.reader.fill(&mut bytes),
            };
            self.arrived += read.expect("a stream in memory");
            if let Err(fault) = self.understand() {
                assert!(!fault.to_string().is_empty());
                self.down = Some(fault);
            }
        }
    }

    fn understand(&mut self) -> Result<(), FrameError> {
        if let Some(channel) = &mut self.channel {
            // What opened before the fault is heard, as in pmd-host.
            let taken = channel.take(&mut self.reader, &mut self.wire);
            self.hear()?;
            return taken;
        }
        self.hear()
    }

    fn hear(&mut self) -> Result<(), FrameError> {
        while let Some(frame) = self.reader.next()? {
            // What comes in the clear may be anybody's.
            if self.channel.is_some() {
                self.fresh.push(frame);
            }
        }
        Ok(())
    }

    /// Whether what was heard is what the other side said. Where keys differ, nothing is.
    pub(super) fn check(&mut self, speaker: &Self, same_key: bool) {
        let Some(channel) = &self.channel else { return };
        assert!(same_key || !channel.is_agreed(), "keys were agreed on with one who does not have ours");
        for frame in self.fresh.drain(..) {
            assert_eq!(Some(&frame), speaker.said.get(self.heard), "heard, and not said");
            self.heard += 1;
        }
        let forged_frame =
            matches!(self.down, Some(FrameError::Malformed { .. } | FrameError::TooLong { .. }));
        assert!(!forged_frame, "{:?} of what nobody with the key has sent", self.down);
    }
}
