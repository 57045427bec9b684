//! Registered memory in C, and tensors as DLPack describes them. Called by `worker` and `server`.
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

use std::{
    ffi::c_void,
    ptr::{self, NonNull},
    sync::Arc,
};

use af_api::tensor::{DataType, Layout, Memory, MemoryError, Tensor, TensorError};
use pmd_core::{
    accelerator::{AcceleratorKind, DeviceMemory},
    memory::{MemoryKind, RegionDescription},
};
use pmd_host::{endpoint::Endpoint, soft::ArenaOptions, transfer::KeepAlive};

use crate::{
    boundary::{Place, Table, array, guard},
    node::{Process, pmd_af_node, process_of},
    status::{Failure, pmd_af_status, statuses},
};

/// Memory that tensors lie in, registered.
pub struct pmd_af_memory {
    _opaque: [u8; 0],
}

/// Registered with the endpoint of each role that the process has.
struct Registered {
    worker: Option<Memory>,
    server: Option<Memory>,
}

static MEMORIES: Table<pmd_af_memory, Registered> = Table::new("memory");

/// A tensor: exactly DLPack's `DLTensor`, so that a pointer to one is a pointer to the other.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_af_tensor {
    /// First byte, before the offset.
    pub data: *mut c_void,
    /// DLPack's device: 1 the host, 3 the host's pinned memory, 2 CUDA, 10 ROCm, 12 Ascend. Of tensors that are given it is
    /// not looked at: their memory says where they are.
    pub device_type: i32,
    /// Which of them.
    pub device_id: i32,
    /// Number of dimensions.
    pub dimensions: i32,
    /// DLPack's kind of element: 0 signed, 1 unsigned, 2 floating point, 4 bfloat, 5 complex, 6 truth value, 10 and 12
    /// 8-bit floating points of 4 and 5 bits of exponent.
    pub type_code: u8,
    /// Bits of an element.
    pub type_bits: u8,
    /// Elements in one; 1.
    pub type_lanes: u16,
    /// Elements in each dimension, the slowest first.
    pub shape: *const i64,
    /// Elements from one entry to the next in each dimension; NULL: without gaps. There may be no gaps.
    pub strides: *const i64,
    /// Bytes from `data` to the first element.
    pub byte_offset: u64,
}

/// A tensor under a key.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_af_keyed_tensor {
    /// What it is called on the wire.
    pub key: u64,
    /// The memory that it lies in.
    pub memory: *const pmd_af_memory,
    /// The tensor.
    pub tensor: pmd_af_tensor,
    /// Bytes of the tensor; written by the library, not looked at.
    pub bytes: u64,
}

/// Allocates zeroed memory that peers of this host can map, the fastest kind, and registers it. Release it with
/// `pmd_af_memory_release`.
///
/// # Safety
/// `memory` and `address` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_memory_allocate(
    node: *const pmd_af_node,
    bytes: usize,
    memory: *mut *mut pmd_af_memory,
    address: *mut *mut c_void,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let places = unsafe {
            (
                Place::new(memory, "the place for the memory")?,
                Place::new(address, "the place for the address")?,
            )
        };
        let process = process_of(node)?;
        let first = Memory::allocate(process.endpoint()?, bytes, ArenaOptions::default())?;
        let range = host_range(first.address(), first.length());
        // SAFETY: the second registration holds the first, and with it the memory.
        let registered = unsafe { Registered::both(&process, &range, Some(first.clone()))? };
        places.1.put(ptr::with_exposed_provenance_mut(first.address() as usize));
        places.0.put(MEMORIES.insert(registered));
        Ok(())
    })
}

/// Allocates memory of device `device` of the process's accelerators, of undefined content, and registers it. Release it with
/// `pmd_af_memory_release`. `PMD_AF_STATUS_UNAVAILABLE` for a device that the process was not started with.
///
/// # Safety
/// `memory` and `address` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_memory_allocate_on(
    node: *const pmd_af_node,
    bytes: usize,
    device: i32,
    memory: *mut *mut pmd_af_memory,
    address: *mut *mut c_void,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let places = unsafe {
            (
                Place::new(memory, "the place for the memory")?,
                Place::new(address, "the place for the address")?,
            )
        };
        let process = process_of(node)?;
        let allocated = process.accelerator(device)?.allocate(bytes as u64).map_err(MemoryError::from)?;
        let first = allocated.description().address;
        let registered = Registered::on_device(&process, &Arc::from(allocated))?;
        places.1.put(ptr::without_provenance_mut(first as usize));
        places.0.put(MEMORIES.insert(registered));
        Ok(())
    })
}

