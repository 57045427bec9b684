//! Captured push-pulls of tensors in memory of the accelerator, on both sides: in graphs where its streams are captured,
//! elsewhere by the same calls anew for each launch.

use std::sync::Arc;

use af_api::{
    graph::{Answering, CapturedExchange, CapturedService, ExchangeCause, LaunchError},
    server::Server,
    tensor::Tensor,
    worker::{PushPull, Worker},
};
use pmd_core::accelerator::{CopyRange, Stream};

use super::{counts, place_of, read, round, server, soon, tensor, worker};
use crate::{
    bench::Graph,
    cases::{Case, case, kv::nothing_left},
    child::{Child, answer, order},
    context::{Context, Outcome, Pinned, copies, pattern, to_device, to_host, within},
};

pub(in crate::cases) const CASES: &[Case] = &[
    case("graphs::tensors_go_both_ways_at_every_launch_and_nothing_is_left", replays),
    case("graphs::launches_of_several_layers_overlap", layers),
    case("graphs::a_killed_server_fails_launches_and_their_stream_goes_on", killed_server),
    case("graphs::a_closed_worker_fails_launches_and_the_next_one_is_served", closed_worker),
];

/// Bytes of each tensor that goes one way in a push-pull.
const SIZES: [usize; 3] = [8, 40_000, 4_099];

/// Bytes of all of them.
const TOTAL: usize = SIZES[0] + SIZES[1] + SIZES[2];

/// Gives a stream what one launch does.
type Put = dyn Fn(&dyn Stream);

/// Launches of one side.
struct Launches {
    stream: Arc<dyn Stream>,
    put: Box<Put>,
    graph: Option<Graph>,
}

impl Launches {
    /// Of what the function puts into a stream. It keeps what the stream uses.
    fn of(context: &Context, put: impl Fn(&dyn Stream) + 'static) -> Self {
        let stream = context.stream();
        let graph = context.name.capture(&stream, &put);
        Self { stream, put: Box::new(put), graph }
    }

    fn launch(&self) {
        match &self.graph {
            Some(graph) => graph.launch(&self.stream),
            None => (self.put)(&*self.stream),
        }
    }
}

/// The worker's layer.
struct Pushing {
    exchange: Arc<CapturedExchange>,
    launches: Launches,
    pushes: [Tensor; 3],
    pulls: [Tensor; 3],
}

impl Pushing {
    /// Pushes and pulls under three keys, from this one on.
    fn new(context: &Context, worker: &Worker, first: u64) -> Self {
        let of_device = || SIZES.map(|bytes| tensor(context, worker.endpoint(), &vec![0; bytes]));
        let (pushes, pulls) = (of_device(), of_device());
        let mut request = PushPull::new();
        for (key, (push, pull)) in (first..).zip(pushes.iter().zip(&pulls)) {
            request = request.push_to(0, key, push).pull_from(0, key, pull);
        }
        let captured = worker.capture(&*context.accelerator, &request, Some(context.patience));
        let exchange = Arc::new(captured.expect("an exchange"));
        let put = Arc::clone(&exchange);
        let launches = Launches::of(context, move |stream| put.put(stream).expect("an exchange in a stream"));
        Self { exchange, launches, pushes, pulls }
    }

    /// Launches it between copies of what it is to push and of what it has pulled.
    fn launch(&self, (from, to): (u64, u64)) {
        let stream = &*self.launches.stream;
        let bring = ranges(&self.pushes, from, to_device);
        copies(stream, &bring).expect("copies in front");
        self.launches.launch();
        let take = ranges(&self.pulls, to, |host, device, length| to_host(device, host, length));
        copies(stream, &take).expect("copies behind");
    }

    /// What it has pulled last.
    fn pulled(&self, context: &Context) -> Vec<u8> {
        self.pulls.iter().flat_map(|pull| read(context, pull)).collect()
    }
}

/// Tensors and memory of the host of which each takes a part.
fn ranges(tensors: &[Tensor], host: u64, range: impl Fn(u64, u64, usize) -> CopyRange) -> Vec<CopyRange> {
    let mut at = host;
    let next = |tensor: &Tensor| {
        let length = tensor.bytes() as usize;
        at += length as u64;
        range(at - length as u64, tensor.address(), length)
    };
    tensors.iter().map(next).collect()
}

