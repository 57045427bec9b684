//! The demo's attention process: pushes activations, checks results.
#![allow(unsafe_code)] // fills and reads tensors between requests

use std::time::Instant;

use af_api::{
    tensor::{DataType, Layout, Tensor},
    worker::{Handle, PushPull},
};

use super::{
    Report, RoleArguments, Shape, key,
    model::{Layer, Place, activation},
};
use crate::{
    Outcome,
    child::{self, Lifeline},
    cluster,
    failure::Failure,
    memory::Room,
    options::PATIENCE,
    statistics::Statistics,
};

/// Runs a worker: all layers, then it says what it saw.
pub(crate) fn run(arguments: &RoleArguments) -> Outcome {
    // A worker ends by itself, or with its parent.
    let _lifeline = Lifeline::watch();
    let (report, member) = work(arguments)?;
    child::say(&report);
    member.leave()
}

/// Takes the place of a worker and goes through all layers.
pub(super) fn work(arguments: &RoleArguments) -> Result<(Report, cluster::Worker), Failure> {
    let RoleArguments { place, shape, common } = arguments;
    let mut member = cluster::Worker::join(place, *common)?;
    let mut stages = (0..shape.stages)
        .map(|stage| Stage::new(&member, shape, (place.rank, place.size.servers), stage))
        .collect::<Result<Vec<_>, _>>()?;
    let mut reference = Reference::new(shape);
    let begun = Instant::now();
    for layer in 0..shape.layers {
        for stage in &mut stages {
            stage.finish(&mut member.room, &mut reference)?;
            stage.start(&mut member, layer)?;
        }
    }
    stages.iter_mut().try_for_each(|stage| stage.finish(&mut member.room, &mut reference))?;
    let seconds = begun.elapsed().as_secs_f64();
    let steps = Statistics::of(stages.iter().flat_map(|stage| stage.times.iter().copied()));
    Ok((Report { transport: member.transport(), steps, seconds, compared: reference.compared }, member))
}

/// One stage's tensors, and what is in flight with them.
struct Stage {
    shape: Shape,
    place: Place,
    request: PushPull,
    pushed: Tensor,
    /// One for each server.
    pulled: Vec<Tensor>,
    flying: Option<(Handle, Instant)>,
    times: Vec<std::time::Duration>,
}

impl Stage {
    fn new(
        member: &cluster::Worker,
        shape: &Shape,
        (rank, servers): (u32, u32),
        stage: u32,
    ) -> Result<Self, Failure> {
        let layout = Layout::new(DataType::Bfloat16, &[shape.rows.into(), shape.columns.into()])?;
        let tensor = || member.room.tensor(member.worker.endpoint(), layout);
        let pushed = tensor()?;
        let pulled = (0..servers).map(|_| tensor()).collect::<Result<Vec<_>, _>>()?;
        let request = PushPull::new().push(key(stage, rank, false), &pushed);
        let request =
            pulled.iter().fold(request, |request, tensor| request.pull(key(stage, rank, true), tensor));
        let place = Place { worker: rank, layer: 0, stage };
        Ok(Self { shape: *shape, place, request, pushed, pulled, flying: None, times: Vec::new() })
    }

    /// Makes the activation of a layer and pushes it.
    fn start(&mut self, member: &mut cluster::Worker, layer: u32) -> Outcome {
        self.place.layer = layer;
        // SAFETY: the stage's last request has ended (`finish`).
        unsafe { member.room.fill_values(&self.pushed, |values| activation(self.place, values))? };
        let begun = Instant::now();
        let request = self.request.clone().tag(layer * self.shape.stages + self.place.stage);
        let deadline = Some(begun + PATIENCE);
        let handle = match member.room.stream() {
            Some(stream) => member.worker.push_pull_on(stream, &request, deadline)?,
            None => member.worker.push_pull(&request, deadline)?,
        };
        self.flying = Some((handle, begun));
        Ok(())
    }

    /// Waits for what is in flight, if anything is, and checks it.
    fn finish(&mut self, room: &mut Room, reference: &mut Reference) -> Outcome {
        let Some((handle, begun)) = self.flying.take() else { return Ok(()) };
        handle.wait(Some(Instant::now() + PATIENCE))?;
        self.times.push(begun.elapsed());
        for (server, result) in (0..).zip(&self.pulled) {
            // SAFETY: the request has ended, and the next begins after this.
            let (activation, result) = unsafe { (room.values(&self.pushed)?, room.values(result)?) };
            reference.check(self.place, server, &activation, &result)?;
        }
        Ok(())
    }
}

/// Computes what servers should have answered.
struct Reference {
    columns: usize,
    expected: Vec<u16>,
    compared: u64,
}

impl Reference {
    fn new(shape: &Shape) -> Self {
        Self { columns: shape.columns as usize, expected: vec![0; shape.values()], compared: 0 }
    }

    fn check(&mut self, place: Place, server: u32, activation: &[u16], result: &[u16]) -> Outcome {
        let Place { worker, layer, stage } = place;
        Layer::new(server, layer, stage, self.columns).apply(activation, &mut self.expected);
        if self.expected != result {
            let differ = self.expected.iter().zip(result).position(|(expected, found)| expected != found);
            let element = differ.unwrap_or(self.expected.len());
            return Err(Failure::Wrong { worker, server, layer, stage, element });
        }
        self.compared += result.len() as u64;
        Ok(())
    }
}
