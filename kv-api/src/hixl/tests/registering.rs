//! Registered memory.

use super::*;
use crate::hixl::memory;

#[test]
fn the_same_memory_has_the_same_handle_until_it_is_deregistered() {
    let engine = client(&direct());
    let mut memory = Memory::zeroed(8192);
    let whole = memory.describe();
    let handle = register(&engine, whole, MemType::Host).expect("registered");
    assert_eq!(register(&engine, whole, MemType::Host).expect("the same"), handle);
    engine.deregister_mem(handle).expect("deregistered");
    engine.deregister_mem(handle).expect("nothing to do");
    engine.deregister_mem(MemHandle(1 << 40)).expect("nothing to do");
    let again = register(&engine, whole, MemType::Host).expect("registered again");
    assert_ne!(again, handle, "handles are not used twice");
    assert_eq!(status(engine.deregister_mem(MemHandle(0))), Status::ParamInvalid);
}

#[test]
fn memory_of_one_type_does_not_overlap() {
    let engine = client(&direct());
    let mut memory = Memory::zeroed(300);
    let address = memory.address();
    let part = |from: u64, len: u64| MemDesc { addr: address + from, len };
    let add = |part| register(&engine, part, MemType::Host);
    add(part(100, 100)).expect("registered");
    for (from, length) in [(0, 101), (199, 1), (0, 300), (150, 10), (100, 99), (101, 99), (150, 150)] {
        assert_eq!(status(add(part(from, length))), Status::ParamInvalid, "{length} from {from}");
    }
    add(part(0, 100)).expect("right before");
    add(part(200, 100)).expect("right behind");
    register(&engine, part(0, 300), MemType::Device).expect("of another type");
}

#[test]
fn what_is_no_memory_is_refused() {
    let engine = client(&direct());
    let mut memory = Memory::zeroed(64);
    let refused = [
        MemDesc { addr: 0, len: 64 },
        MemDesc { addr: memory.address(), len: 0 },
        MemDesc { addr: u64::MAX - 10, len: 64 },
        // Nothing is mapped there.
        MemDesc { addr: 4096, len: 64 },
    ];
    for memory in refused {
        assert_eq!(status(register(&engine, memory, MemType::Host)), Status::ParamInvalid, "{memory:?}");
    }
}

#[test]
fn many_are_registered_and_deregistered() {
    let engine = client(&direct());
    let mut memory = Memory::zeroed(10_000 * 64);
    let first = memory.address();
    let handles: Vec<_> = (0..10_000)
        .map(|index| MemDesc { addr: first + 64 * index, len: 64 })
        .map(|part| register(&engine, part, MemType::Host).expect("registered"))
        .collect();
    assert!(handles.iter().all(|handle| engine.deregister_mem(*handle).is_ok()));
    memory.register(&engine);
}

/// Memory stays registered while something uses it, and is given up when nothing does any more.
#[test]
fn memory_in_use_is_waited_for() {
    let (client, server, name) = pair(&direct());
    let (mut near, mut far) = (Memory::zeroed(1 << 20), Memory::new(1 << 20, |_| 6));
    far.register(&server);
    let table = memory::Memory::default();
    let fabric = client.engine().expect("initialised").fabric().clone();
    // SAFETY: the memory outlives the engine.
    let handle = unsafe { table.register(&fabric, near.describe(), MemType::Host) }.expect("registered");
    let held = fabric.segment(near.address(), 1).expect("it is registered");
    let refused = table.deregister(handle, Duration::from_millis(5));
    assert_eq!(status(refused), Status::Failed, "something holds it");
    let whole = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 1 << 20 };
    transfer(&client, &name, TransferOp::Read, &[whole], PATIENCE).expect("it is still registered");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| table.deregister(handle, PATIENCE));
        drop(held);
        waiting.join().expect("no panic").expect("deregistered");
    });
    assert!(fabric.segment(near.address(), 1).is_none());
    assert!(near.bytes().iter().all(|byte| *byte == 6));
}

#[test]
fn deregistering_waits_for_transfers_in_flight() {
    let (client, server, name) = pair(&direct());
    let (mut near, mut far) = (Memory::zeroed(32 << 20), Memory::new(32 << 20, |_| 6));
    far.register(&server);
    for _ in 0..4 {
        let whole = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 32 << 20 };
        let handle = near.register(&client);
        let req = transfer_async(&client, &name, TransferOp::Read, &[whole], TransferArgs::default())
            .expect("begun");
        client.deregister_mem(handle).expect("deregistered");
        // All bytes had come by then; that they have is told right after.
        assert!(near.bytes().iter().all(|byte| *byte == 6));
        assert_eq!(ended(&client, req), TransferStatus::Completed);
        near = Memory::zeroed(32 << 20);
    }
}

#[test]
fn memory_that_the_engine_allocates_is_registered() {
    let (client, server, name) = pair(&direct());
    let allocate = |engine: &Hixl| {
        engine.allocate_mem(8192, MemType::Host, pmd_host::soft::ArenaOptions::default()).expect("allocated")
    };
    let ((near, local), (_, remote)) = (allocate(&client), allocate(&server));
    assert!(local.len >= 8192);
    // SAFETY: the server's own memory, 8192 bytes long, and no transfer runs.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(remote.addr as usize).write_bytes(3, 8192) };
    let whole = TransferOpDesc { local_addr: local.addr, remote_addr: remote.addr, len: 8192 };
    transfer(&client, &name, TransferOp::Read, &[whole], PATIENCE).expect("read");
    // SAFETY: as above, of the client.
    let bytes = unsafe { std::slice::from_raw_parts(local.addr as *const u8, 8192) };
    assert!(bytes.iter().all(|byte| *byte == 3));
    assert_eq!(client.transport(&name).expect("connected").name(), "shm");
    client.deregister_mem(near).expect("freed");
    let gone = transfer(&client, &name, TransferOp::Read, &[whole], PATIENCE);
    assert_eq!(status(gone), Status::ParamInvalid);
    let none = client.allocate_mem(1 << 60, MemType::Host, pmd_host::soft::ArenaOptions::default());
    assert!(none.is_err());
    client.disconnect(&name, PATIENCE).expect("disconnected");
    assert_eq!(status(client.transport(&name)), Status::NotConnected);
}
