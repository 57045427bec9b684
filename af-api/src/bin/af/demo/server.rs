//! The demo's feed-forward process: computes every worker's result of a layer and stage together.
#![allow(unsafe_code)] // reads what was pushed, fills what is answered

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    slice,
    time::Instant,
};

use af_api::{
    server::{Pushed, Request, Response, Server},
    tensor::{DataType, Layout, Tensor},
};

use super::{RoleArguments, Shape, model};
use crate::{
    Outcome,
    child::Lifeline,
    cluster,
    failure::Failure,
    memory::Room,
    options::{LOOPBACK, PATIENCE},
};

/// Runs a server: all layers, then it waits to be let go.
pub(crate) fn run(arguments: &RoleArguments) -> Outcome {
    let lifeline = Lifeline::watch();
    let member = serve(arguments, LOOPBACK)?;
    lifeline.wait_for_release();
    member.leave()
}

/// Takes the place of a server that listens at `listen`, and answers a batch for each layer and stage.
pub(super) fn serve(arguments: &RoleArguments, listen: SocketAddr) -> Result<cluster::Server, Failure> {
    let RoleArguments { place, shape, common } = arguments;
    let mut member = cluster::Server::join(place, *common, listen)?;
    let (node, server, room) = (&member.node, &member.server, &mut member.room);
    let mut results = Results { shape, server, room, by_origin: HashMap::new() };
    for step in 0..shape.steps() {
        let (layer, stage) = (step / shape.stages, step % shape.stages);
        let model = model::Layer::new(place.rank, layer, stage, shape.columns as usize);
        let batch = cluster::batch(results.server, node)?;
        for request in batch {
            if request.tag() != step {
                return Err(Failure::OutOfStep {
                    worker: request.worker().rank,
                    expected: step,
                    found: request.tag(),
                });
            }
            results.answer(request, stage, &model)?;
        }
    }
    results.finish()?;
    Ok(member)
}

/// Tensors that results are in, and the last response from each.
struct Results<'a> {
    shape: &'a Shape,
    server: &'a Server,
    room: &'a mut Room,
    /// By worker and stage.
    by_origin: HashMap<(u32, u32), (Tensor, Option<Response>)>,
}

impl Results<'_> {
    fn answer(&mut self, request: Request, stage: u32, model: &model::Layer) -> Outcome {
        let origin = (request.worker().rank, stage);
        let (result, response) = match self.by_origin.entry(origin) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let layout =
                    Layout::new(DataType::Bfloat16, &[self.shape.rows.into(), self.shape.columns.into()])?;
                new.insert((self.room.tensor(self.server.endpoint(), layout)?, None))
            }
        };
        // The worker has its last result of this stage, or it would not have gone on; this end may hear of it later.
        wait_for(response.take())?;
        let activation = request.pushes().find_map(Pushed::tensor);
        let activation = activation.ok_or(Failure::NothingPushed { worker: origin.0 })?;
        // SAFETY: what was pushed stays as it is until the response.
        let values = unsafe { self.room.values(activation)? };
        // SAFETY: nothing reads the result any more.
        unsafe { self.room.fill_values(result, |result| model.apply(&values, result))? };
        *response = Some(request.respond(slice::from_ref(result))?);
        Ok(())
    }

    fn finish(self) -> Outcome {
        self.by_origin.into_values().try_for_each(|(_, response)| wait_for(response))
    }
}

fn wait_for(response: Option<Response>) -> Outcome {
    response.map_or(Ok(()), |response| Ok(response.wait(Some(Instant::now() + PATIENCE))?))
}
