//! Flags.

use crate::support::*;

case!(flags_are_signalled_in_turn, [], {
    let gpu = open(0);
    let (stream, first, second) = (gpu.open_stream().unwrap(), gpu.flag().unwrap(), gpu.flag().unwrap());
    assert_eq!((first.load(), second.load()), (0, 0));
    assert_ne!(first.address(), second.address());
    stream.wait_value(&first, 3).unwrap();
    stream.signal(&second, 1 << 40).unwrap();
    first.store(2);
    assert_eq!(second.load(), 0);
    first.store(9);
    wait_until("it is signalled", || second.load() == 1 << 40);
    // SAFETY: the flag's word, which lives.
    let word = unsafe { (second.address() as *const u64).read_volatile() };
    assert_eq!(word, 1 << 40);
    drop((stream, first, second, gpu));
    assert_nothing_left();
});

case!(the_largest_value_releases_every_waiter, [], {
    let gpu = open(0);
    let (stream, flag) = (gpu.open_stream().unwrap(), gpu.flag().unwrap());
    for value in [1, 1 << 62, u64::MAX >> 1, u64::MAX] {
        stream.wait_value(&flag, value).unwrap();
    }
    flag.store(u64::MAX);
    finish(&stream);
    assert_eq!(flag.load(), u64::MAX);
    flag.store(0);
    stream.signal(&flag, u64::MAX).unwrap();
    wait_until("it is signalled", || flag.load() == u64::MAX);
});

case!(a_word_is_used_anew_when_streams_have_passed_it, [], {
    let gpu = open(0);
    let (stream, gate) = (gpu.open_stream().unwrap(), gpu.flag().unwrap());
    let flag = gpu.flag().unwrap();
    let place = flag.address();
    stream.wait_value(&gate, 1).unwrap();
    stream.signal(&flag, 7).unwrap();
    drop(flag);
    let flags: Vec<_> = (0..200).map(|_| gpu.flag().unwrap()).collect();
    assert!(flags.iter().all(|flag| flag.address() != place));
    gate.store(1);
    finish(&stream);
    assert!(flags.iter().all(|flag| flag.load() == 0));
    let again = gpu.flag().unwrap();
    assert_eq!((again.address(), again.load()), (place, 0));
    let pages = counts().pinned;
    drop(flags);
    let flags: Vec<_> = (0..200).map(|_| gpu.flag().unwrap()).collect();
    assert_eq!(counts().pinned, pages);
    drop((flags, again, gate, stream, gpu));
    assert_nothing_left();
});

case!(flags_of_another_device_are_foreign, [], {
    let (gpu, other) = (open(0), open(1));
    let (stream, flag) = (gpu.open_stream().unwrap(), other.flag().unwrap());
    assert!(matches!(stream.signal(&flag, 1).unwrap_err(), AcceleratorError::Foreign { .. }));
    assert!(matches!(stream.wait_value(&flag, 1).unwrap_err(), AcceleratorError::Foreign { .. }));
});

case!(a_device_without_stream_memory_operations_has_no_flags, ["FAKE_CUDA_ATTRIBUTES" = "122=0"], {
    let error = open(0).flag().unwrap_err();
    assert!(error.to_string().contains("no 64-bit stream memory operations"), "{error}");
});

case!(a_driver_without_room_for_a_flag_says_so, ["FAKE_DEVICE_FAULTS" = "cuMemHostAlloc@1=2"], {
    let gpu = open(0);
    assert!(matches!(gpu.flag().unwrap_err(), AcceleratorError::OutOfMemory { .. }));
    assert!(gpu.flag().is_ok());
});
