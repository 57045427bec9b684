//! Memory that was mapped (`cuMemCreate`, `cuMemMap`): of another library, and allocations of `gpu-direct`'s own.

use std::{
    ffi::c_int,
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::Arc,
    thread,
};

use gpu_direct::{CudaAccelerator, CudaOptions};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, connect, listen, recvmsg,
    sendmsg, socket,
};

use crate::{
    processes::{Peer, handle_of, text},
    support::*,
};

/// What physical memory is a multiple of here.
const PIECE: u64 = 1 << 16;

/// A GPU whose allocations are mapped.
fn open_mapped() -> Arc<dyn Accelerator> {
    Arc::new(CudaAccelerator::open_with(0, CudaOptions::default().mapped()).unwrap())
}

/// Calls a function of the driver's; its code.
macro_rules! driver {
    ($name:literal ($($argument:expr => $kind:ty),*)) => {
        // SAFETY: the function's prototype, and places that live.
        unsafe { function::<unsafe extern "C" fn($($kind),*) -> u32>($name)($($argument),*) }
    };
}

/// What another library has mapped, as PyTorch's expandable segments are: more addresses than memory.
struct Segment {
    base: u64,
    length: u64,
    mapped: Vec<u64>,
}

/// Type, handles, location, nothing, flags.
fn properties(handles: u32) -> [u32; 8] {
    [1, handles, 1, 0, 0, 0, 0, 0]
}

impl Segment {
    fn new(room: u64, pieces: u64, handles: u32) -> Self {
        let (mut base, length) = (0_u64, room * PIECE);
        let reserved = driver!("cuMemAddressReserve"(
            &mut base => *mut u64, length as usize => usize, 0 => usize, 0 => u64, 0 => u64));
        assert_eq!(reserved, 0);
        let mut segment = Self { base, length, mapped: Vec::new() };
        (0..pieces).for_each(|piece| segment.map(piece, handles));
        segment
    }

    fn map(&mut self, piece: u64, handles: u32) {
        let (mut handle, at) = (0_u64, self.base + piece * PIECE);
        let created = driver!("cuMemCreate"(&mut handle => *mut u64, PIECE as usize => usize,
            &properties(handles) => *const [u32; 8], 0 => u64));
        assert_eq!(created, 0);
        let mapped =
            driver!("cuMemMap"(at => u64, PIECE as usize => usize, 0 => usize, handle => u64, 0 => u64));
        assert_eq!(mapped, 0);
        assert_eq!(driver!("cuMemRelease"(handle => u64)), 0);
        let access = [1_u32, 0, 3];
        let granted = driver!("cuMemSetAccess"(
            at => u64, PIECE as usize => usize, &access => *const [u32; 3], 1 => usize));
        assert_eq!(granted, 0);
        self.mapped.push(at);
    }

    fn adopt(&self, gpu: &dyn Accelerator, offset: u64, length: u64) -> Box<dyn DeviceMemory> {
        // SAFETY: the segment outlives it.
        unsafe { gpu.adopt(self.base + offset, length) }.unwrap()
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        for at in self.mapped.drain(..) {
            assert_eq!(driver!("cuMemUnmap"(at => u64, PIECE as usize => usize)), 0);
        }
        assert_eq!(driver!("cuMemAddressFree"(self.base => u64, self.length as usize => usize)), 0);
    }
}

/// The other process: shares an allocation that was mapped, or opens what it is given, writes one more into each byte,
/// and obeys one line after the other.
#[test]
#[ignore = "run by the other tests"]
fn peer() {
    let gpu = open_mapped();
    let mut memory = Some(gpu.allocate(3 * PIECE + 5).unwrap());
    put(&*gpu, address(&**memory.as_ref().unwrap()), b"of the owner");
    println!("\n{}", text(&memory.as_ref().unwrap().share().unwrap()));
    let mut opened = Vec::new();
    for line in std::io::stdin().lines() {
        match line.unwrap().split_once(' ').unwrap() {
            ("free", _) => drop(memory.take()),
            ("count", handle) => {
                let handle = handle_of(handle);
                let memory = gpu.import(&handle).unwrap();
                let found = bytes(&*gpu, address(&*memory), handle.length as usize);
                let more: Vec<u8> = found.iter().map(|byte| byte.wrapping_add(1)).collect();
                put(&*gpu, address(&*memory), &more);
                opened.push(memory);
            }
            (other, _) => panic!("{other}"),
        }
        println!("\ndone");
    }
}

