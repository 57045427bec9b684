//! What `open` says of a machine, and calls that fail.

use accel_ascend::Unavailable;

use crate::support::*;

fn refused(ordinal: u32) -> Unavailable {
    accel_ascend::AscendAccelerator::open(ordinal).expect_err("it cannot be opened")
}

case!(a_runtime_without_devices_has_none, ["FAKE_DEVICE_COUNT" = "0"], {
    assert_eq!(accel_ascend::is_stand_in(), Ok(true));
    assert_eq!(refused(0), Unavailable::NoDevice);
});

case!(
    a_runtime_that_does_not_start_gives_its_code,
    [
        "FAKE_DEVICE_FAULTS" = "aclInit@1=500003,aclrtGetDeviceCount@1=207004,aclrtGetDeviceCount@2=107002,aclrtSetDevice@1=507033"
    ],
    {
        assert_eq!(refused(0), Unavailable::Call { call: "aclInit", code: 500_003 });
        assert_eq!(refused(0), Unavailable::NoDevice);
        assert_eq!(refused(0), Unavailable::Call { call: "aclrtGetDeviceCount", code: 107_002 });
        assert_eq!(refused(2), Unavailable::NoSuchDevice { ordinal: 2, count: 2 });
        assert_eq!(refused(0), Unavailable::Call { call: "aclrtSetDevice", code: 507_033 });
        assert_eq!(open(0).identity().ordinal, 0);
    }
);

case!(a_device_is_identified, [], {
    let (first, second) = (open(0), open(1));
    let identity = second.identity();
    assert_eq!((identity.kind, identity.ordinal), (AcceleratorKind::Ascend, 1));
    assert_eq!(identity.name, "Ascend910B1");
    assert_eq!(identity.pci.map(|pci| pci.to_string()).as_deref(), Some("0000:c1:00.0"));
    assert_ne!(identity.unique, first.identity().unique);
});

case!(
    each_call_that_fails_gives_its_code_and_leaves_nothing,
    [
        "FAKE_DEVICE_FAULTS" = "aclrtMalloc@1=500003,aclrtMallocHost@1=207001,aclrtCreateStream@1=207008,aclrtRecordEvent@1=107017,\
     aclrtMemcpyAsync@1=507899,aclrtLaunchHostFunc@1=507009,aclrtStreamWaitEvent@1=507010,\
     aclrtCreateEvent@1=207007,aclrtHostRegister@1=507011,aclrtQueryEventStatus@1=507012,aclrtValueWrite@1=507013,\
     aclrtValueWait@1=507014"
    ],
    {
        let npu = open(0);
        assert_eq!(failure(npu.allocate(64)), ("aclrtMalloc", 500_003));
        let wanted = AcceleratorError::OutOfMemory { kind: AcceleratorKind::Ascend, wanted: 64 };
        assert_eq!(npu.allocate_pinned(64).unwrap_err(), wanted);
        assert_eq!(failure(npu.open_stream()), ("aclrtCreateStream", 207_008));
        assert_eq!(failure(npu.flag()), ("aclrtHostRegister", 507_011));
        assert_eq!(counts(), Default::default());
        let (stream, flag) = (npu.open_stream().unwrap(), npu.flag().unwrap());
        assert_eq!(failure(stream.record()), ("aclrtCreateEvent", 207_007));
        assert_eq!(failure(stream.record()), ("aclrtRecordEvent", 107_017));
        let (memory, pinned) = (npu.allocate(64).unwrap(), npu.allocate_pinned(64).unwrap());
        let (from, to) = (pinned.description().address, memory.description().address);
        assert_eq!(
            failure(copy(&stream, from, to, CopyDirection::HostToDevice)),
            ("aclrtMemcpyAsync", 507_899)
        );
        assert_eq!(
            failure(copy(&stream, from, from, CopyDirection::HostToHost)),
            ("aclrtLaunchHostFunc", 507_009)
        );
        assert_eq!(failure(stream.signal(&flag, 1)), ("aclrtValueWrite", 507_013));
        assert_eq!(failure(stream.wait_value(&flag, 1)), ("aclrtValueWait", 507_014));
        let event = stream.record().unwrap();
        assert_eq!(failure(stream.wait(&event)), ("aclrtStreamWaitEvent", 507_010));
        assert_eq!(failure(event.query()), ("aclrtQueryEventStatus", 507_012));
        drop(event);
        finish(&stream);
        drop((stream, flag, memory, pinned));
        wait_until("all is freed", || {
            drop(npu.open_stream());
            let counts = counts();
            (counts.allocations, counts.pinned, counts.streams) == (0, 0, 0)
        });
        assert_eq!(counts().misuses, 0);
    }
);

case!(
    a_context_that_went_is_told_by_every_call,
    ["FAKE_DEVICE_FAULTS" = "aclrtSetCurrentContext@1+=107002"],
    {
        let npu = open(0);
        let (memory, stream, flag) =
            (npu.allocate(64).unwrap(), npu.open_stream().unwrap(), npu.flag().unwrap());
        let event = stream.record().unwrap();
        // From now on each call has to change the thread's context.
        select(1);
        let gone = ("aclrtSetCurrentContext", 107_002);
        assert_eq!(failure(npu.allocate(64)), gone);
        assert_eq!(failure(npu.allocate_pinned(64)), gone);
        assert_eq!(failure(npu.open_stream()), gone);
        assert_eq!(failure(npu.stream(0)), gone);
        assert_eq!(failure(npu.flag()), gone);
        assert_eq!(failure(memory.share()), gone);
        assert_eq!(failure(stream.record()), gone);
        assert_eq!(failure(stream.wait(&event)), gone);
        assert_eq!(failure(stream.signal(&flag, 1)), gone);
        assert_eq!(failure(event.query()), gone);
        drop((memory, stream, flag, event));
    }
);

case!(threads_without_a_context_use_it_too, [], {
    let npu = open(1);
    let memory = npu.allocate(64).unwrap();
    let address = memory.description().address;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let stream = npu.open_stream().unwrap();
                let target = npu.allocate_pinned(64).unwrap();
                copy(&stream, address, target.description().address, CopyDirection::DeviceToHost).unwrap();
                finish(&stream);
                // SAFETY: memory of the host of so many bytes, which the stream has written.
                let first = unsafe { (target.description().address as *const [u8; 64]).read() };
                assert_eq!(first, [0xa5; 64]);
            });
        }
    });
});
