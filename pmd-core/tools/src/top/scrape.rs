//! One `GET /metrics`, bounded in time and size.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use thiserror::Error;

use super::page::{NotASample, Samples};

/// Longest wait for a connection, and for the whole answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest answer.
const LIMIT: usize = 64 << 20;

/// What a process told, and when.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) at: Instant,
    pub(super) samples: Samples,
}

/// Why there is nothing.
#[derive(Debug, Error)]
pub(crate) enum ScrapeError {
    #[error("nobody answers")]
    Unreachable(#[source] io::Error),
    #[error("the answer did not come")]
    Broken(#[source] io::Error),
    #[error("the answer is longer than {LIMIT} bytes")]
    TooLong,
    #[error("what answers serves no metrics: {0:?}")]
    Refused(String),
    #[error(transparent)]
    Page(#[from] NotASample),
}

/// Asks the process that listens at `address`.
pub(super) fn scrape(address: SocketAddr) -> Result<Scrape, ScrapeError> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(ScrapeError::Unreachable)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(ScrapeError::Broken)?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(ScrapeError::Broken)?;
    let answer = read(&mut stream, deadline)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(ScrapeError::Refused(status.chars().take(80).collect()));
    }
    Ok(Scrape { at: Instant::now(), samples: Samples::parse(body)? })
}

/// Everything up to the end of the stream.
fn read(stream: &mut TcpStream, deadline: Instant) -> Result<Vec<u8>, ScrapeError> {
    let (mut answer, mut chunk) = (Vec::new(), [0; 16 << 10]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ScrapeError::Broken(ErrorKind::TimedOut.into()));
        }
        stream.set_read_timeout(Some(left)).map_err(ScrapeError::Broken)?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(ScrapeError::Broken(error)),
        }
        if answer.len() > LIMIT {
            return Err(ScrapeError::TooLong);
        }
    }
}
