//! Exchanging addresses over TCP, as ibv_rc_pingpong does.
//!
//! The client connects and sends its address; the server connects its queue pair and answers with its own; the client
//! connects its queue pair and says `done`. Then the socket is closed: it says nothing about the peer's life.
//! rdma-core libibverbs/examples/rc_pingpong.c, `pp_client_exch_dest` and `pp_server_exch_dest`.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    thread,
    time::{Duration, Instant},
};

use super::{
    address::{self, Address},
    error::PingpongError,
};

/// What the client says at the end, with its zero byte.
const DONE: [u8; 5] = *b"done\0";

/// How long a client waits between two attempts to reach a server that does not listen yet.
const RETRY: Duration = Duration::from_millis(20);

/// A connection to the peer, in the middle of the exchange.
#[derive(Debug)]
pub(super) struct Exchange {
    stream: TcpStream,
    patience: Duration,
}

/// Listens on every address of this host.
pub(super) fn listen(port: u16) -> Result<TcpListener, PingpongError> {
    let any = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), (Ipv4Addr::UNSPECIFIED, port).into()];
    TcpListener::bind(any.as_slice()).map_err(|source| PingpongError::Listen { port, source })
}

impl Exchange {
    /// Waits for a client, without bound.
    pub(super) fn accept(listener: &TcpListener, patience: Duration) -> Result<Self, PingpongError> {
        let (stream, _) = listener.accept().map_err(failed("accepting a client"))?;
        Self::new(stream, patience)
    }

    /// Connects to a server, which may start to listen within `patience`.
    pub(super) fn connect(host: &str, port: u16, patience: Duration) -> Result<Self, PingpongError> {
        let refused = |source| PingpongError::Connect { host: host.to_owned(), port, source };
        let deadline = Instant::now() + patience;
        loop {
            match attempt(host, port, patience) {
                Ok(stream) => return Self::new(stream, patience),
                Err(error) if !may_listen_later(&error) || Instant::now() > deadline => {
                    return Err(refused(error));
                }
                Err(_) => thread::sleep(RETRY),
            }
        }
    }

    fn new(stream: TcpStream, patience: Duration) -> Result<Self, PingpongError> {
        stream.set_read_timeout(Some(patience)).map_err(failed("setting a deadline"))?;
        stream.set_write_timeout(Some(patience)).map_err(failed("setting a deadline"))?;
        Ok(Self { stream, patience })
    }

    /// Sends this side's address.
    pub(super) fn tell(&mut self, address: &Address) -> Result<(), PingpongError> {
        self.stream.write_all(&address.emit()).map_err(failed("sending the address"))
    }

    /// Receives the peer's address.
    pub(super) fn hear(&mut self) -> Result<Address, PingpongError> {
        let mut bytes = [0; address::LENGTH];
        self.read(&mut bytes, "receiving the peer's address")?;
        Ok(Address::parse(&bytes)?)
    }

    /// Tells the server that its address has come.
    pub(super) fn finish(mut self) -> Result<(), PingpongError> {
        self.stream.write_all(&DONE).map_err(failed("acknowledging the peer's address"))
    }

    /// Waits until the client has this side's address.
    pub(super) fn finished(mut self) -> Result<(), PingpongError> {
        let mut bytes = [0; DONE.len()];
        self.read(&mut bytes, "waiting for the client's acknowledgement")?;
        if bytes == DONE { Ok(()) } else { Err(PingpongError::Acknowledgement) }
    }

    /// Fills `bytes` before patience ends, however slowly they come.
    fn read(&mut self, bytes: &mut [u8], step: &'static str) -> Result<(), PingpongError> {
        let deadline = Instant::now() + self.patience;
        let mut filled = 0;
        while filled < bytes.len() {
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => return Err(failed(step)(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(step)(error)),
            }
            if Instant::now() > deadline && filled < bytes.len() {
                return Err(failed(step)(io::ErrorKind::TimedOut.into()));
            }
        }
        Ok(())
    }
}

/// Tries every address of `host` once.
fn attempt(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn may_listen_later(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

fn failed(step: &'static str) -> impl FnOnce(io::Error) -> PingpongError {
    move |source| PingpongError::Exchange { step, source }
}

#[cfg(test)]
mod tests;
