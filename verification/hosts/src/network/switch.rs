//! What is between the hosts: carries IPv4 packets from one to the other, and loses, doubles and holds up some of them.
//!
//! One thread reads from all tunnels and writes to all tunnels. Each fault is counted when it happens, so that a case
//! can show that it met them. A host that is cut off hears nothing and is not heard, and is told nothing about it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    net::Ipv4Addr,
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{random::Random, tunnel::Tunnel};

/// Longest packet.
const LONGEST: usize = 1 << 16;
/// Packets that are taken from one tunnel before the next has its turn.
const BURST: usize = 32;
/// Longest sleep, in milliseconds.
const TICK: u16 = 20;
/// How long a packet is held up so that others overtake it.
const HELD: Duration = Duration::from_millis(3);

/// What happens to packets; numbers are of a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Vanish.
    pub(crate) lost: u32,
    /// Arrive twice.
    pub(crate) doubled: u32,
    /// Are overtaken by others.
    pub(crate) overtaken: u32,
    /// How long every packet takes.
    pub(crate) delay: Duration,
}

/// What has happened to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Reached a host.
    pub(crate) carried: u64,
    /// Bytes of those.
    pub(crate) bytes: u64,
    /// Vanished by chance.
    pub(crate) lost: u64,
    /// Arrived twice.
    pub(crate) doubled: u64,
    /// Were held up, for others to overtake.
    pub(crate) overtaken: u64,
    /// Vanished as one of the hosts was cut off.
    pub(crate) cut: u64,
    /// Were for none of the hosts, or not taken by the host's device.
    pub(crate) refused: u64,
}

/// A running switch; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Switch {
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    counts: Counts,
    /// By port.
    cut: Vec<bool>,
    /// What is looked for in packets, and how many packets have held it.
    sought: Vec<(Vec<u8>, u64)>,
    stop: bool,
}

impl Switch {
    /// Starts the thread. The hosts are numbered as the ports are given.
    pub(super) fn start(ports: Vec<(Ipv4Addr, Tunnel)>, faults: Faults, seed: u64) -> io::Result<Self> {
        let cut = vec![false; ports.len()];
        let (counts, sought) = (Counts::default(), Vec::new());
        let state = Arc::new(Mutex::new(State { faults, counts, cut, sought, stop: false }));
        let mut carrier = Carrier::new(ports, Arc::clone(&state), Random::new(seed));
        let thread = thread::Builder::new().name("switch".into()).spawn(move || carrier.run())?;
        Ok(Self { state, thread: Some(thread) })
    }

    /// What has happened so far.
    pub(crate) fn counts(&self) -> Counts {
        lock(&self.state).counts
    }

    /// Looks for these words in every packet from now on.
    pub(crate) fn look_for(&self, words: &[&[u8]]) {
        lock(&self.state).sought = words.iter().map(|word| (word.to_vec(), 0)).collect();
    }

    /// How many packets have held each of the words that are looked for.
    pub(crate) fn found(&self) -> Vec<u64> {
        lock(&self.state).sought.iter().map(|(_, count)| *count).collect()
    }

