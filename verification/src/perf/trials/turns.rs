//! Eight bytes to a thread and back over loopback, by how the sockets are watched: the limit of a small write over TCP.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{
    Effort, TrialError,
    figure::Figure,
    tcp::{PATIENCE, pair},
};
use crate::perf::copy::median;

/// Bytes of a turn.
const BYTES: usize = 8;

/// The message that ends the answers.
const LAST: [u8; BYTES] = [0xff; BYTES];

/// How an end waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Sleeps in recv.
    Sleep,
    /// Calls recv until there is something.
    Spin,
    /// Calls epoll_wait without waiting until it tells of something, then recv: a lane.
    Watch,
    /// The same, and gives the processor away where there is nothing: a lane that is one of many.
    WatchYield,
}

/// One end.
struct End {
    socket: TcpStream,
    epoll: Epoll,
    wait: Wait,
}

/// Microseconds of one way, which is half of a turn.
pub(super) fn round_trips(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let ways = [
        ("epoll_wait(0), recv", Wait::Watch),
        ("epoll_wait(0), recv, sched_yield", Wait::WatchYield),
        ("recv that does not wait", Wait::Spin),
        ("recv that sleeps", Wait::Sleep),
    ];
    let figure = |(name, wait)| {
        let times = turns(effort, wait)?;
        let mean = times.iter().sum::<f64>() / times.len() as f64 / 2e3;
        let figure = Figure::new("8 B over TCP, one way", name, median(&times) / 2e3, "us");
        Ok(figure.noting(format!("{} turns, mean {mean:.1} us", times.len())).default_if(wait == Wait::Watch))
    };
    ways.into_iter().map(figure).collect()
}

/// Nanoseconds of each turn; there is at least one.
fn turns(effort: Effort, wait: Wait) -> Result<Vec<f64>, TrialError> {
    let (one, other) = pair()?;
    let (mut asks, mut answers) = (End::new(one, wait)?, End::new(other, wait)?);
    thread::scope(|scope| {
        let answering = scope.spawn(move || answers.answer());
        let asked = asks.ask(Duration::from_millis(effort.milliseconds * effort.passes as u64));
        // Also where asking has failed: the other end would wait for it.
        let ended = asks.send(LAST);
        let answered = answering.join().unwrap_or(Err(TrialError::Silent { what: "the other end" }));
        let times = asked?;
        ended.and(answered)?;
        Ok(times)
    })
}

impl End {
    fn new(socket: TcpStream, wait: Wait) -> Result<Self, TrialError> {
        socket.set_nonblocking(wait != Wait::Sleep).map_err(TrialError::system("fcntl"))?;
        let epoll = watch(&socket)?;
        Ok(Self { socket, epoll, wait })
    }

    /// Sends numbers and takes them back until `duration` is over; gives the nanoseconds of each turn.
    fn ask(&mut self, duration: Duration) -> Result<Vec<f64>, TrialError> {
        let (begun, mut times) = (Instant::now(), Vec::new());
        while times.is_empty() || begun.elapsed() < duration {
            let start = Instant::now();
            let number = (times.len() as u64).to_ne_bytes();
            self.send(number)?;
            if self.receive()? != number {
                return Err(TrialError::Corrupt { what: format!("{:?}", self.wait) });
            }
            times.push(start.elapsed().as_secs_f64() * 1e9);
        }
        Ok(times)
    }

    /// Sends back what comes, until the last.
    fn answer(&mut self) -> Result<(), TrialError> {
        loop {
            match self.receive()? {
                LAST => return Ok(()),
                number => self.send(number)?,
            }
        }
    }

    fn send(&mut self, bytes: [u8; BYTES]) -> Result<(), TrialError> {
        // So few bytes always fit into a socket that has one message at most.
        self.socket.write_all(&bytes).map_err(TrialError::system("send"))
    }

    fn receive(&mut self) -> Result<[u8; BYTES], TrialError> {
        let (mut bytes, mut at, mut waits) = ([0; BYTES], 0, 0_u32);
        let mut begun = None;
        while at < BYTES {
            let look = !matches!(self.wait, Wait::Watch | Wait::WatchYield) || !is_quiet(&self.epoll);
            match if look {
                self.socket.read(&mut bytes[at..])
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            } {
                Ok(0) => return Err(TrialError::Silent { what: "the other end" }),
                Ok(count) => at += count,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock || self.wait == Wait::Sleep => {
                    return Err(TrialError::System { call: "recv", error });
                }
                Err(_) => {
                    waits += 1;
                    // The clock is not looked at in each.
                    if waits.is_multiple_of(1024)
                        && begun.get_or_insert_with(Instant::now).elapsed() > PATIENCE
                    {
                        return Err(TrialError::Silent { what: "the other end" });
                    }
                    if self.wait == Wait::WatchYield {
                        thread::yield_now();
                    }
                }
            }
        }
        Ok(bytes)
    }
}

/// A poll set with one socket, edge-triggered as an engine's.
pub(super) fn watch(socket: &TcpStream) -> Result<Epoll, TrialError> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(TrialError::system("epoll_create1"))?;
    let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
    epoll.add(socket, event).map_err(TrialError::system("epoll_ctl"))?;
    Ok(epoll)
}

/// Whether nothing has happened in a poll set. Never waits.
pub(super) fn is_quiet(epoll: &Epoll) -> bool {
    let mut events = [EpollEvent::empty(); 32];
    epoll.wait(&mut events, EpollTimeout::ZERO) == Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_gets_its_numbers_back() {
        let effort = Effort { bytes: 0, passes: 1, milliseconds: 1 };
        for wait in [Wait::Sleep, Wait::Spin, Wait::Watch, Wait::WatchYield] {
            let times = turns(effort, wait).expect("turns");
            assert!(!times.is_empty() && times.iter().all(|time| *time > 0.0), "{wait:?}");
        }
    }

    #[test]
    fn an_end_that_is_alone_is_told() {
        for wait in [Wait::Sleep, Wait::Watch] {
            let (one, other) = pair().expect("loopback");
            drop(other);
            let mut end = End::new(one, wait).expect("an end");
            assert!(matches!(end.receive(), Err(TrialError::Silent { what: "the other end" })), "{wait:?}");
        }
    }
}