/// The server's layer, which answers with the halves of each tensor exchanged.
struct Answers {
    service: Arc<CapturedService>,
    launches: Launches,
}

impl Answers {
    fn new(context: &Context, server: &Server, first: u64) -> Self {
        let of_device = || SIZES.map(|bytes| tensor(context, server.endpoint(), &vec![0; bytes]));
        let (received, answers) = (of_device(), of_device());
        let mut answering = Answering::new(0);
        for (key, (received, answer)) in (first..).zip(received.iter().zip(&answers)) {
            server.offer(0, key, received, 1).expect("a buffer");
            answering = answering.pushed(key, received).answer(answer);
        }
        let captured = server.capture(&*context.accelerator, &[answering], Some(context.patience));
        let service = Arc::new(captured.expect("a service"));
        let put = Arc::clone(&service);
        let launches = Launches::of(context, move |stream| {
            put.put_batch(stream).expect("a batch in a stream");
            for (received, answer) in received.iter().zip(&answers) {
                let (from, to, length) = (received.address(), answer.address(), received.bytes() as usize);
                let half = length / 2;
                let second = within(from + half as u64, to, length - half);
                let first = within(from, to + (length - half) as u64, half);
                copies(stream, &[second, first]).expect("copies between");
            }
            put.put_responses(stream).expect("responses in a stream");
        });
        Self { service, launches }
    }
}

/// Both sides of a layer. The server's first: a worker that captures agrees on where its pushes go, and those that are on
/// their way elsewhere when a buffer is offered are refused.
fn layer(context: &Context, worker: &Worker, server: &Server, first: u64) -> (Pushing, Answers) {
    let answers = Answers::new(context, server, first);
    (Pushing::new(context, worker, first), answers)
}

/// What the server makes of what was pushed.
fn exchanged(pushed: &[u8]) -> Vec<u8> {
    let mut rest = pushed;
    let mut exchanged = Vec::with_capacity(pushed.len());
    for length in SIZES {
        let (this, behind) = rest.split_at(length);
        let (first, second) = this.split_at(length / 2);
        exchanged.extend_from_slice(second);
        exchanged.extend_from_slice(first);
        rest = behind;
    }
    exchanged
}

/// Pinned memory with what rounds push, and for what they pull.
struct Rounds {
    contents: Vec<Vec<u8>>,
    from: Pinned,
    to: Pinned,
}

impl Rounds {
    fn new(context: &Context, count: usize) -> Self {
        let contents: Vec<_> = (0..count).map(|round| pattern(round as u64, TOTAL)).collect();
        let (from, to) = (context.pinned(&contents.concat()), context.pinned(&vec![0; count * TOTAL]));
        Self { contents, from, to }
    }

    /// Where a round's bytes come from and go to.
    fn places(&self, round: usize) -> (u64, u64) {
        let offset = (round * TOTAL) as u64;
        (self.from.address() + offset, self.to.address() + offset)
    }

    /// The first of so many rounds that is wrong.
    fn wrong(&self, served: usize) -> Option<usize> {
        let found = self.to.read();
        let rounds = self.contents.iter().zip(found.chunks(TOTAL)).take(served);
        rounds.enumerate().find(|(_, (pushed, found))| exchanged(pushed) != **found).map(|(round, _)| round)
    }
}

/// Launches both sides of each layer so often, back to back, and looks at what every round brought.
fn replay(context: &Context, layers: &[(Pushing, Answers)], count: usize) {
    let all: Vec<_> = layers.iter().map(|_| Rounds::new(context, count)).collect();
    let ended = |(pushing, answers): &(Pushing, Answers)| {
        (pushing.exchange.launches().ended(), answers.service.launches().ended())
    };
    let before: Vec<_> = layers.iter().map(ended).collect();
    for ((pushing, answers), rounds) in layers.iter().zip(&all) {
        for round in 0..count {
            answers.launches.launch();
            pushing.launch(rounds.places(round));
        }
    }
    for (((pushing, answers), rounds), (exchanges, batches)) in layers.iter().zip(&all).zip(before) {
        context.finish(&*pushing.launches.stream);
        context.finish(&*answers.launches.stream);
        let count = count as u64;
        assert_eq!(pushing.exchange.launches().check(), Ok(exchanges + count));
        answers.service.launches().wait(batches + count, soon(context)).expect("served");
        assert_eq!(rounds.wrong(usize::MAX), None, "the first round that is wrong");
    }
}

