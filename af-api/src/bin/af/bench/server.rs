//! The benchmark's answering process: answers every request at once from a tensor that is ready.
#![allow(unsafe_code)] // reads what was pushed, fills what is answered

use std::{collections::HashMap, slice, time::Instant};

use af_api::{
    server::{Gather, Pushed, Request, Response, Server},
    tensor::{Layout, Tensor},
};

use super::{RoleArguments, Shape, content::Content, protocol::VERIFIED};
use crate::{
    Outcome,
    child::Lifeline,
    cluster,
    failure::Failure,
    memory::Room,
    options::{LOOPBACK, PATIENCE},
};

/// Runs a server: every worker's iterations, then it waits to be let go.
pub(crate) fn run(arguments: &RoleArguments) -> Outcome {
    let RoleArguments { place, shape, common } = arguments;
    let lifeline = Lifeline::watch();
    let mut member = cluster::Server::join(place, *common, LOOPBACK)?;
    let (server, room) = (&member.server, &mut member.room);
    let mut answers = Answers { rank: place.rank, shape, server, room, by_worker: HashMap::new() };
    for _ in 0..u64::from(shape.rounds()) * u64::from(place.size.workers) {
        let batch = server.batch(Gather::Any, Some(Instant::now() + PATIENCE))?;
        batch.into_iter().try_for_each(|request| answers.answer(request))?;
    }
    lifeline.wait_for_release();
    member.leave()
}

/// A tensor for each worker, and the last response from it.
struct Answers<'a> {
    rank: u32,
    shape: &'a Shape,
    server: &'a Server,
    room: &'a mut Room,
    by_worker: HashMap<u32, (Tensor, Option<Response>)>,
}

impl Answers<'_> {
    fn answer(&mut self, request: Request) -> Outcome {
        let worker = request.worker().rank;
        if !self.by_worker.contains_key(&worker) {
            let layout = Layout::of_bytes(self.shape.pull_bytes);
            self.by_worker.insert(worker, (self.room.tensor(self.server.endpoint(), layout)?, None));
        }
        let Some((answer, response)) = self.by_worker.get_mut(&worker) else { return Ok(()) };
        let tag = request.tag();
        if tag & VERIFIED != 0 {
            if let Some(response) = response.take() {
                response.wait(Some(Instant::now() + PATIENCE))?;
            }
            verify(&request, self.room, Content { round: tag & !VERIFIED, worker, server: None })?;
            let content = Content { round: tag & !VERIFIED, worker, server: Some(self.rank) };
            // SAFETY: the last response from the tensor has ended.
            unsafe { self.room.fill(answer, |bytes| content.fill(bytes))? };
        }
        *response = Some(request.respond(slice::from_ref(answer))?);
        Ok(())
    }
}

/// Checks what was pushed.
fn verify(request: &Request, room: &mut Room, content: Content) -> Outcome {
    // A tensor without a byte is nowhere.
    for tensor in request.pushes().filter_map(Pushed::tensor) {
        // SAFETY: what was pushed stays as it is until the response.
        if !content.is_in(&unsafe { room.bytes(tensor)? }) {
            return Err(Failure::Differs { what: "pushed", iteration: content.round });
        }
    }
    Ok(())
}