fn start(variables: &[(&str, &str)]) -> (Peer, ShareHandle) {
    let mut command = command("gpu_direct::mapped::peer");
    command.envs(variables.iter().copied());
    let mut peer = Peer::running(command);
    let handle = handle_of(&peer.line("handle "));
    (peer, handle)
}

fn count(peer: &mut Peer, handle: &ShareHandle) {
    peer.tell(&text(handle).replace("handle", "count"));
}

case!(another_librarys_mappings_are_shared, [], {
    let gpu = open(0);
    // More than one reply takes.
    let segment = Segment::new(80, 70, 1);
    let (offset, length) = (PIECE - 100, 68 * PIECE + 200);
    let memory = segment.adopt(&*gpu, offset, length);
    let content = pattern(length as usize);
    put(&*gpu, address(&*memory), &content);
    let handle = memory.share().unwrap();
    assert_eq!((handle.offset, handle.length, handle.opaque.len()), (offset, length, 32));
    assert_eq!(memory.share().unwrap(), handle);
    let (mut peer, _) = start(&[]);
    count(&mut peer, &handle);
    let wanted: Vec<u8> = content.iter().map(|byte| byte.wrapping_add(1)).collect();
    assert!(bytes(&*gpu, address(&*memory), length as usize) == wanted);
    // Here it is a view, until whoever shared it forgets it.
    let view = gpu.import(&handle).unwrap();
    assert_eq!((address(&*view), counts().imported), (address(&*memory), 0));
    drop((view, memory));
    assert_eq!(gpu.import(&handle).unwrap_err(), AcceleratorError::Gone { kind: AcceleratorKind::Cuda });
    drop((segment, gpu));
    assert_nothing_left();
});

case!(what_is_not_mapped_is_refused, [], {
    let gpu = open(0);
    let mut segment = Segment::new(10, 2, 1);
    segment.map(4, 1);
    let refused = |offset, length| {
        // SAFETY: it is refused.
        unsafe { gpu.adopt(segment.base + offset, length) }.unwrap_err()
    };
    let (address, length) = (segment.base + 100, 2 * PIECE);
    let gap = AcceleratorError::Range { address, length, available: Some(2 * PIECE - 100) };
    assert_eq!(refused(100, length), gap);
    assert!(matches!(refused(5 * PIECE, 8), AcceleratorError::NotDeviceMemory { .. }));
    assert!(matches!(refused(PIECE, 20 * PIECE), AcceleratorError::Range { .. }));
    assert_eq!(segment.adopt(&*gpu, 4 * PIECE, PIECE).description().length, PIECE);
    drop((segment, gpu));
    assert_nothing_left();
});

case!(memory_without_handles_cannot_be_shared, ["FAKE_CUDA_ATTRIBUTES" = "103=0"], {
    let gpu = open(0);
    let segment = Segment::new(4, 3, 0);
    let memory = segment.adopt(&*gpu, 0, PIECE);
    let own = open_mapped();
    let allocated = own.allocate(64).unwrap();
    for memory in [&memory, &allocated] {
        let error = memory.share().unwrap_err();
        assert!(matches!(error, AcceleratorError::Unsupported { what: "share memory", .. }), "{error}");
        assert!(error.to_string().contains("file descriptors"), "{error}");
    }
    drop((memory, allocated, segment, gpu, own));
    assert_nothing_left();
});