/// Registers memory of the program: of the host, or of device `device` of the process's accelerators; negative: the host's.
/// Release it with `pmd_af_memory_release`. `PMD_AF_STATUS_UNAVAILABLE` for a device that the process was not started with,
/// `PMD_AF_STATUS_MEMORY` for what is no memory of the device, was freed, or ends before the range does.
///
/// # Safety
/// The memory stays mapped until it is released and everything under way with it has ended, and is not touched while a
/// request may; `memory` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_memory_register(
    node: *const pmd_af_node,
    address: *mut c_void,
    bytes: usize,
    device: i32,
    memory: *mut *mut pmd_af_memory,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(memory, "the place for the memory")? };
        let Some(address) = NonNull::new(address) else {
            return Err(Failure::new(pmd_af_status::NullPointer, "the memory is NULL"));
        };
        let process = process_of(node)?;
        if device >= 0 {
            let accelerator = process.accelerator(device)?;
            let first = address.as_ptr().addr() as u64;
            // SAFETY: the caller's promise.
            let adopted = unsafe { accelerator.adopt(first, bytes as u64) }.map_err(MemoryError::from)?;
            place.put(MEMORIES.insert(Registered::on_device(&process, &Arc::from(adopted))?));
            return Ok(());
        }
        let range = host_range(address.as_ptr().expose_provenance() as u64, bytes as u64);
        // SAFETY: the caller's promise.
        place.put(MEMORIES.insert(unsafe { Registered::both(&process, &range, None)? }));
        Ok(())
    })
}

/// Releases memory. What is under way with it goes on, and keeps it registered until it has ended.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_memory_release(memory: *mut pmd_af_memory) -> pmd_af_status {
    guard(|| Ok(MEMORIES.remove(memory).map(drop)?))
}

impl Registered {
    /// Registers memory of a device with each endpoint of the process.
    fn on_device(process: &Process, memory: &Arc<dyn DeviceMemory>) -> Result<Self, Failure> {
        let register = |endpoint: &Endpoint| Memory::of_device(endpoint, Arc::clone(memory));
        let server = process.server().map(|server| register(server.endpoint())).transpose()?;
        let worker = process.worker().map(|worker| register(worker.endpoint())).transpose()?;
        Ok(Self { worker, server })
    }

    /// Registers a range with each endpoint of the process; `known` is a registration with the first of them.
    ///
    /// # Safety
    /// As `pmd_af_memory_register`.
    unsafe fn both(
        process: &Process,
        range: &RegionDescription,
        known: Option<Memory>,
    ) -> Result<Self, Failure> {
        let keep = known.clone().map(|memory| KeepAlive(Arc::new(memory)));
        let mut known = known;
        let mut register = |endpoint: &Endpoint| match known.take() {
            Some(memory) => Ok(memory),
            // SAFETY: the caller's promise.
            None => unsafe { Memory::register(endpoint, range, keep.clone()) },
        };
        let server = process.server().map(|server| register(server.endpoint())).transpose()?;
        let worker = process.worker().map(|worker| register(worker.endpoint())).transpose()?;
        Ok(Self { worker, server })
    }
}

/// Which endpoint a tensor is for.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Worker,
    Server,
}

/// The tensors of an array, with their keys.
///
/// # Safety
/// `tensors` is null or points to `count` of them, whose shapes have their dimensions.
pub(crate) unsafe fn tensors_at(
    tensors: *const pmd_af_keyed_tensor,
    count: usize,
    side: Side,
) -> Result<Vec<(u64, Tensor)>, Failure> {
    // SAFETY: the caller's promise.
    let tensors = unsafe { array(tensors, count, "the array of tensors")? };
    // SAFETY: the caller's promise.
    tensors.iter().map(|keyed| Ok((keyed.key, unsafe { tensor_of(keyed, side)? }))).collect()
}

/// # Safety
/// The shape has its dimensions.
unsafe fn tensor_of(keyed: &pmd_af_keyed_tensor, side: Side) -> Result<Tensor, Failure> {
    let registered = MEMORIES.find(keyed.memory)?;
    let memory = match side {
        Side::Worker => registered.worker.as_ref(),
        Side::Server => registered.server.as_ref(),
    };
    let memory = memory.ok_or_else(|| Failure::argument("the memory is not registered for this role"))?;
    // SAFETY: the caller's promise.
    let layout = unsafe { layout_of(&keyed.tensor, keyed.key)? };
    let first = (keyed.tensor.data.addr() as u64).wrapping_add(keyed.tensor.byte_offset);
    let outside = || Failure::argument(format!("the tensor of key {} does not lie in its memory", keyed.key));
    let offset = first.checked_sub(memory.address()).filter(|_| layout.bytes() > 0).unwrap_or(0);
    if layout.bytes() > 0 && first < memory.address() {
        return Err(outside());
    }
    Ok(Tensor::new(memory, offset, layout)?)
}

