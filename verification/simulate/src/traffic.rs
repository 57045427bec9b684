//! What happens on links: they are opened, rails carry chunks and break, messages take and return credits.

use std::time::Duration;

use pmd_core::ring::credits::{Arrived, RESERVED};
use pmd_host::{
    backend::ConnectOptions,
    endpoint::{EndpointConfig, RailsConfig},
    rail::{Action, BundleConfig, Fate, RailId, RailSet, Request, Taken, TransferId},
    transfer::{Direction, Priority},
};

use crate::{
    clock::{Nanos, nanos},
    line::{Frame, Freight, Line, LineEvent, Why, Work},
    memory::counted,
    settings::Assumptions,
    violation::Violation,
    world::{Event, World},
};

/// Round trips of linking: TCP's, the greetings', and the endpoint's three requests (terms, open, ready).
const LINKING_TRIPS: u64 = 5;

/// Bytes of what is no chunk: a message, a READ's request, an answer.
const SMALL: u64 = 64;

/// Time until a NIC sends again what was not acknowledged.
fn resend() -> Nanos {
    4096 << ConnectOptions::default().timeout
}

/// Time after which it gives up.
fn give_up() -> Nanos {
    resend() * (1 + Nanos::from(ConnectOptions::default().retry_count))
}

/// Linking.
impl World {
    /// A worker links with a server, if both live and can talk. Each makes its queue pairs one after the other.
    pub(crate) fn link(&mut self, worker: u32, server: u32) {
        let now = self.now();
        let line = self.lines.len() as u32;
        self.lines.push(Line::new([worker, server], &self.settings));
        let setup =
            nanos(self.settings.assumptions.queue_pair_setup) * EndpointConfig::default().queue_pairs as u64;
        let ends = [worker, server].map(|node| node as usize);
        let begin = ends.iter().fold(now, |begin, node| begin.max(self.nodes[*node].sets_up_until));
        for node in ends {
            self.nodes[node].sets_up_until = begin + setup;
        }
        let trips = LINKING_TRIPS * self.settings.assumptions.round_trip();
        let delay = trips + self.latency(Duration::ZERO);
        self.agenda.at(begin + setup + delay, Event::Line { line, event: LineEvent::Opened });
    }

    /// Ends every link of a node that has died.
    pub(crate) fn lose_lines_of(&mut self, node: u32, silently: bool) {
        let of = |(_, line): &(u32, &Line)| line.nodes.contains(&node);
        let lines: Vec<u32> = self.live_lines().filter(of).map(|(number, _)| number).collect();
        for line in lines {
            let (other, bound) = self.other_end(line, node);
            let notices = self.latency(self.settings.assumptions.control_latency);
            (0..self.settings.rails).for_each(|rail| self.watch_rail(line, rail));
            let delay = if silently { bound } else { notices };
            self.agenda.after(delay, Event::Line { line, event: LineEvent::PeerDown { end: other } });
        }
    }

    fn other_end(&self, line: u32, node: u32) -> (usize, Nanos) {
        let end = usize::from(self.lines[line as usize].nodes[0] == node);
        (end, nanos(EndpointConfig::default().down_after))
    }

    /// Whatever happens on a link.
    pub(crate) fn happen(&mut self, line: u32, event: LineEvent) {
        if self.lines[line as usize].is_over {
            return self.drop_work(event);
        }
        match event {
            LineEvent::Opened => {}
            LineEvent::There { end, rail, freight } => self.there(line, end, rail, freight),
            LineEvent::Back { end, rail, freight } => self.back(line, end, rail, freight),
            LineEvent::Probed { end, rail } => self.probed(line, end, rail),
            LineEvent::Closing { end, rail } => self.close_rail(line, end, rail),
            LineEvent::GivesUp { end, rail } => self.give_up(line, end, rail),
            LineEvent::Ended { end, rail } => self.lose_rail(line, end, rail),
            LineEvent::Control { to, frame } => self.hear(line, to, frame),
            LineEvent::Submit { end } => self.submit(line, end),
            LineEvent::Send { end, count } => {
                self.lines[line as usize].ends[end].to_send += count;
                self.pump(line, end);
            }
            LineEvent::Message { to, kind, credits } => self.message(line, to, kind, credits),
            LineEvent::Timer { end, at } => {
                let end = &mut self.lines[line as usize].ends[end];
                end.timer = end.timer.filter(|timer| *timer != at);
            }
            LineEvent::PeerDown { end } => return self.peer_down(line, end),
        }
        self.settle(line);
    }

