//! Runtimes and devices that lack something.

use crate::support::*;

case!(
    what_a_device_lacks_is_unsupported,
    [
        "FAKE_DEVICE_FAULTS" = "aclrtHostRegister@1+=207000,aclrtIpcMemGetExportKey@1+=207000,aclrtIpcMemImportByKey@2=207000,\
     aclrtLaunchHostFunc@1=207000"
    ],
    {
        let npu = open(0);
        let memory = npu.allocate(64).unwrap();
        assert!(is_unsupported(npu.flag()));
        // SAFETY: refused.
        assert!(is_unsupported(unsafe { npu.pin(0x7000_0000_0000, 64) }));
        assert!(is_unsupported(memory.share()));
        let pinned = npu.allocate_pinned(64).unwrap();
        assert!(is_unsupported(pinned.share()));
        let address = pinned.description().address;
        let stream = npu.open_stream().unwrap();
        assert!(is_unsupported(copy(&stream, address, address, CopyDirection::HostToHost)));
        let reason = memory.without_descriptor().expect("no dma-buf");
        assert!(matches!(reason, AcceleratorError::Unsupported { what: "export a dma-buf", .. }), "{reason}");
    }
);

case!(
    values_in_streams_may_be_lacking,
    ["FAKE_DEVICE_FAULTS" = "aclrtValueWrite@1=207000,aclrtValueWait@1=207000"],
    {
        let npu = open(0);
        let (stream, flag) = (npu.open_stream().unwrap(), npu.flag().unwrap());
        assert!(is_unsupported(stream.signal(&flag, 1)));
        assert!(is_unsupported(stream.wait_value(&flag, 1)));
        finish(&stream);
    }
);

case!(
    a_runtime_that_cannot_tell_allocations_asks_for_the_last_byte,
    ["FAKE_DEVICE_FAULTS" = "aclrtMemGetAddressRange@1+=207000"],
    {
        let npu = open(0);
        let memory = npu.allocate(10_000).unwrap();
        let address = memory.description().address;
        // SAFETY: the memory outlives it, or it is refused.
        let (fits, too_long) = unsafe { (npu.adopt(address + 8, 9992), npu.adopt(address + 8, 100_000)) };
        assert_eq!(fits.unwrap().description().length, 9992);
        let wanted = AcceleratorError::Range { address: address + 8, length: 100_000, available: None };
        assert_eq!(too_long.unwrap_err(), wanted);
    }
);

case!(
    a_runtime_that_cannot_tell_addresses_takes_the_callers_word,
    ["FAKE_DEVICE_FAULTS" = "aclrtMemGetAddressRange@1+=207000,aclrtPointerGetAttributes@1+=207000"],
    {
        let npu = open(0);
        // SAFETY: nothing is done with it.
        let adopted = unsafe { npu.adopt(0x7000_0000_0000, 64) }.unwrap();
        assert_eq!(adopted.description().address, 0x7000_0000_0000);
    }
);