case!(memory_lives_as_long_as_someone_has_it_open, [], {
    let gpu = open(0);
    let gone = AcceleratorError::Gone { kind: AcceleratorKind::Cuda };
    let (mut peer, handle) = start(&[]);
    let memory = gpu.import(&handle).unwrap();
    let part = gpu.import(&ShareHandle { offset: 3, length: 3, ..handle.clone() }).unwrap();
    assert_eq!(counts().imported, 1);
    peer.tell("free now");
    drop(memory);
    assert_eq!(bytes(&*gpu, address(&*part), 3), b"the");
    drop(part);
    assert_eq!((counts().imported, gpu.import(&handle).unwrap_err()), (0, gone.clone()));
    drop(peer);
    let (peer, handle) = start(&[]);
    let memory = gpu.import(&handle).unwrap();
    peer.kill();
    assert_eq!(bytes(&*gpu, address(&*memory), 12), b"of the owner");
    drop(memory);
    assert_eq!(gpu.import(&handle).unwrap_err(), gone);
    drop(gpu);
    assert_nothing_left();
});

case!(a_killed_importer_leaves_nothing, [], {
    let gpu = open_mapped();
    let memory = gpu.allocate(PIECE).unwrap();
    put(&*gpu, address(&*memory), &[7; 64]);
    let (mut peer, _) = start(&[]);
    count(&mut peer, &memory.share().unwrap());
    peer.kill();
    assert_eq!(bytes(&*gpu, address(&*memory), 64), [8; 64]);
    drop((memory, gpu));
    assert_nothing_left();
});

case!(allocations_are_mapped_on_option, [], {
    let gpu = open_mapped();
    let memory = gpu.allocate(PIECE + 1).unwrap();
    assert_eq!((counts().allocations, counts().allocated_bytes), (1, 2 * PIECE));
    let description = memory.description();
    assert_eq!((description.length, description.descriptor.unwrap().1), (PIECE + 1, 0));
    let base = address(&*memory);
    put(&*gpu, base + PIECE - 2, b"over");
    assert_eq!(bytes(&*gpu, base + PIECE - 3, 5), b"\xa5over");
    let (stream, gate) = (gpu.open_stream().unwrap(), gpu.flag().unwrap());
    stream.wait_value(&gate, 1).unwrap();
    let range = CopyRange { from: base, to: base + 64, length: 64, direction: CopyDirection::DeviceToDevice };
    // SAFETY: it is closed behind the copy, which is what this is about.
    unsafe { stream.copy(&[range]) }.unwrap();
    drop(memory);
    assert!(counts().allocations >= 1);
    gate.store(1);
    finish(&stream);
    drop((stream, gate));
    let kind = AcceleratorKind::Cuda;
    for wanted in [1 << 45, u64::MAX] {
        assert_eq!(gpu.allocate(wanted).unwrap_err(), AcceleratorError::OutOfMemory { kind, wanted });
    }
    drop(gpu);
    assert_nothing_left();
});

case!(a_device_without_mapping_says_so, ["FAKE_CUDA_ATTRIBUTES" = "102=0"], {
    let error = open_mapped().allocate(64).unwrap_err();
    assert!(matches!(error, AcceleratorError::Unsupported { what: "map memory", .. }), "{error}");
});

case!(
    a_mapping_that_fails_leaves_nothing,
    [
        "FAKE_DEVICE_FAULTS" = "cuMemCreate@2=2,cuMemAddressReserve@2=2,cuMemMap@2=999,cuMemSetAccess@2=700,cuMemImportFromShareableHandle@1=304"
    ],
    {
        let gpu = open_mapped();
        let kept = gpu.allocate(64).unwrap();
        let kind = AcceleratorKind::Cuda;
        for _ in 0..2 {
            assert_eq!(gpu.allocate(64).unwrap_err(), AcceleratorError::OutOfMemory { kind, wanted: 64 });
        }
        assert_eq!(code(&gpu.allocate(64).unwrap_err()), 999);
        assert_eq!(code(&gpu.allocate(64).unwrap_err()), 700);
        let (_peer, handle) = start(&[("FAKE_DEVICE_FAULTS", "cuMemExportToShareableHandle@2=801")]);
        for failure in [304, 801] {
            assert_eq!(code(&gpu.import(&handle).unwrap_err()), failure);
        }
        assert_eq!(gpu.import(&handle).unwrap().description().length, 3 * PIECE + 5);
        drop((kept, gpu));
        assert_nothing_left();
    }
);