    /// What was still to be asked of a link that is over.
    fn drop_work(&mut self, event: LineEvent) {
        self.counts.unfinished -= match event {
            LineEvent::Submit { .. } => 1,
            LineEvent::Send { count, .. } => count.into(),
            _ => 0,
        };
    }

    /// Carries out what both bundles want.
    fn settle(&mut self, line: u32) {
        let clock = self.agenda.clock();
        for end in 0..2 {
            while let Some(action) = self.lines[line as usize].ends[end].with(|bundle| bundle.poll(clock)) {
                self.act(line, end, action);
            }
            let here = &mut self.lines[line as usize].ends[end];
            let next = here.bundle.next_timer().map(|at| nanos(at).max(nanos(clock) + 1));
            if let Some(at) = next.filter(|at| here.timer.is_none_or(|timer| *at < timer)) {
                here.timer = Some(at);
                self.agenda.at(at, Event::Line { line, event: LineEvent::Timer { end, at } });
            }
        }
        let rails = self.settings.rails;
        let known = &mut self.lines[line as usize];
        if !known.is_up && known.has_all_rails(rails) {
            known.is_up = true;
            self.counts.linked += 1;
            self.counts.last_linked = nanos(clock);
        }
    }

    fn act(&mut self, line: u32, end: usize, action: Action<Why>) {
        let Assumptions { queue_pair_setup, closing, rail_latency, .. } = self.settings.assumptions;
        match action {
            Action::Post { rail, chunk } => self.post(line, end, rail, Freight::Chunk(chunk)),
            Action::Notify { rail, transfer, sequence, settled } => {
                if !self.work(line, end, transfer).is_there() {
                    self.broken(Violation::Early { line });
                }
                self.post(line, end, rail, Freight::Notification { transfer, sequence, settled });
            }
            Action::Open { rail } => {
                self.lines[line as usize].ends[end].open.insert(rail.number, rail.life);
                self.say_to_peer(line, end, Frame::Offer(rail), nanos(queue_pair_setup));
            }
            Action::Probe { rail } => {
                let out = self.broken_until(line, rail.number) > self.now();
                let trip = 2 * self.latency(rail_latency);
                let delay = if out { nanos(BundleConfig::default().probe) } else { trip };
                self.later(line, delay, LineEvent::Probed { end, rail });
            }
            Action::Close { rail } => {
                self.counts.rails_lost += 1;
                self.later(line, nanos(closing), LineEvent::Closing { end, rail });
            }
            // That the other end is closed is seen a trip later.
            Action::Drain { rail } => {
                let trip = self.latency(rail_latency);
                self.later(line, trip, LineEvent::Ended { end, rail });
            }
            Action::Tell { rail } => self.say_to_peer(line, end, Frame::Quiet(rail), 0),
            // Nothing is stopped here: what is in hand lands or comes back.
            Action::Stop { .. } => {}
            Action::Finish { transfer, outcome, .. } => self.finish(line, end, transfer, outcome),
        }
    }

    fn later(&mut self, line: u32, delay: Nanos, event: LineEvent) {
        self.agenda.after(delay, Event::Line { line, event });
    }

