//! As much of HTTP/1.1 as etcd's gateway needs: one request a connection, and an answer that may come bit by bit.
//!
//! Reads end at a deadline and go on where they were when called again. Nothing here trusts the other side: heads and
//! answers are bounded, and lengths are checked before anything is kept.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::url::Member;

/// Longest answer in bytes, and longest line of one that comes line by line.
pub const ANSWER_LIMIT: usize = 16 << 20;

/// Longest head of an answer.
const HEAD_LIMIT: usize = 16 << 10;

/// Most headers of one.
const MOST_HEADERS: usize = 64;

/// Longest line before a chunk.
const CHUNK_LINE_LIMIT: usize = 64;

const SUCCESS: u16 = 200;

/// An answer that is being received.
#[derive(Debug)]
pub(crate) struct Answer {
    stream: TcpStream,
    status: u16,
    /// What came and is not decoded.
    raw: Vec<u8>,
    /// What is decoded and not taken.
    body: Vec<u8>,
    framing: Framing,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many of the body.
    Length(u64),
    /// The line before a chunk.
    ChunkLine,
    /// So many of a chunk.
    Chunk(u64),
    /// The line's end after a chunk.
    ChunkEnd,
    /// The body, as long as the connection lasts.
    UntilClose,
    /// Nothing that matters.
    Over,
}

/// Posts a JSON text to a path of a member, and receives the head of its answer.
pub(crate) fn post(member: &Member, path: &str, body: &str, deadline: Instant) -> Result<Answer, HttpError> {
    let mut stream = connect(member, deadline)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {member}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Answer { stream, status: 0, raw: Vec::new(), body: Vec::new(), framing: Framing::Over };
    while !answer.parse_head()? {
        if answer.receive(deadline)? == 0 {
            return Err(HttpError::Cut);
        }
    }
    Ok(answer)
}

fn connect(member: &Member, deadline: Instant) -> Result<TcpStream, HttpError> {
    let mut last = io::Error::other("the name has no address");
    for address in (member.host.as_str(), member.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

/// Never nothing: a time-out of nothing would be none.
fn left(deadline: Instant) -> Result<Duration, HttpError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(HttpError::Late) } else { Ok(left.max(Duration::from_millis(1))) }
}

impl Answer {
    /// The whole body.
    ///
    /// # Errors
    /// [`HttpError`]; [`HttpError::Status`] where the answer is a refusal.
    pub(crate) fn whole(mut self, deadline: Instant) -> Result<Vec<u8>, HttpError> {
        loop {
            self.decode()?;
            if self.framing == Framing::Over {
                break;
            }
            if self.receive(deadline)? == 0 {
                match self.framing {
                    Framing::UntilClose => break,
                    _ => return Err(HttpError::Cut),
                }
            }
        }
        match self.status {
            SUCCESS => Ok(self.body),
            status => Err(HttpError::Status { status, body: text(&self.body) }),
        }
    }

