//! Memory between processes: opened once, refused for each reason, and what a killed process leaves.
#![allow(unsafe_code)] // copies

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout},
};

use pmd_core::{
    accelerator::{AcceleratorError, AcceleratorKind, CopyDirection, CopyRange, ShareHandle},
    memory::MemoryKind,
};

use crate::{
    bench::{Fake, address, copy, error, open, pattern, read, write},
    stage::{self, Stage},
};

const KIND: AcceleratorKind = AcceleratorKind::Rocm;
const BYTES: usize = 10_000;

/// Where in its allocation the shared range begins.
const OFFSET: u64 = 1000;

/// A process that shares memory, and does what it is told.
struct Owner {
    child: Child,
    output: BufReader<ChildStdout>,
    handle: ShareHandle,
}

impl Owner {
    fn start() -> Self {
        let mut child = stage::peer("processes::owner");
        let mut owner = BufReader::new(child.stdout.take().expect("piped"));
        let opaque = line(&mut owner, "handle ");
        let opaque = opaque
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits"));
        let device = *b"fa4e000000000000";
        let (opaque, length) = (opaque.collect(), BYTES as u64 - OFFSET);
        let handle = ShareHandle { kind: KIND, device, opaque, offset: OFFSET, length };
        Self { child, output: owner, handle }
    }

    /// Says a word, and waits for the answer.
    fn tell(&mut self, word: &str) -> String {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{word}").expect("it listens");
        line(&mut self.output, "did ")
    }

    fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Ended already, or by this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rest of the next line that begins so.
fn line(output: &mut impl BufRead, begins: &str) -> String {
    let mut lines = output.lines().map(|line| line.expect("text"));
    let found = lines.find_map(|line| line.split_once(begins).map(|(_, rest)| rest.to_owned()));
    found.expect("the other process goes on")
}

/// The other process.
#[test]
#[ignore = "run by the cases, as the process that shares memory"]
fn owner() {
    stage::run("processes::owner", &Stage::normal(), || {
        let device = open(0);
        let memory = device.allocate(BYTES as u64).expect("room");
        let stream = device.open_stream().expect("a stream");
        write(&*stream, address(&*memory), &pattern(1, BYTES));
        let handle = memory.share().expect("a handle");
        assert_eq!((handle.kind, handle.offset, handle.length), (KIND, 0, BYTES as u64));
        let digits: String = handle.opaque.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("\nhandle {digits}");
        let mut memory = Some(memory);
        for word in std::io::stdin().lines().map(|line| line.expect("text")) {
            match word.as_str() {
                "free" => drop(memory.take()),
                "check" => {
                    let base = address(&**memory.as_ref().expect("not freed"));
                    assert_eq!(read(&*stream, base + OFFSET, 100), pattern(9, 100));
                }
                other => panic!("{other}"),
            }
            println!("did {word}");
        }
    });
}

case!(memory_of_another_process_is_opened_once, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let mut owner = Owner::start();
    let first = device.import(&owner.handle).expect("it is shared");
    let whole = ShareHandle { offset: 0, length: BYTES as u64, ..owner.handle.clone() };
    let second = device.import(&whole).expect("it is shared");
    assert_eq!(fake.counts().imported, 1);
    assert_eq!(address(&*first), address(&*second) + OFFSET);
    let description = first.description();
    assert_eq!((description.kind, description.length), (MemoryKind::Device, BYTES as u64 - OFFSET));
    assert_eq!(first.share().expect("the owner's handle"), owner.handle);
    let stream = device.open_stream().expect("a stream");
    assert_eq!(read(&*stream, address(&*second), BYTES), pattern(1, BYTES));
    let memory = device.allocate(100).expect("room");
    write(&*stream, address(&*memory), &pattern(9, 100));
    let (from, to) = (address(&*memory), address(&*first));
    copy(&*stream, CopyRange { from, to, length: 100, direction: CopyDirection::DeviceToDevice });
    drop(first);
    assert_eq!(fake.counts().imported, 1);
    assert_eq!(owner.tell("check"), "check");
    drop(second);
    assert_eq!(fake.counts().imported, 0);
    drop(device.import(&owner.handle).expect("it is opened again"));
    drop((memory, stream, device));
    fake.is_empty();
});