    /// A frame for the peer, after those before it.
    fn say_to_peer(&mut self, line: u32, end: usize, frame: Frame, setup: Nanos) {
        let latency = self.latency(self.settings.assumptions.control_latency);
        let leaves = (self.now() + setup).max(self.cut_until(line));
        let to = 1 - end;
        let there = &mut self.lines[line as usize].ends[to];
        there.frames_arrive = there.frames_arrive.max(leaves + latency);
        self.agenda.at(there.frames_arrive, Event::Line { line, event: LineEvent::Control { to, frame } });
    }

    fn hear(&mut self, line: u32, to: usize, frame: Frame) {
        let clock = self.agenda.clock();
        let setup = nanos(self.settings.assumptions.queue_pair_setup);
        let here = &mut self.lines[line as usize].ends[to];
        match frame {
            Frame::Offer(rail) => {
                let taken = here.with(|bundle| bundle.offered(rail));
                if taken {
                    here.open.insert(rail.number, rail.life);
                    here.with(|bundle| bundle.opened(rail, clock));
                }
                self.say_to_peer(line, to, Frame::Answer(rail, taken), setup);
            }
            Frame::Answer(rail, true) => here.with(|bundle| bundle.opened(rail, clock)),
            Frame::Answer(rail, false) => here.with(|bundle| bundle.lost(rail)),
            Frame::Quiet(rail) => here.with(|bundle| bundle.heard(rail, clock)),
        }
    }
}

/// Rails.
impl World {
    fn work(&mut self, line: u32, end: usize, transfer: TransferId) -> &mut Work {
        let work = &mut self.lines[line as usize].ends[end].work;
        work.get_mut(&transfer).expect("a transfer of this link")
    }

    fn submit(&mut self, line: u32, end: usize) {
        let chunks = vec![RailsConfig::default().chunk; self.settings.chunks as usize];
        let direction = if self.agenda.below(3) == 0 { Direction::Read } else { Direction::Write };
        let (notify, near, priority) = (true, RailSet::ALL, Priority::Normal);
        let request = Request { chunks: &chunks, direction, notify, priority, near };
        let here = &mut self.lines[line as usize].ends[end];
        let transfer = here.with(|bundle| bundle.submit(&request));
        let work = Work { direction, chunks: self.settings.chunks, there: 0, told: 0, ended: false };
        here.work.insert(transfer, work);
    }

    fn post(&mut self, line: u32, end: usize, rail: RailId, freight: Freight) {
        let here = &mut self.lines[line as usize].ends[end];
        if !here.is_open(rail) {
            return self.come_back(line, end, rail, freight);
        }
        here.outstanding.insert((rail, freight));
        let bytes = self.bytes_there(line, end, freight);
        let arrives = self.carry(line, end, rail, bytes);
        self.agenda.at(arrives, Event::Line { line, event: LineEvent::There { end, rail, freight } });
        let out = self.broken_until(line, rail.number) > self.now();
        if out {
            self.later(line, give_up(), LineEvent::GivesUp { end, rail });
        }
    }

    /// Bytes on the way to the other end.
    fn bytes_there(&mut self, line: u32, end: usize, freight: Freight) -> u64 {
        match freight {
            Freight::Chunk(chunk) if self.work(line, end, chunk.transfer).direction == Direction::Write => {
                RailsConfig::default().chunk
            }
            _ => SMALL,
        }
    }

    /// When bytes that an end sends now are there: behind all that its NIC sends and the other one receives.
    fn carry(&mut self, line: u32, end: usize, rail: RailId, bytes: u64) -> Nanos {
        let Assumptions { rail_latency, rail_bandwidth, .. } = self.settings.assumptions;
        let latency = self.latency(rail_latency);
        let (from, to) = (self.nic(line, end, rail.number), self.nic(line, 1 - end, rail.number));
        let time = Assumptions::time_of(bytes, rail_bandwidth);
        let sent = self.nics[from].sends_until.max(self.now()) + time;
        self.nics[from].sends_until = sent;
        let received = (self.nics[to].receives_until + time).max(sent + latency);
        self.nics[to].receives_until = received;
        received
    }

