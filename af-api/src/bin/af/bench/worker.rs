//! The benchmark's asking process: round trips, one after the other, and copies to compare them with. On a device they take
//! their turn in a stream, as a program's between its kernels.
#![allow(unsafe_code)] // fills, reads and copies tensors between requests

use std::time::{Duration, Instant};

use af_api::{
    tensor::{Layout, Tensor},
    trace::{self, PeerReport},
    worker::{PushPull, Worker},
};

use super::{
    RoleArguments, Shape,
    content::Content,
    protocol::{Phase, Report, VERIFIED},
};
use crate::{
    Outcome,
    child::{self, Lifeline},
    cluster,
    failure::Failure,
    memory::Room,
    options::PATIENCE,
};

/// Key of what is pushed; that of what is pulled has the next bit.
const KEY: u64 = 1 << 8;
const PULL_KEY: u64 = KEY | 1 << 24;

/// Runs a worker: all iterations, then it says what it measured.
pub(crate) fn run(arguments: &RoleArguments) -> Outcome {
    let RoleArguments { place, shape, common } = arguments;
    // A worker ends by itself, or with its parent.
    let _lifeline = Lifeline::watch();
    let mut member = cluster::Worker::join(place, *common)?;
    let servers = place.size.servers;
    let room = std::mem::take(&mut member.room);
    let mut bench = Bench::new(&member.worker, room, shape, (place.rank, servers))?;
    let mut begun = (Instant::now(), 0);
    for round in 0..shape.rounds() {
        if round == shape.warmup {
            begun = (Instant::now(), member.work_requests(servers));
            bench.samples = Samples::default();
            member.worker.recorder().reset();
        }
        bench.iterate(round)?;
    }
    let seconds = begun.0.elapsed().as_secs_f64();
    let posted = member.work_requests(servers) - begun.1;
    let Samples { total, post, memcpy } = bench.samples;
    let microseconds =
        |samples: Vec<Duration>| samples.iter().map(|sample| sample.as_secs_f64() * 1e6).collect();
    child::say(&Report {
        transport: member.transport(),
        total: microseconds(total),
        post: microseconds(post),
        memcpy: microseconds(memcpy),
        seconds,
        work_requests: posted as f64 / f64::from(shape.iters),
        phases: phases(&member.worker)?,
    });
    member.leave()
}

/// Every phase of the push-pulls to every server; those at the servers are of the push-pulls that they still know.
fn phases(worker: &Worker) -> Result<Vec<Phase>, Failure> {
    worker.fetch_traces(PATIENCE)?;
    let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    let of_peer = |peer: &PeerReport| {
        let phase = |(phase, figures): &(trace::Phase, trace::Summary)| Phase {
            server: peer.name.clone(),
            name: phase.name().to_owned(),
            mean: microseconds(figures.mean),
            p50: microseconds(figures.p50),
            p90: microseconds(figures.p90),
            p99: microseconds(figures.p99),
            max: microseconds(figures.maximum),
        };
        peer.phases.iter().map(phase).collect::<Vec<_>>()
    };
    Ok(worker.recorder().peers().iter().flat_map(of_peer).collect())
}

struct Bench<'a> {
    worker: &'a Worker,
    room: Room,
    shape: &'a Shape,
    rank: u32,
    request: PushPull,
    pushed: Tensor,
    /// One for each server.
    pulled: Vec<Tensor>,
    /// Other ends of the copies: of what is pushed, and of what is pulled.
    stand_ins: Option<[Tensor; 2]>,
    samples: Samples,
}

#[derive(Default)]
struct Samples {
    total: Vec<Duration>,
    post: Vec<Duration>,
    memcpy: Vec<Duration>,
}

impl<'a> Bench<'a> {
    fn new(
        worker: &'a Worker,
        room: Room,
        shape: &'a Shape,
        (rank, servers): (u32, u32),
    ) -> Result<Self, Failure> {
        let tensor = |bytes: u32| room.tensor(worker.endpoint(), Layout::of_bytes(bytes));
        let pushed = tensor(shape.push_bytes)?;
        let pulled = (0..servers).map(|_| tensor(shape.pull_bytes)).collect::<Result<Vec<_>, _>>()?;
        let compares = shape.compare_memcpy && rank == 0;
        let stand_ins = compares.then(|| Ok([tensor(shape.push_bytes)?, tensor(shape.pull_bytes)?]));
        let request = PushPull::new().push(KEY, &pushed);
        let request = pulled.iter().fold(request, |request, tensor| request.pull(PULL_KEY, tensor));
        let stand_ins = stand_ins.transpose().map_err(|error: Failure| error)?;
        let samples = Samples::default();
        Ok(Self { worker, room, shape, rank, request, pushed, pulled, stand_ins, samples })
    }

    fn iterate(&mut self, round: u32) -> Outcome {
        // In turns before and after the round trip, so that neither always finds the caches as the other left them.
        if round.is_multiple_of(2) {
            self.copy()?;
        }
        self.round_trip(round)?;
        if !round.is_multiple_of(2) {
            self.copy()?;
        }
        Ok(())
    }

    fn round_trip(&mut self, round: u32) -> Outcome {
        let verified = self.shape.verifies(round);
        if verified {
            let content = Content { round, worker: self.rank, server: None };
            // SAFETY: no request is in flight.
            unsafe { self.room.fill(&self.pushed, |bytes| content.fill(bytes))? };
        }
        let request = self.request.clone().tag(if verified { round | VERIFIED } else { round });
        let begun = Instant::now();
        let deadline = Some(begun + PATIENCE);
        let handle = match self.room.stream() {
            Some(stream) => self.worker.push_pull_on(stream, &request, deadline)?,
            None => self.worker.push_pull(&request, deadline)?,
        };
        let post = begun.elapsed();
        handle.wait(Some(begun + PATIENCE))?;
        self.samples.total.push(begun.elapsed());
        self.samples.post.push(post);
        if verified { self.check(round) } else { Ok(()) }
    }

    fn check(&mut self, round: u32) -> Outcome {
        for (server, pulled) in (0..).zip(&self.pulled) {
            let content = Content { round, worker: self.rank, server: Some(server) };
            // SAFETY: no request is in flight.
            if !content.is_in(&unsafe { self.room.bytes(pulled)? }) {
                return Err(Failure::Differs { what: "pulled", iteration: round });
            }
        }
        Ok(())
    }

    /// The same bytes within this process, as many times as there are servers.
    fn copy(&mut self) -> Outcome {
        let Some([to, from]) = &self.stand_ins else { return Ok(()) };
        let begun = Instant::now();
        for pulled in &self.pulled {
            // SAFETY: no request is in flight, and all are different memory.
            unsafe {
                self.room.copy(&self.pushed, to)?;
                self.room.copy(from, pulled)?;
            }
        }
        self.samples.memcpy.push(begun.elapsed());
        Ok(())
    }
}