fn replays(context: &Context) -> Outcome {
    let before = counts(context);
    let server = server(context, 0);
    let worker = worker(context, 0, &[(0, place_of(&server))]);
    let layers = [layer(context, &worker, &server, 1)];
    replay(context, &layers, 150);
    assert_eq!(layers[0].1.service.launches().failed(), 0);
    drop((layers, worker, server));
    nothing_left(context, before, SIZES[1] as u64);
    Ok(())
}

fn layers(context: &Context) -> Outcome {
    let before = counts(context);
    let server = server(context, 0);
    let worker = worker(context, 0, &[(0, place_of(&server))]);
    let layers = [10, 20, 30].map(|first| layer(context, &worker, &server, first));
    replay(context, &layers, 20);
    drop((layers, worker, server));
    nothing_left(context, before, SIZES[1] as u64);
    Ok(())
}

/// A server in a process of its own, whose stream answers until it is killed.
pub(super) fn serve(context: &Context) {
    let server = server(context, 0);
    let answers = Answers::new(context, &server, 1);
    answer(&place_of(&server));
    (0..200).for_each(|_| answers.launches.launch());
    let _ = order();
}

fn killed_server(context: &Context) -> Outcome {
    let before = counts(context);
    let (mut child, other) = (Child::start(context, "af-graph-server", &[]), server(context, 1));
    let worker = worker(context, 0, &[(0, child.hear()), (1, place_of(&other))]);
    let pushing = Pushing::new(context, &worker, 1);
    let rounds = Rounds::new(context, 60);
    (0..40).for_each(|round| pushing.launch(rounds.places(round)));
    let launches = pushing.exchange.launches();
    context.until("some launches to be served", || launches.ended() >= 10);
    child.kill();
    (40..60).for_each(|round| pushing.launch(rounds.places(round)));
    context.finish(&*pushing.launches.stream);
    let served = launches.ended() - launches.failed();
    assert_eq!((launches.ended(), served >= 10, served <= 40), (60, true, true), "{served} were served");
    let told = launches.check().expect_err("it was killed");
    assert_eq!(told.launch, served + 1, "from the first on all fail: {told}");
    assert_eq!(rounds.wrong(served as usize), None, "of {served} that were served");
    round(context, &worker, (1, &other), 9);
    drop((pushing, worker, other));
    nothing_left(context, before, SIZES[1] as u64);
    Ok(())
}

fn closed_worker(context: &Context) -> Outcome {
    let before = counts(context);
    let server = server(context, 0);
    let first = worker(context, 0, &[(0, place_of(&server))]);
    let layers = [layer(context, &first, &server, 1)];
    replay(context, &layers, 3);
    let [(pushing, answers)] = layers;
    let pulled = pushing.pulled(context);
    // The server's stream answers none of these.
    let rounds = Rounds::new(context, 5);
    pushing.launch(rounds.places(0));
    drop(first);
    (1..5).for_each(|round| pushing.launch(rounds.places(round)));
    context.finish(&*pushing.launches.stream);
    let launches = pushing.exchange.launches();
    assert_eq!((launches.ended(), launches.failed()), (8, 5));
    assert!(matches!(launches.wait(8, None).map_err(cause_of), Err(Some(ExchangeCause::WorkerClosed))));
    assert!(pushing.pulled(context) == pulled, "nothing wrote into them");
    drop(pushing);
    // Its stream goes on without the worker, and serves the next one.
    answers.launches.launch();
    context.finish(&*answers.launches.stream);
    context.until("the worker to be told as gone", || answers.service.launches().failed() == 1);
    let next = worker(context, 0, &[(0, place_of(&server))]);
    let layers = [(Pushing::new(context, &next, 1), answers)];
    replay(context, &layers, 3);
    drop((layers, next, server));
    nothing_left(context, before, SIZES[1] as u64);
    Ok(())
}

fn cause_of(error: LaunchError<ExchangeCause>) -> Option<ExchangeCause> {
    match error {
        LaunchError::Failed(failure) => Some(failure.cause),
        _ => None,
    }
}