fn socket_for_packets() -> OwnedFd {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap()
}

/// Where the owner of a handle is asked.
fn address_of(handle: &ShareHandle) -> UnixAddr {
    let digits: String = handle.opaque[8..24].iter().map(|byte| format!("{byte:02x}")).collect();
    UnixAddr::new_abstract(format!("pmd-cuda-{digits}").as_bytes()).unwrap()
}

fn say(socket: &OwnedFd, frame: &[u8]) {
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(frame)], &[], MsgFlags::MSG_NOSIGNAL, None).unwrap();
}

fn hear(socket: &OwnedFd) -> Vec<u8> {
    let mut frame = vec![0; 4096];
    let mut parts = [IoSliceMut::new(&mut frame)];
    let heard =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, None, MsgFlags::empty()).map_or(0, |heard| heard.bytes);
    frame.truncate(heard);
    frame
}

case!(an_owner_survives_what_importers_say, [], {
    let gpu = open_mapped();
    let memory = gpu.allocate(64).unwrap();
    put(&*gpu, address(&*memory), &[1; 64]);
    let handle = memory.share().unwrap();
    let number = &handle.opaque[24..];
    for frame in [&[][..], &[1], &[0; 11], &[0; 13], &[0xff; 4000]] {
        let client = socket_for_packets();
        connect(client.as_raw_fd(), &address_of(&handle)).unwrap();
        say(&client, frame);
        assert_eq!(hear(&client), [], "{} bytes are hung up on", frame.len());
    }
    let client = socket_for_packets();
    connect(client.as_raw_fd(), &address_of(&handle)).unwrap();
    say(&client, &[&9999_u64.to_le_bytes()[..], &[0; 4]].concat());
    assert_eq!(hear(&client), [1, 0, 0, 0, 0, 0, 0, 0, 0]);
    // Pieces that there are not.
    say(&client, &[number, &7_u32.to_le_bytes()].concat());
    assert_eq!(hear(&client), [0, 0, 0, 0, 0, 1, 0, 0, 0]);
    // More than are kept: the first is hung up on.
    let others: Vec<OwnedFd> = (0..64).map(|_| socket_for_packets()).collect();
    for other in &others {
        connect(other.as_raw_fd(), &address_of(&handle)).unwrap();
    }
    assert_eq!(hear(&client), []);
    let (mut peer, _) = start(&[]);
    count(&mut peer, &handle);
    assert_eq!(bytes(&*gpu, address(&*memory), 64), [2; 64]);
    drop((memory, peer, gpu));
    assert_nothing_left();
});

case!(an_importer_survives_what_an_owner_says, [], {
    let gpu = open(0);
    let listener = socket_for_packets();
    let real = open_mapped().allocate(64).unwrap().share().unwrap();
    let mut handle = real.clone();
    handle.opaque[8..24].copy_from_slice(&[0x5a; 16]);
    handle.opaque[23] = std::process::id() as u8;
    handle.opaque[22] = (std::process::id() >> 8) as u8;
    bind(listener.as_raw_fd(), &address_of(&handle)).unwrap();
    listen(&listener, Backlog::new(8).unwrap()).unwrap();
    let file = |bytes: u32| [&[0][..], &[0; 4], &bytes.to_le_bytes()].concat();
    let frames = [
        vec![],
        vec![0],
        file(0),
        file(1),
        [file(1), vec![1]].concat(),
        [file(1), vec![0; 8]].concat(),
        vec![9; 9],
    ];
    let said = frames.clone();
    let owner = thread::spawn(move || {
        for frame in said {
            let client: c_int = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC).unwrap();
            // SAFETY: fresh from the system.
            let client = unsafe { OwnedFd::from_raw_fd(client) };
            assert_eq!(hear(&client).len(), 12);
            if !frame.is_empty() {
                say(&client, &frame);
            }
        }
    });
    for frame in frames {
        let error = gpu.import(&handle).unwrap_err();
        assert_eq!(error, AcceleratorError::Gone { kind: AcceleratorKind::Cuda }, "{frame:?}");
    }
    owner.join().unwrap();
    drop(gpu);
    assert_nothing_left();
});
