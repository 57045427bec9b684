//! One socket of the control thread: bytes in, bytes out, and when something last came.

use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
    time::Instant,
};

use super::{
    ControlConfig,
    connection::{Connection, DownReason},
    frame::FrameReader,
};

#[derive(Debug)]
pub(super) struct WireSocket {
    pub(super) stream: TcpStream,
    pub(super) connection: Connection,
    pub(super) reader: FrameReader,
    unwritten: Vec<u8>,
    opened: Instant,
    heard: Instant,
    spoken: Instant,
}

impl WireSocket {
    pub(super) fn new(stream: TcpStream, connection: Connection) -> Self {
        let now = Instant::now();
        let reader = FrameReader::new();
        Self { stream, connection, reader, unwritten: Vec::new(), opened: now, heard: now, spoken: now }
    }

    pub(super) const fn wants_to_write(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Reads what is there, once.
    pub(super) fn fill(&mut self) -> Result<(), DownReason> {
        match self.reader.fill(&mut self.stream) {
            Ok(0) => Err(DownReason::Closed),
            Ok(_) => {
                self.heard = Instant::now();
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(_) => Err(DownReason::Closed),
        }
    }

    /// Writes what can be written. Ends the connection once everything is out of one that is closing.
    pub(super) fn write(&mut self) -> Result<(), DownReason> {
        let closing = self.connection.take_outgoing(&mut self.unwritten);
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

    /// Sends a keep-alive when it is time, and finds a peer that has been silent for too long.
    pub(super) fn check_silence(&self, config: &ControlConfig) -> Result<(), DownReason> {
        let silent = self.heard.elapsed();
        if !self.connection.is_introduced() {
            let late = self.opened.elapsed() > config.hello_timeout;
            return if late { Err(DownReason::Silent(self.opened.elapsed())) } else { Ok(()) };
        }
        if silent > config.timeout {
            return Err(DownReason::Silent(silent));
        }
        if self.spoken.elapsed() >= config.interval {
            // A connection that takes no more frames goes down by silence or by its socket.
            let _ = self.connection.keep_alive();
        }
        Ok(())
    }
}