case!(handles_of_others_are_refused, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let owner = Owner::start();
    let elsewhere = open(1);
    let foreign = AcceleratorError::Foreign { of: elsewhere.identity().clone() };
    assert_eq!(error(elsewhere.import(&owner.handle)), foreign);
    let foreign = AcceleratorError::Foreign { of: device.identity().clone() };
    let cuda = ShareHandle { kind: AcceleratorKind::Cuda, ..owner.handle.clone() };
    assert_eq!(error(device.import(&cuda)), foreign);
    for opaque in [owner.handle.opaque[1..].to_vec(), vec![7; 64]] {
        let refused = error(device.import(&ShareHandle { opaque, ..owner.handle.clone() }));
        let told =
            matches!(refused, AcceleratorError::Runtime { function: "hipIpcOpenMemHandle", code: 1, .. });
        assert!(told, "{refused}");
    }
    let available = Some(BYTES as u64 - OFFSET);
    let long = ShareHandle { length: BYTES as u64, ..owner.handle.clone() };
    let range = AcceleratorError::Range { address: OFFSET, length: BYTES as u64, available };
    assert_eq!(error(device.import(&long)), range);
    let empty = ShareHandle { length: 0, ..owner.handle.clone() };
    assert_eq!(
        error(device.import(&empty)),
        AcceleratorError::Range { address: OFFSET, length: 0, available }
    );
    let beyond = ShareHandle { offset: u64::MAX, ..owner.handle.clone() };
    assert!(matches!(error(device.import(&beyond)), AcceleratorError::Range { available: Some(0), .. }));
    let own = device.allocate(64).expect("room");
    let refused = error(device.import(&own.share().expect("a handle")));
    let told =
        matches!(refused, AcceleratorError::Unsupported { what: "open memory that this process shares", .. });
    assert!(told, "{refused}");
    drop((own, device));
    fake.is_empty();
});

case!(memory_that_its_owner_freed_is_gone, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let mut owner = Owner::start();
    assert_eq!(owner.tell("free"), "free");
    assert_eq!(error(device.import(&owner.handle)), AcceleratorError::Gone { kind: KIND });
    drop(device);
    fake.is_empty();
});

case!(memory_of_a_killed_process_is_gone_and_closes, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let mut owner = Owner::start();
    let imported = device.import(&owner.handle).expect("it is shared");
    owner.kill();
    let stream = device.open_stream().expect("a stream");
    let other = device.allocate(64).expect("room");
    write(&*stream, address(&*other), &[4; 64]);
    // Opened before, so it is there still.
    assert_eq!(read(&*stream, address(&*imported), 8), pattern(1, BYTES)[OFFSET as usize..][..8]);
    drop(imported);
    assert_eq!(error(device.import(&owner.handle)), AcceleratorError::Gone { kind: KIND });
    assert_eq!(read(&*stream, address(&*other), 64), [4; 64]);
    drop((other, stream, device));
    fake.is_empty();
});

const GONE: &str = "hipIpcOpenMemHandle@1=17,hipIpcOpenMemHandle@2=205,hipIpcOpenMemHandle@3=400";

case!(every_code_for_gone_is_gone, Stage::normal().faults(GONE), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let owner = Owner::start();
    for _ in 0..3 {
        assert_eq!(error(device.import(&owner.handle)), AcceleratorError::Gone { kind: KIND });
    }
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..20).for_each(|_| drop(device.import(&owner.handle).expect("it is shared"))));
        }
    });
    drop(device);
    fake.is_empty();
});

case!(a_failing_open_leaks_nothing, Stage::normal().faults("hipMemGetAddressRange@1=999"), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let owner = Owner::start();
    let refused = error(device.import(&owner.handle));
    let told =
        matches!(refused, AcceleratorError::Runtime { function: "hipMemGetAddressRange", code: 999, .. });
    assert!(told, "{refused}");
    assert_eq!(fake.counts().imported, 0);
    drop(device.import(&owner.handle).expect("it failed once"));
    drop(device);
    fake.is_empty();
});

case!(what_cannot_be_shared_says_so, Stage::normal().faults("hipIpcGetMemHandle@1=801"), || {
    let memory = open(0).allocate(64).expect("room");
    let refused = error(memory.share());
    assert!(matches!(refused, AcceleratorError::Unsupported { what: "share this memory", .. }), "{refused}");
});

case!(a_runtime_without_handles_says_so, Stage::normal().without("hipIpcGetMemHandle"), || {
    let memory = open(0).allocate(64).expect("room");
    let refused = error(memory.share());
    assert!(matches!(refused, AcceleratorError::Unsupported { what: "hipIpcGetMemHandle", .. }), "{refused}");
});