    /// The next line of a body that goes on; `None` when there was none in time.
    ///
    /// # Errors
    /// [`HttpError`]; [`HttpError::Cut`] when the body has ended.
    pub(crate) fn line(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            self.decode()?;
            if let Some(end) = self.body.iter().position(|byte| *byte == b'\n') {
                let line = self.body.drain(..=end).collect();
                return Ok(Some(line));
            }
            if self.framing == Framing::Over {
                return Err(HttpError::Cut);
            }
            match self.receive(deadline) {
                Ok(0) => return Err(HttpError::Cut),
                Ok(_) => {}
                Err(HttpError::Late) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// The answer's status: 200 where it is no refusal.
    pub(crate) const fn is_success(&self) -> bool {
        self.status == SUCCESS
    }

    /// Reads once; how many bytes there were, 0 at the end.
    fn receive(&mut self, deadline: Instant) -> Result<usize, HttpError> {
        self.stream.set_read_timeout(Some(left(deadline)?))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(length) => {
                self.raw.extend_from_slice(&buffer[..length]);
                Ok(length)
            }
            Err(error) if is_passing(&error) => Err(HttpError::Late),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the head was there whole.
    fn parse_head(&mut self) -> Result<bool, HttpError> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(&self.raw) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if self.raw.len() <= HEAD_LIMIT => return Ok(false),
            Ok(httparse::Status::Partial) => return Err(HttpError::TooLong { limit: HEAD_LIMIT }),
            Err(_) => return Err(HttpError::Malformed { what: "its head" }),
        };
        self.status = head.code.unwrap_or_default();
        let named = |name: &str| {
            let header = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
        };
        self.framing = match (named("transfer-encoding"), named("content-length")) {
            (Some(encoding), _) if encoding == "chunked" => Framing::ChunkLine,
            (Some(_), _) => return Err(HttpError::Malformed { what: "its transfer encoding" }),
            (None, Some(length)) => {
                Framing::Length(length.parse().map_err(|_| HttpError::Malformed { what: "its length" })?)
            }
            (None, None) => Framing::UntilClose,
        };
        self.raw.drain(..length);
        Ok(true)
    }

    /// Moves what came to the body.
    fn decode(&mut self) -> Result<(), HttpError> {
        loop {
            match self.framing {
                Framing::Length(0) => self.framing = Framing::Over,
                Framing::Length(length) => match self.take(length)? {
                    0 => return Ok(()),
                    taken => self.framing = Framing::Length(length - taken),
                },
                Framing::Chunk(0) => self.framing = Framing::ChunkEnd,
                Framing::Chunk(length) => match self.take(length)? {
                    0 => return Ok(()),
                    taken => self.framing = Framing::Chunk(length - taken),
                },
                Framing::ChunkEnd => match self.raw.get(..2) {
                    None => return Ok(()),
                    Some(b"\r\n") => {
                        self.raw.drain(..2);
                        self.framing = Framing::ChunkLine;
                    }
                    Some(_) => return Err(HttpError::Malformed { what: "the end of a chunk" }),
                },
                Framing::ChunkLine => {
                    if !self.chunk_line()? {
                        return Ok(());
                    }
                }
                Framing::UntilClose => {
                    self.take(u64::MAX)?;
                    return Ok(());
                }
                Framing::Over => return Ok(()),
            }
        }
    }

    /// Whether the line before a chunk was there whole.
    fn chunk_line(&mut self) -> Result<bool, HttpError> {
        let wrong = HttpError::Malformed { what: "the length of a chunk" };
        match httparse::parse_chunk_size(&self.raw) {
            Ok(httparse::Status::Complete((length, size))) => {
                self.raw.drain(..length);
                // What follows the last chunk is of no use.
                self.framing = if size == 0 { Framing::Over } else { Framing::Chunk(size) };
                Ok(true)
            }
            Ok(httparse::Status::Partial) if self.raw.len() <= CHUNK_LINE_LIMIT => Ok(false),
            Ok(httparse::Status::Partial) | Err(_) => Err(wrong),
        }
    }

    /// Moves at most so many bytes; how many there were.
    fn take(&mut self, most: u64) -> Result<u64, HttpError> {
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.raw.len());
        if self.body.len() + length > ANSWER_LIMIT {
            return Err(HttpError::TooLong { limit: ANSWER_LIMIT });
        }
        self.body.extend(self.raw.drain(..length));
        Ok(length as u64)
    }
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// The start of a text that nobody has checked.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).trim().to_owned()
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The system's reason.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It did not come in time.
    #[error("it did not answer in time")]
    Late,
    /// The connection ended before the answer did.
    #[error("the connection ended before the answer")]
    Cut,
    /// It is not HTTP, or not of a kind that etcd sends.
    #[error("the answer is malformed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// It is too long.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// It is a refusal.
    #[error("it answered {status}: {body}")]
    Status {
        /// HTTP's status.
        status: u16,
        /// How the answer begins.
        body: String,
    },
}

#[cfg(test)]
mod tests;