    /// Cuts a host off, or lets it back in.
    pub(crate) fn cut(&self, host: usize, cut: bool) {
        lock(&self.state).cut[host] = cut;
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        lock(&self.state).stop = true;
        if let Some(thread) = self.thread.take() {
            // It does nothing that panics.
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fate {
    copies: u8,
    after: Duration,
}

/// A packet that is held up: until when, its number, for which port, its bytes. So those of one time go in the order in which
/// they came.
type Held = (Instant, u64, usize, Vec<u8>);

/// The thread's own.
struct Carrier {
    tunnels: Vec<Tunnel>,
    ports: HashMap<Ipv4Addr, usize>,
    state: Arc<Mutex<State>>,
    random: Random,
    held: BinaryHeap<Reverse<Held>>,
    number: u64,
}

impl Carrier {
    fn new(ports: Vec<(Ipv4Addr, Tunnel)>, state: Arc<Mutex<State>>, random: Random) -> Self {
        let (addresses, tunnels): (Vec<_>, Vec<_>) = ports.into_iter().unzip();
        let ports = addresses.into_iter().zip(0..).collect();
        Self { tunnels, ports, state, random, held: BinaryHeap::new(), number: 0 }
    }

    fn run(&mut self) {
        let mut room = vec![0; LONGEST];
        while !lock(&self.state).stop {
            let ready = self.sleep();
            for port in ready {
                self.take_from(port, &mut room);
            }
            self.release();
        }
    }

    /// Waits for packets, or until one that is held is due; the ports that have some.
    fn sleep(&self) -> Vec<usize> {
        let due = self.held.peek().map(|Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
        let wait =
            due.map_or(TICK, |due| u16::try_from(due.as_micros().div_ceil(1000)).unwrap_or(TICK).min(TICK));
        let mut polled: Vec<PollFd<'_>> =
            self.tunnels.iter().map(|tunnel| PollFd::new(tunnel.as_fd(), PollFlags::POLLIN)).collect();
        // An interrupted poll is a short sleep.
        let _ = poll(&mut polled, PollTimeout::from(wait));
        let is_ready =
            |polled: &PollFd<'_>| polled.revents().is_some_and(|events| events.contains(PollFlags::POLLIN));
        (0..).zip(&polled).filter(|(_, polled)| is_ready(polled)).map(|(port, _)| port).collect()
    }

    fn take_from(&mut self, port: usize, room: &mut [u8]) {
        for _ in 0..BURST {
            let Some(packet) = self.tunnels[port].receive(room) else { return };
            let packet = packet.to_vec();
            self.judge(port, packet);
        }
    }

    /// Decides what becomes of a packet that came from this port.
    fn judge(&mut self, from: usize, packet: Vec<u8>) {
        let to = destination(&packet).and_then(|address| self.ports.get(&address).copied());
        let state = Arc::clone(&self.state);
        let mut state = lock(&state);
        let State { faults, counts, cut, sought, .. } = &mut *state;
        for (word, count) in sought {
            *count += u64::from(holds(&packet, word));
        }
        let Some(to) = to else {
            counts.refused += 1;
            return;
        };
        if cut[from] || cut[to] {
            counts.cut += 1;
            return;
        }
        let fate = fate(&mut self.random, faults, counts);
        for _ in 0..fate.copies {
            if fate.after.is_zero() && self.held.is_empty() {
                deliver(&self.tunnels[to], &packet, counts);
            } else {
                self.number += 1;
                self.held.push(Reverse((Instant::now() + fate.after, self.number, to, packet.clone())));
            }
        }
    }

    /// Delivers what is due; a host that was cut off meanwhile does not get it.
    fn release(&mut self) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        while self.held.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            let Some(Reverse((_, _, to, packet))) = self.held.pop() else { return };
            if state.cut[to] {
                state.counts.cut += 1;
            } else {
                deliver(&self.tunnels[to], &packet, &mut state.counts);
            }
        }
    }
}

/// Draws what becomes of a packet, and counts it.
fn fate(random: &mut Random, faults: &Faults, counts: &mut Counts) -> Fate {
    // Always as many draws, so that one fault does not change the others.
    let [lost, doubled, overtaken] =
        [faults.lost, faults.doubled, faults.overtaken].map(|share| random.happens(share));
    if lost {
        counts.lost += 1;
        return Fate { copies: 0, after: Duration::ZERO };
    }
    counts.doubled += u64::from(doubled);
    counts.overtaken += u64::from(overtaken);
    let held = if overtaken { HELD } else { Duration::ZERO };
    Fate { copies: 1 + u8::from(doubled), after: faults.delay + held }
}

fn deliver(tunnel: &Tunnel, packet: &[u8], counts: &mut Counts) {
    if tunnel.send(packet) {
        counts.carried += 1;
        counts.bytes += packet.len() as u64;
    } else {
        counts.refused += 1;
    }
}

/// Whether the word stands anywhere in a packet.
fn holds(packet: &[u8], word: &[u8]) -> bool {
    let Some((first, rest)) = word.split_first() else { return false };
    let mut from = packet;
    while let Some(place) = from.iter().position(|byte| byte == first) {
        from = &from[place + 1..];
        if from.starts_with(rest) {
            return true;
        }
    }
    false
}

/// For whom a packet is, if it is one of IPv4 (RFC 791, section 3.1).
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let is_version_4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    is_version_4.then(|| address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_happen_as_often_as_asked_and_each_is_counted() {
        let faults = Faults { lost: 10_000, doubled: 20_000, overtaken: 30_000, delay: HELD };
        let (mut random, mut counts) = (Random::new(7), Counts::default());
        let fates: Vec<Fate> = (0..100_000).map(|_| fate(&mut random, &faults, &mut counts)).collect();
        let of = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count() as u64;
        assert_eq!(of(|fate| fate.copies == 0), counts.lost);
        assert_eq!(of(|fate| fate.copies == 2), counts.doubled);
        assert_eq!(of(|fate| fate.after > HELD), counts.overtaken);
        for (found, share) in [(counts.lost, 1000), (counts.doubled, 2000), (counts.overtaken, 3000)] {
            assert!((share * 8 / 10..share * 12 / 10).contains(&found), "{found} of about {share}");
        }
        let again: Vec<Fate> = {
            let mut random = Random::new(7);
            (0..100_000).map(|_| fate(&mut random, &faults, &mut counts)).collect()
        };
        assert_eq!(fates, again, "the seed decides");
    }

    #[test]
    fn nothing_happens_where_nothing_was_asked_for() {
        let (mut random, mut counts) = (Random::new(7), Counts::default());
        for _ in 0..1000 {
            let fate = fate(&mut random, &Faults::default(), &mut counts);
            assert_eq!(fate, Fate { copies: 1, after: Duration::ZERO });
        }
        assert_eq!(counts, Counts::default());
    }

    #[test]
    fn words_are_found_wherever_they_stand() {
        for (packet, is_there) in
            [(&b"word"[..], true), (b"wowordy", true), (b"a wor, wor", false), (b"wor", false), (b"", false)]
        {
            assert_eq!(holds(packet, b"word"), is_there, "{packet:?}");
        }
        assert!(!holds(b"word", b""));
    }

    #[test]
    fn only_packets_of_ipv4_have_a_destination() {
        let mut packet = [0; 40];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&[10, 77, 0, 2]);
        assert_eq!(destination(&packet), Some(Ipv4Addr::new(10, 77, 0, 2)));
        assert_eq!(destination(&packet[..19]), None);
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&[]), None);
    }
}
