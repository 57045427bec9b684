//! Both halves, replayed by hand in streams of the processor's stand-in: thousands of launches, back to back and in several
//! streams, with contents that change.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use pmd_core::accelerator::Stream;
use pmd_host::accelerator::{CpuStream, KernelFault, wait_for};

use super::*;
use crate::{
    graph::{Answering, CapturedExchange, CapturedService},
    server::Server,
    tensor::Tensor,
    worker::{PushPull, Worker, tests::support::*},
};

/// A layer: the worker pushes `key`, and pulls what the server makes of it.
struct Layer {
    streams: [Arc<CpuStream>; 2],
    exchange: CapturedExchange,
    service: CapturedService,
    push: Tensor,
    pull: Tensor,
    received: Tensor,
    answer: Tensor,
}

impl Layer {
    fn new(worker: &Worker, server: &Server, key: u64) -> Self {
        const BYTES: u32 = 2000;
        let cpu = cpu();
        let (push, pull) = (ours(worker, BYTES, 0), ours(worker, BYTES, 0));
        let (received, answer) = (theirs(server, BYTES, 0), theirs(server, BYTES, 0));
        server.offer(0, key, &received, 1).unwrap();
        let answering = Answering::new(0).pushed(key, &received).answer(&answer);
        let service = server.capture(&cpu, &[answering], Some(PATIENCE)).unwrap();
        let request = PushPull::new().push(key, &push).pull(key, &pull);
        let exchange = worker.capture(&cpu, &request, Some(PATIENCE)).unwrap();
        let streams = [(); 2].map(|()| cpu.open_cpu_stream().unwrap());
        Self { streams, exchange, service, push, pull, received, answer }
    }

    /// Puts so many launches of both halves into the streams; what the last kernel of each round found comes out.
    fn launch(&self, rounds: u32) -> Receiver<bool> {
        let [worker, server] = &self.streams;
        let (tell, told) = channel();
        for round in 0..rounds {
            let byte = round as u8;
            let push = self.push.clone();
            worker.launch(move || {
                filled(&push, byte);
                Ok(())
            });
            self.exchange.put(&**worker).unwrap();
            let (pull, tell) = (self.pull.clone(), tell.clone());
            worker.launch(move || {
                let right = is_filled(&pull, byte.wrapping_mul(3).wrapping_add(1));
                tell.send(right).map_err(|_| KernelFault { code: -1 })
            });
            self.service.put_batch(&**server).unwrap();
            let (received, answer) = (self.received.clone(), self.answer.clone());
            server.launch(move || {
                let bytes = read(&received);
                let answers: Vec<u8> =
                    bytes.iter().map(|byte| byte.wrapping_mul(3).wrapping_add(1)).collect();
                write(&answer, &answers);
                Ok(())
            });
            self.service.put_responses(&**server).unwrap();
        }
        told
    }

    fn finish(&self, rounds: u64) {
        for stream in &self.streams {
            let event = stream.record().unwrap();
            assert!(wait_for(&*event, soon()).unwrap());
        }
        assert_eq!(self.exchange.launches().check(), Ok(rounds));
        self.service.launches().wait(rounds, soon()).unwrap();
        assert_eq!(self.service.launches().failed(), 0);
    }
}

fn all_right(told: &Receiver<bool>, rounds: u32) {
    for round in 0..rounds {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(true), "round {round}");
    }
}

#[test]
fn launches_back_to_back_carry_what_each_round_computed() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let layer = Layer::new(&worker, &server, 1);
    let told = layer.launch(1000);
    all_right(&told, 1000);
    layer.finish(1000);
}

#[test]
fn launches_of_several_exchanges_overlap_in_several_streams() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let layers: Vec<_> = (1..=4).map(|key| Layer::new(&worker, &server, key)).collect();
    let told: Vec<_> = layers.iter().map(|layer| layer.launch(100)).collect();
    told.iter().for_each(|told| all_right(told, 100));
    layers.iter().for_each(|layer| layer.finish(100));
}

#[test]
fn a_stream_that_fails_asks_for_nothing_and_nothing_hangs() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let layer = Layer::new(&worker, &server, 1);
    let told = layer.launch(3);
    all_right(&told, 3);
    layer.finish(3);
    let stream = &layer.streams[0];
    stream.launch(|| Err(KernelFault { code: 5 }));
    layer.exchange.put(&**stream).unwrap();
    let event = stream.record().unwrap();
    assert!(wait_for(&*event, soon()).is_err());
    layer.exchange.close(soon()).unwrap();
    assert_eq!(layer.exchange.launches().check(), Ok(3));
}

#[test]
fn a_server_that_goes_ends_no_stream_in_a_wait() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let layer = Layer::new(&worker, &server, 1);
    let told = layer.launch(200);
    all_right(&told, 20);
    drop(server);
    let Layer { streams, exchange, service, .. } = layer;
    for stream in &streams {
        let event = stream.record().unwrap();
        let patience = Instant::now() + Duration::from_secs(20);
        assert!(wait_for(&*event, Some(patience)).unwrap());
    }
    assert_eq!((exchange.launches().ended(), service.launches().ended() >= 20), (200, true));
    assert!(exchange.launches().failed() > 0);
}