/// # Safety
/// The shape has its dimensions.
unsafe fn layout_of(tensor: &pmd_af_tensor, key: u64) -> Result<Layout, Failure> {
    let count = usize::try_from(tensor.dimensions).unwrap_or(usize::MAX);
    // SAFETY: the caller's promise.
    let shape = unsafe { array(tensor.shape, count, "a tensor's shape")? };
    let negative = |_| Failure::argument(format!("the tensor of key {key} has a negative dimension"));
    let shape =
        shape.iter().map(|size| u64::try_from(*size).map_err(negative)).collect::<Result<Vec<_>, _>>()?;
    if !tensor.strides.is_null() {
        // SAFETY: the caller's promise.
        let strides = unsafe { array(tensor.strides, count, "a tensor's strides")? };
        if !is_dense(&shape, strides) {
            return Err(Failure::argument(format!(
                "the tensor of key {key} has gaps: give a contiguous one"
            )));
        }
    }
    let (code, bits, lanes) = (tensor.type_code, tensor.type_bits, tensor.type_lanes);
    let unknown = || {
        Failure::argument(format!(
            "the tensor of key {key} has elements of kind {code}, {bits} bits, {lanes} lanes"
        ))
    };
    let data_type = data_type_of(code, bits).filter(|_| lanes == 1).ok_or_else(unknown)?;
    Ok(Layout::new(data_type, &shape)?)
}

/// Whether elements follow each other in row-major order. Dimensions of one entry have any stride.
fn is_dense(shape: &[u64], strides: &[i64]) -> bool {
    if shape.contains(&0) {
        return true;
    }
    let mut wanted: u64 = 1;
    shape.iter().zip(strides).rev().all(|(size, stride)| {
        let dense = *size == 1 || u64::try_from(*stride) == Ok(wanted);
        wanted = wanted.saturating_mul(*size);
        dense
    })
}

/// DLPack's kinds and bits.
const TYPES: &[(u8, u8, DataType)] = &[
    (1, 8, DataType::Uint8),
    (0, 8, DataType::Int8),
    (1, 16, DataType::Uint16),
    (0, 16, DataType::Int16),
    (1, 32, DataType::Uint32),
    (0, 32, DataType::Int32),
    (1, 64, DataType::Uint64),
    (0, 64, DataType::Int64),
    (2, 16, DataType::Float16),
    (4, 16, DataType::Bfloat16),
    (2, 32, DataType::Float32),
    (2, 64, DataType::Float64),
    (6, 8, DataType::Bool),
    (10, 8, DataType::Float8E4m3),
    (12, 8, DataType::Float8E5m2),
    (5, 64, DataType::Complex64),
    (5, 128, DataType::Complex128),
];

fn data_type_of(code: u8, bits: u8) -> Option<DataType> {
    TYPES.iter().find(|known| (known.0, known.1) == (code, bits)).map(|known| known.2)
}

/// DLPack's numbers of where a tensor is.
pub(crate) fn device_of(tensor: &Tensor) -> (i32, i32) {
    let Some(accelerator) = tensor.memory().accelerator() else { return HOST };
    let identity = accelerator.identity();
    let kind = match identity.kind {
        AcceleratorKind::Cuda => 2,
        AcceleratorKind::Rocm => 10,
        _ => 12,
    };
    (kind, i32::try_from(identity.ordinal).unwrap_or(0))
}

/// DLPack's numbers of the host.
pub(crate) const HOST: (i32, i32) = (1, 0);

/// A tensor of the library's as C programs see it; `shape` lives as long as it is looked at.
pub(crate) fn described(
    key: u64,
    (address, device): (u64, (i32, i32)),
    layout: &Layout,
    shape: &[i64],
) -> pmd_af_keyed_tensor {
    let known = TYPES.iter().find(|known| known.2 == layout.data_type());
    let (type_code, type_bits) = known.map_or((1, 8), |known| (known.0, known.1));
    let tensor = pmd_af_tensor {
        data: ptr::with_exposed_provenance_mut(address as usize),
        device_type: device.0,
        device_id: device.1,
        dimensions: i32::try_from(shape.len()).unwrap_or(0),
        type_code,
        type_bits,
        type_lanes: 1,
        shape: shape.as_ptr(),
        strides: ptr::null(),
        byte_offset: 0,
    };
    pmd_af_keyed_tensor { key, memory: ptr::null(), tensor, bytes: layout.bytes().into() }
}

const fn host_range(address: u64, length: u64) -> RegionDescription {
    RegionDescription { address, length, kind: MemoryKind::Host, descriptor: None }
}

statuses! {
    MemoryError => of_memory;
    TensorError => of_tensor;
}

const fn of_memory(_: &MemoryError) -> pmd_af_status {
    pmd_af_status::Memory
}

const fn of_tensor(_: &TensorError) -> pmd_af_status {
    pmd_af_status::InvalidArgument
}