    fn there(&mut self, line: u32, end: usize, rail: RailId, freight: Freight) {
        let out_until = self.broken_until(line, rail.number);
        if out_until > self.now() {
            let again = resend();
            return self.later(line, again, LineEvent::There { end, rail, freight });
        }
        if !self.lines[line as usize].ends[1 - end].is_open(rail) {
            return;
        }
        let bytes = match freight {
            Freight::Chunk(chunk) => self.chunk_there(line, end, chunk),
            Freight::Notification { transfer, sequence, settled } => {
                self.told(line, end, transfer, (sequence, settled));
                SMALL
            }
        };
        let back = self.carry(line, 1 - end, rail, bytes);
        self.agenda.at(back, Event::Line { line, event: LineEvent::Back { end, rail, freight } });
    }

    /// A chunk, or the request for one, is at the other end. Returns the bytes that come back.
    fn chunk_there(&mut self, line: u32, end: usize, chunk: pmd_host::rail::ChunkId) -> u64 {
        if self.work(line, end, chunk.transfer).direction == Direction::Read {
            return RailsConfig::default().chunk;
        }
        self.land(line, end, chunk);
        SMALL
    }

    /// The bytes of a chunk are in the memory that they are for.
    fn land(&mut self, line: u32, end: usize, chunk: pmd_host::rail::ChunkId) {
        let work = self.work(line, end, chunk.transfer);
        let bit = 1_u64 << chunk.index;
        let is_late = work.ended || work.told > 0;
        let was_there = work.there & bit != 0;
        work.there |= bit;
        self.counts.chunks += 1;
        self.counts.again += u64::from(was_there);
        if is_late {
            self.broken(Violation::Late { line });
        }
    }

    /// A notification is at the other end.
    fn told(&mut self, line: u32, end: usize, transfer: TransferId, (sequence, settled): (u64, u64)) {
        let there = &mut self.lines[line as usize].ends[1 - end];
        let taken = counted(&mut there.held, || there.inbox.take(sequence, settled));
        if taken != Taken::New {
            self.counts.repeated += 1;
            return;
        }
        let work = self.work(line, end, transfer);
        work.told += 1;
        let is_early = !work.is_there() || work.ended;
        if is_early {
            self.broken(Violation::Early { line });
        }
    }

    fn back(&mut self, line: u32, end: usize, rail: RailId, freight: Freight) {
        if self.broken_until(line, rail.number) > self.now() {
            let again = resend();
            return self.later(line, again, LineEvent::Back { end, rail, freight });
        }
        let clock = self.agenda.clock();
        let here = &mut self.lines[line as usize].ends[end];
        if !here.is_open(rail) || !here.outstanding.remove(&(rail, freight)) {
            return;
        }
        match freight {
            Freight::Chunk(chunk) => {
                if self.work(line, end, chunk.transfer).direction == Direction::Read {
                    self.land(line, end, chunk);
                }
                self.lines[line as usize].ends[end].with(|bundle| bundle.landed(rail, chunk, clock));
            }
            Freight::Notification { transfer, .. } => here.with(|bundle| bundle.notified(rail, transfer)),
        }
    }

    fn probed(&mut self, line: u32, end: usize, rail: RailId) {
        let through = self.broken_until(line, rail.number) <= self.now()
            && self.lines[line as usize].ends.iter().all(|end| end.is_open(rail));
        let clock = self.agenda.clock();
        self.lines[line as usize].ends[end]
            .with(|bundle| if through { bundle.answered(rail, clock) } else { bundle.lost(rail) });
    }

    fn close_rail(&mut self, line: u32, end: usize, rail: RailId) {
        self.break_off(line, end, rail);
        let clock = self.agenda.clock();
        self.lines[line as usize].ends[end].with(|bundle| bundle.closed(rail, clock));
    }

