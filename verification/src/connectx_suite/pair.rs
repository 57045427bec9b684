//! Runs a server and its client, or one program, on a simulated device, each with a time bound.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Ended, Task};

/// Between two looks for the server's port.
const LOOK: Duration = Duration::from_millis(5);

/// TCP's state LISTEN in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// Both sides, ended.
#[derive(Debug)]
pub(super) struct Pair {
    /// The side that listened.
    pub(super) server: Ended,
    /// The side that connected; none when the server never listened.
    pub(super) client: Option<Ended>,
}

/// A port that nobody listens on.
///
/// # Errors
/// The system has none.
pub(super) fn free_port() -> std::io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}

/// Runs `server`, and `client` once the server listens on `port`.
///
/// # Errors
/// One of them could not be started.
pub(super) fn run(server: Task, client: &Task, port: u16, limit: Duration) -> std::io::Result<Pair> {
    let server = thread::spawn(move || server.limit(limit).run(&mut |_| {}));
    let deadline = Instant::now() + limit;
    while !is_listening(port) && !server.is_finished() && Instant::now() < deadline {
        thread::sleep(LOOK);
    }
    let client = if is_listening(port) { Some(client.clone().limit(limit).run(&mut |_| {})?) } else { None };
    let server =
        server.join().unwrap_or_else(|_| Err(std::io::Error::other("the server's thread panicked")))?;
    Ok(Pair { server, client })
}

/// Whether any socket of this machine listens on a port.
pub(super) fn is_listening(port: u16) -> bool {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    tables.iter().any(|table| table.lines().any(|line| listens(line, port)))
}

/// A line is `slot: local-address:port remote-address:port state ...`, in hexadecimal.
fn listens(line: &str, port: u16) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let local = words.next().and_then(|address| address.rsplit_once(':'));
    let is_port = local.is_some_and(|(_, text)| u16::from_str_radix(text, 16) == Ok(port));
    is_port && words.nth(1) == Some(LISTENING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_seen_while_it_is_there() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        assert!(is_listening(port));
        drop(listener);
        assert!(!is_listening(port));
    }

    #[test]
    fn only_listening_sockets_count() {
        let line = "   0: 0100007F:4843 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1";
        assert!(listens(line, 0x4843) && !listens(line, 0x4844));
        assert!(!listens(&line.replace(" 0A ", " 01 "), 0x4843));
    }

    #[test]
    fn a_server_that_ends_at_once_has_no_client() {
        let port = free_port().expect("a port");
        let task = |program: &str| Task::new(program, "/");
        let pair = run(task("true"), &task("false"), port, Duration::from_secs(10)).expect("it starts");
        assert!(pair.server.succeeded() && pair.client.is_none());
    }
}
