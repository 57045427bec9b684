//! Where blocks go: memory of another process, or of this one where the runtime shares none.

use pmd_core::accelerator::{BlockPair, DeviceMemory};

use super::{
    Workload,
    content::{Content, pairs},
};
use crate::{
    child::{Child, DEVICE, answer, handle_of, line_of, order},
    context::Context,
};

/// Memory that is written, and who looks at it.
pub(super) struct Target {
    memory: Box<dyn DeviceMemory>,
    owner: Option<Child>,
}

impl Target {
    /// Of another process if that can be.
    pub(super) fn open(context: &Context, workload: Workload) -> Result<Self, String> {
        let device = context.accelerator.identity().ordinal;
        let mut child = Child::start(context, "target", &[(DEVICE, device.to_string())]);
        child.tell(&workload.bytes().to_string());
        let line = child.hear();
        match line.split_once(": ") {
            None => {
                let handle = handle_of(&line, context.accelerator.identity().kind);
                let memory = context.accelerator.import(&handle).map_err(|error| error.to_string())?;
                Ok(Self { memory, owner: Some(child) })
            }
            Some(("cannot share", _)) => {
                let memory = context.accelerator.allocate(workload.bytes());
                Ok(Self { memory: memory.map_err(|error| error.to_string())?, owner: None })
            }
            Some((_, reason)) => Err(reason.to_owned()),
        }
    }

    pub(super) fn memory(&self) -> &dyn DeviceMemory {
        &*self.memory
    }

    /// Whether it is another process's.
    pub(super) fn is_shared(&self) -> bool {
        self.owner.is_some()
    }

    /// Whether the content has arrived, as its owner sees it.
    pub(super) fn holds(
        &mut self,
        context: &Context,
        content: Content,
        pairs: &[BlockPair],
        plain: bool,
    ) -> bool {
        let Some(owner) = &mut self.owner else { return content.is_in(context, &*self.memory, pairs) };
        let Content { workload: Workload { blocks, block_bytes }, seed } = content;
        owner.tell(&format!("{blocks} {block_bytes} {seed} {}", u8::from(plain)));
        owner.hear() == "right"
    }

    /// Ends the other process.
    pub(super) fn close(self) {
        drop(self.memory);
        if let Some(owner) = self.owner {
            owner.succeeds();
        }
    }
}

/// The other process: allocates, shares and looks at what has come.
pub(crate) fn play(context: &Context) {
    let Some(bytes) = order().and_then(|line| line.parse().ok()) else { return };
    let memory = match context.accelerator.allocate(bytes) {
        Ok(memory) => memory,
        Err(error) => return answer(&format!("cannot allocate: {error}")),
    };
    match memory.share() {
        Ok(handle) => answer(&line_of(&handle)),
        Err(error) => return answer(&format!("cannot share: {error}")),
    }
    while let Some(line) = order() {
        let numbers: Vec<u64> = line.split(' ').map_while(|number| number.parse().ok()).collect();
        let [blocks, block_bytes, seed, plain] = numbers[..] else { return };
        let workload = Workload { blocks: blocks as u32, block_bytes };
        let content = Content { workload, seed };
        let pairs = if plain != 0 { straight(workload) } else { pairs(workload) };
        answer(if content.is_in(context, &*memory, &pairs) { "right" } else { "wrong" });
    }
}

/// Each block where it was.
pub(super) fn straight(workload: Workload) -> Vec<BlockPair> {
    (0..workload.blocks).map(|block| BlockPair { from: block, to: block }).collect()
}