    /// A NIC has sent something again and again without an answer.
    fn give_up(&mut self, line: u32, end: usize, rail: RailId) {
        let is_out = self.broken_until(line, rail.number) > self.now();
        let here = &self.lines[line as usize].ends[end];
        if is_out && here.outstanding.iter().any(|(on, _)| *on == rail) {
            self.lose_rail(line, end, rail);
        }
    }

    /// A rail that is open at an end is not any more, and what was outstanding comes back.
    fn lose_rail(&mut self, line: u32, end: usize, rail: RailId) {
        if self.lines[line as usize].ends[end].is_open(rail) {
            self.break_off(line, end, rail);
            self.lines[line as usize].ends[end].with(|bundle| bundle.lost(rail));
        }
    }

    /// This end of a rail takes nothing more, and what was outstanding comes back.
    fn break_off(&mut self, line: u32, end: usize, rail: RailId) {
        let here = &mut self.lines[line as usize].ends[end];
        if here.is_open(rail) {
            here.open.remove(&rail.number);
        }
        let of: Vec<_> = here.outstanding.iter().copied().filter(|(on, _)| *on == rail).collect();
        for (rail, freight) in of {
            self.lines[line as usize].ends[end].outstanding.remove(&(rail, freight));
            self.come_back(line, end, rail, freight);
        }
    }

    fn come_back(&mut self, line: u32, end: usize, rail: RailId, freight: Freight) {
        let clock = self.agenda.clock();
        self.counts.returned += u64::from(matches!(freight, Freight::Chunk(_)));
        let fate = Fate::Lost(Why::Rail);
        self.lines[line as usize].ends[end].with(|bundle| match freight {
            Freight::Chunk(chunk) => bundle.returned(rail, chunk, fate, clock),
            Freight::Notification { transfer, .. } => bundle.unnotified(rail, transfer, fate),
        });
    }

    fn finish(&mut self, line: u32, end: usize, transfer: TransferId, outcome: Result<u64, Why>) {
        let is_over = self.lines[line as usize].is_over;
        let work = self.work(line, end, transfer);
        work.ended = true;
        let (told, is_there) = (work.told, work.is_there());
        let expected = u64::from(work.chunks) * RailsConfig::default().chunk;
        self.counts.unfinished -= 1;
        match outcome {
            Ok(found) => {
                self.counts.transfers += 1;
                self.counts.bytes += found;
                self.counts.without_scheduler += u64::from(!self.office.is_there());
                if found != expected || !is_there {
                    self.broken(Violation::Bytes { line, found, expected });
                }
                if told != 1 {
                    self.broken(Violation::Told { line, times: told });
                }
            }
            Err(_) => {
                self.counts.failed += 1;
                if !is_over {
                    self.broken(Violation::Failed { line });
                }
            }
        }
    }

    /// A NIC breaks: what is outstanding on it is given up, unless it is mended before.
    pub(crate) fn break_nic(&mut self, nic: u32, length: Nanos) {
        let until = self.now() + length;
        let broken = &mut self.nics[nic as usize];
        broken.broken_until = broken.broken_until.max(until);
        let rails = u32::from(self.settings.rails);
        let (node, rail) = (nic / rails, (nic % rails) as u16);
        let of = |(_, line): &(u32, &Line)| line.nodes.contains(&node);
        let lines: Vec<u32> = self.live_lines().filter(of).map(|(number, _)| number).collect();
        for line in lines {
            self.watch_rail(line, rail);
        }
    }

    /// Both ends of a rail that has just broken will notice, if they have something outstanding.
    pub(crate) fn watch_rail(&mut self, line: u32, rail: u16) {
        for end in 0..2 {
            if let Some(life) = self.lines[line as usize].ends[end].open.get(&rail).copied() {
                let rail = RailId { number: rail, life };
                self.later(line, give_up(), LineEvent::GivesUp { end, rail });
            }
        }
    }
}

