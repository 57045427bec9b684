//! One socket of the control thread: bytes in, bytes out, and when something last came.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use super::{
    ControlConfig,
    channel::Channel,
    connection::{Connection, DownReason},
    frame::{FrameError, FrameReader},
};
use crate::{outage, security::PreSharedKey};

/// Reads of one look at a socket whose bytes nobody wants.
const READS: usize = 16;

#[derive(Debug)]
pub(super) struct WireSocket {
    pub(super) stream: TcpStream,
    pub(super) connection: Connection,
    pub(super) reader: FrameReader,
    /// Where there is a key.
    channel: Option<Box<Channel>>,
    unwritten: Vec<u8>,
    /// This side has made the connection.
    connects: bool,
    opened: Instant,
    heard: Instant,
    /// Keep-alives that are missing since then.
    missed: u64,
    spoken: Instant,
}

impl WireSocket {
    /// A socket that this side has connected, or accepted. With a key it begins with a handshake.
    pub(super) fn new(
        (stream, connects): (TcpStream, bool),
        connection: Connection,
        key: Option<&PreSharedKey>,
    ) -> Result<Self, FrameError> {
        let now = Instant::now();
        let mut unwritten = Vec::new();
        let channel =
            key.map(|key| Channel::begin(key, connects, &mut unwritten).map(Box::new)).transpose()?;
        let reader = if channel.is_some() { FrameReader::greeted() } else { FrameReader::new() };
        Ok(Self {
            stream,
            connection,
            reader,
            channel,
            unwritten,
            connects,
            opened: now,
            heard: now,
            missed: 0,
            spoken: now,
        })
    }

    pub(super) const fn connects(&self) -> bool {
        self.connects
    }

    /// Whether something came that is not a stranger's: with a key the beginning of a handshake, else a preamble.
    pub(super) fn has_spoken(&self) -> bool {
        self.channel.as_ref().map_or(self.reader.is_greeted(), |channel| channel.is_agreed())
    }

    /// Whether both ends have the same address, as within a host.
    pub(super) fn is_local(&self) -> bool {
        let ends = (self.stream.local_addr(), self.stream.peer_addr());
        matches!(ends, (Ok(here), Ok(there)) if here.ip() == there.ip())
    }

    pub(super) const fn wants_to_write(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Reads what is there, once.
    pub(super) fn fill(&mut self) -> Result<(), DownReason> {
        let Self { channel, reader, stream, unwritten, .. } = self;
        let read = match channel {
            Some(channel) => channel.fill(stream),
            None => reader.fill(stream),
        };
        match read {
            Ok(0) => Err(DownReason::Closed),
            Ok(_) => {
                (self.heard, self.missed) = (Instant::now(), 0);
                Ok(channel.as_mut().map_or(Ok(()), |channel| channel.take(reader, unwritten))?)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(_) => Err(DownReason::Closed),
        }
    }

    /// Writes what can be written. Ends the connection once everything is out of one that is closing.
    pub(super) fn write(&mut self) -> Result<(), DownReason> {
        let closing = self.collect()?;
        while !self.unwritten.is_empty() {
            match self.stream.write(&self.unwritten) {
                Ok(count) => {
                    self.unwritten.drain(..count);
                    self.spoken = Instant::now();
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return Ok(());
                }
                Err(_) => return Err(DownReason::Closed),
            }
        }
        if closing { Err(DownReason::Local) } else { Ok(()) }
    }

    /// Says that nothing more comes from here.
    pub(super) fn finish(&self) {
        // Fails for one that is broken, of which nothing arrives.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Goes on with the last that this side has said; whether the peer's host has it, or nobody is there to take it.
    pub(super) fn has_arrived(&mut self) -> bool {
        if self.ignore().is_err() || matches!(self.write(), Err(DownReason::Closed)) {
            return true;
        }
        if !self.wants_to_write() {
            self.finish();
        }
        !self.wants_to_write() && outage::has_arrived(&self.stream)
    }

    /// Takes in what came, and looks at none of it.
    fn ignore(&mut self) -> io::Result<()> {
        let mut ignored = [0; 4096];
        for _ in 0..READS {
            match self.stream.read(&mut ignored) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Collects what is to be written; whether the connection ends after it.
    fn collect(&mut self) -> Result<bool, DownReason> {
        let Self { channel, connection, unwritten, .. } = self;
        match channel {
            None => Ok(connection.take_outgoing(unwritten)),
            Some(channel) if channel.is_agreed() => {
                Ok(channel.seal(unwritten, |frames| connection.take_outgoing(frames))?)
            }
            // What it has to say waits for the keys.
            Some(_) => Ok(connection.is_closing()),
        }
    }

    /// Sends a keep-alive when it is time, and finds a peer that has been silent for too long.
    pub(super) fn check_silence(&mut self, config: &ControlConfig) -> Result<(), DownReason> {
        let silent = self.heard.elapsed();
        if !self.connection.is_introduced() {
            let late = self.opened.elapsed() > config.hello_timeout;
            return if late { Err(DownReason::Silent(self.opened.elapsed())) } else { Ok(()) };
        }
        self.count_misses(silent, config);
        if silent > config.timeout {
            return Err(DownReason::Silent(silent));
        }
        // What waits for the socket to take it tells the peer as much once it goes out.
        if self.spoken.elapsed() >= config.interval && !self.wants_to_write() {
            // A connection that takes no more frames goes down by silence or by its socket.
            let _ = self.connection.keep_alive();
        }
        Ok(())
    }

    /// Counts the intervals in which a word was due and did not come. The first half of one is the way here.
    fn count_misses(&mut self, silent: Duration, config: &ControlConfig) {
        let interval = config.interval.as_nanos().max(1);
        let due = (silent.as_nanos() + interval / 2) / interval;
        let missed = u64::try_from(due.saturating_sub(1)).unwrap_or(u64::MAX);
        if missed > self.missed {
            self.connection.missed(missed - self.missed);
            self.missed = missed;
        }
    }
}
