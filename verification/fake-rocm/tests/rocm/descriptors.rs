//! dma-buf descriptors: from HIP, from the library below it, from neither.
#![allow(unsafe_code)] // adopts memory, takes a descriptor over

use std::{
    fs::{self, File},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use pmd_core::{
    accelerator::{AcceleratorError, AcceleratorKind, DeviceMemory},
    memory::RegionDescription,
};

use crate::{
    bench::{Fake, open, pattern, write},
    stage::Stage,
};

const BY_HIP: &str = "hipMemGetHandleForAddressRange";
const BY_HSA: &str = "hsa_amd_portable_export_dmabuf";

case!(memory_has_a_descriptor_by_hip, Stage::normal().without(BY_HSA), exported);
case!(memory_has_a_descriptor_by_hsa, Stage::normal().without(BY_HIP), exported);
case!(memory_has_a_descriptor_by_hsa_where_hip_refuses, Stage::normal().faults(&refused(BY_HIP)), exported);

fn refused(function: &str) -> String {
    format!("{function}@1+=801")
}

/// The descriptor is of the very memory, and the offset is where the range begins.
fn exported() {
    let (fake, device) = (Fake::loaded(), open(0));
    let before = descriptors();
    let base = fake.malloc(9000);
    // SAFETY: dropped before the memory is freed, and no transfer touches it but the one below.
    let (whole, part) = unsafe { (device.adopt(base, 9000), device.adopt(base + 5000, 3000)) };
    let (whole, part) = (whole.expect("ours"), part.expect("ours"));
    let stream = device.open_stream().expect("a stream");
    let bytes = pattern(77, 9000);
    write(&*stream, base, &bytes);
    assert_eq!(contents(&whole.description()), bytes);
    assert_eq!(contents(&part.description()), bytes[5000..8000]);
    assert_eq!(part.without_descriptor(), None);
    assert_eq!(part.description(), part.description(), "one descriptor for good");
    drop((whole, part, stream));
    fake.free(base);
    assert_eq!(descriptors(), before);
}

/// What the descriptor of a range holds.
fn contents(description: &RegionDescription) -> Vec<u8> {
    let (descriptor, offset) = description.descriptor.expect("a descriptor");
    // SAFETY: open for as long as the memory's value lives, which the caller holds.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let copy: OwnedFd = borrowed.try_clone_to_owned().expect("one more descriptor");
    let mut bytes = vec![0; description.length as usize];
    File::from(copy).read_exact_at(&mut bytes, offset).expect("as many bytes");
    bytes
}

/// How many this process has open.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("procfs").count()
}

case!(
    a_runtime_without_dma_buf_says_what_is_missing,
    Stage::normal().without(BY_HIP).without(BY_HSA),
    || {
        let memory = open(0).allocate(4096).expect("room");
        assert_eq!(memory.description().descriptor, None);
        let why = memory.without_descriptor().expect("a reason");
        assert_eq!(
            why.to_string(),
            "rocm cannot export a dma-buf: it needs hipMemGetHandleForAddressRange (ROCm 7) or \
         hsa_amd_portable_export_dmabuf (ROCm 5.6)"
        );
    }
);

case!(a_refused_descriptor_is_told_by_hip, Stage::normal().without(BY_HSA).faults(&refused(BY_HIP)), || {
    let refusal = why(&*open(0).allocate(4096).expect("room"));
    let name = "hipErrorNotSupported".to_owned();
    let kind = AcceleratorKind::Rocm;
    assert_eq!(refusal, AcceleratorError::Runtime { kind, function: BY_HIP, code: 801, name });
});

case!(a_refused_descriptor_is_told_by_hsa, Stage::normal().without(BY_HIP).faults(&refused(BY_HSA)), || {
    let refusal = why(&*open(0).allocate(4096).expect("room"));
    let told = matches!(refusal, AcceleratorError::Runtime { function: BY_HSA, code: 0x1001, .. });
    assert!(told, "{refusal}");
});

fn why(memory: &dyn DeviceMemory) -> AcceleratorError {
    assert_eq!(memory.description().descriptor, None);
    memory.without_descriptor().expect("a reason").clone()
}