/// Messages.
impl World {
    /// Sends what credits allow, and credits where they are due.
    fn pump(&mut self, line: u32, end: usize) {
        let here = &mut self.lines[line as usize].ends[end];
        let mut ready = Vec::new();
        while here.to_send > 0 && here.credits.take() {
            here.to_send -= 1;
            ready.push((Arrived::Message, here.account.attach()));
        }
        if here.account.owes() {
            ready.push((Arrived::Empty, here.account.attach()));
        }
        for (kind, credits) in ready {
            self.send_message(line, 1 - end, kind, credits);
        }
    }

    fn send_message(&mut self, line: u32, to: usize, kind: Arrived, credits: u16) {
        let latency = self.latency(self.settings.assumptions.rail_latency);
        let leaves = self.now().max(self.cut_until(line));
        let receives = EndpointConfig::default().message_receives;
        let there = &mut self.lines[line as usize].ends[to];
        there.messages_arrive = there.messages_arrive.max(leaves + latency);
        there.coming.push_back(kind);
        let empty = there.coming.iter().filter(|kind| **kind == Arrived::Empty).count() as u32;
        let is_too_much = there.coming.len() as u32 > receives + RESERVED || empty >= RESERVED;
        let arrives = there.messages_arrive;
        self.agenda.at(arrives, Event::Line { line, event: LineEvent::Message { to, kind, credits } });
        if is_too_much {
            self.broken(Violation::NoReceive { line });
        }
    }

    fn message(&mut self, line: u32, to: usize, kind: Arrived, credits: u16) {
        let here = &mut self.lines[line as usize].ends[to];
        here.coming.pop_front();
        here.credits.give(here.account.arrived(kind, credits, 0));
        match kind {
            Arrived::Message => {
                self.counts.messages += 1;
                self.counts.unfinished -= 1;
            }
            Arrived::Empty => self.counts.credit_messages += 1,
        }
        self.pump(line, to);
    }
}

/// Ends.
impl World {
    /// An end has noticed that its peer is gone, or takes it for gone: the link is over, at both ends.
    fn peer_down(&mut self, line: u32, end: usize) {
        self.lines[line as usize].is_over = true;
        self.counts.linked -= u64::from(self.lines[line as usize].is_up);
        // The other end has died, or comes to the same conclusion at about this time.
        for end in [end, 1 - end] {
            let here = &mut self.lines[line as usize].ends[end];
            here.with(|bundle| bundle.peer_down(Why::Peer));
            here.open.clear();
            let outstanding = std::mem::take(&mut here.outstanding);
            let to_send = std::mem::take(&mut here.to_send);
            let coming = here.coming.iter().filter(|kind| **kind == Arrived::Message).count();
            here.coming.clear();
            self.counts.unfinished -= u64::from(to_send) + coming as u64;
            for (rail, freight) in outstanding {
                self.come_back(line, end, rail, freight);
            }
            self.end_transfers(line, end);
        }
    }

    /// Every transfer ends, and nothing else is to be done.
    fn end_transfers(&mut self, line: u32, end: usize) {
        let clock = self.agenda.clock();
        while let Some(action) = self.lines[line as usize].ends[end].with(|bundle| bundle.poll(clock)) {
            if let Action::Finish { transfer, outcome, .. } = action {
                self.finish(line, end, transfer, outcome);
            }
        }
        let left = self.lines[line as usize].ends[end].bundle.unfinished() as u64;
        if left > 0 {
            self.broken(Violation::Stuck { phase: "peer down", seconds: 0, left });
        }
    }

    /// Both ends of a link take each other for dead after this time.
    pub(crate) fn part(&mut self, line: u32, delay: Nanos) {
        self.later(line, delay, LineEvent::PeerDown { end: 0 });
    }
}
