//! `pmd_kv.Device` and `pmd_kv.DeviceMemory`: an accelerator, and memory on it, for programs without a tensor library.
//! Engines take both: the one in `accelerators=`, the other wherever they take an array.
#![allow(unsafe_code)] // has streams copy between memory of Python objects and of devices

mod kept;
mod order;

use std::sync::Arc;

use kv_api::{environment, fabric};
use pmd_core::accelerator::{
    Accelerator, AcceleratorError, AcceleratorKind, CopyDirection, CopyRange, DeviceMemory as Memory, Event,
};
use pmd_host::{accelerator::wait_for, soft::Accelerators};
use pmd_python::{array_interface, device::Device as Place, dlpack, element::Element, memory};
use pyo3::{
    exceptions::{PyAttributeError, PyBufferError, PyValueError},
    prelude::*,
    types::{PyBytes, PyDict},
};

pub(crate) use self::order::Order;
use crate::{
    error,
    waiting::{self, Detached},
};

/// An accelerator of this process: "cuda:0", "rocm:1", "ascend:0", or "cpu" for ordinary memory in a device's place.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Device(Arc<dyn Accelerator>);

#[pymethods]
impl Device {
    #[new]
    fn new(py: Python<'_>, name: &str) -> PyResult<Self> {
        let opened = py.detach(|| environment::accelerators(name, 0));
        let opened = opened.map_err(|problem| error::environment(py, &problem))?;
        let first = opened.iter().next().cloned();
        first.map(Self).ok_or_else(|| PyValueError::new_err("a device without a name: give one, as cuda:0"))
    }

    /// "cuda:0", ...
    #[getter]
    fn name(&self) -> String {
        let identity = self.0.identity();
        format!("{}:{}", identity.kind, identity.ordinal)
    }

    /// What its maker calls it.
    #[getter]
    fn model(&self) -> String {
        self.0.identity().name.clone()
    }

    /// New memory; what is in it nobody knows.
    fn allocate(&self, py: Python<'_>, nbytes: u64) -> PyResult<DeviceMemory> {
        let memory =
            py.detach(|| self.0.allocate(nbytes)).map_err(|problem| error::accelerator(py, problem))?;
        Ok(DeviceMemory(Detached::new(memory.into())))
    }

    /// Waits until all that a stream of the application has been given is done. Streams are numbered as the array API's
    /// `__dlpack__` does it: the runtime's handle, None for the default stream, -1 for no wait.
    #[pyo3(signature = (stream=None, timeout=None))]
    fn synchronize(&self, py: Python<'_>, stream: Option<i64>, timeout: Option<f64>) -> PyResult<()> {
        match native_stream(self.0.identity().kind, stream)? {
            Some(native) => wait_for_stream(py, &*self.0, native, timeout),
            None => Ok(()),
        }
    }

    fn __repr__(&self) -> String {
        format!("<Device {}, {}>", self.name(), self.model())
    }
}

/// Memory on an accelerator. It is freed with the last of its views, tensors made of it, registrations and transfers.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct DeviceMemory(Detached<Arc<dyn Memory>>);

impl DeviceMemory {
    pub(crate) fn handle(&self, py: Python<'_>) -> PyResult<&Arc<dyn Memory>> {
        self.0.as_ref().ok_or_else(|| error::closed(py, "memory"))
    }

    /// Copies between the memory and bytes that a Python object or this call keeps.
    fn copy(&self, py: Python<'_>, bytes: u64, length: u64, direction: CopyDirection) -> PyResult<()> {
        let memory = self.handle(py)?;
        let described = memory.description();
        if length > described.length {
            let message = format!("{length} bytes for memory of {}", described.length);
            return Err(PyValueError::new_err(message));
        }
        let (there, accelerator) = (described.address, memory.accelerator());
        let (from, to) =
            if direction == CopyDirection::DeviceToHost { (there, bytes) } else { (bytes, there) };
        // SAFETY: the bytes and the memory are as long, and both are kept until the copy has ended, in this call. Python's
        // accesses go through no Rust reference.
        let copied = py.detach(|| unsafe { copy(&*accelerator, CopyRange { from, to, length, direction }) });
        copied.map_err(|problem| error::accelerator(py, problem))
    }
}

#[pymethods]
impl DeviceMemory {
    /// Address of the first byte, on the device.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle(py)?.description().address)
    }

    /// Bytes.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle(py)?.description().length)
    }

    /// Where it is.
    #[getter]
    fn device(&self, py: Python<'_>) -> PyResult<Device> {
        Ok(Device(self.handle(py)?.accelerator()))
    }

    /// Writes an array's bytes to its beginning, and waits for it.
    fn copy_from(&self, py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = memory::Memory::of(array)?;
        self.copy(py, bytes.address, bytes.length, CopyDirection::HostToDevice)
    }

    /// Fills an array from its beginning, and waits for it.
    fn copy_to(&self, py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = memory::Memory::writable(array)?;
        self.copy(py, bytes.address, bytes.length, CopyDirection::DeviceToHost)
    }

    /// All of it.
    fn tobytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut bytes = vec![0_u8; self.nbytes(py)? as usize];
        self.copy(py, bytes.as_mut_ptr() as u64, bytes.len() as u64, CopyDirection::DeviceToHost)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.nbytes(py)? as usize)
    }

    /// A DLPack capsule of its bytes, for tensor libraries: `torch.from_dlpack(memory)`. What this package does with the
    /// memory has ended when its calls return, so there is no stream for `stream` to wait for.
    #[pyo3(signature = (*, stream=None, **_options))]
    fn __dlpack__<'py>(
        slf: Bound<'py, Self>,
        stream: Option<i64>,
        _options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let memory = slf.get().handle(slf.py())?;
        let place = exported(&*memory.accelerator(), stream)?;
        let (described, bytes) = (memory.description(), Element::named("uint8")?);
        dlpack::capsule_on(
            place,
            slf.clone().into_any(),
            described.address,
            bytes,
            &[described.length as usize],
        )
    }

    /// Its DLPack device type and number.
    fn __dlpack_device__(&self, py: Python<'_>) -> PyResult<(i32, i32)> {
        let Place { kind, index } = place(&*self.handle(py)?.accelerator())?;
        Ok((kind, index))
    }

    /// For CuPy and Numba. Only of memory that CUDA or HIP knows.
    #[getter]
    fn __cuda_array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let memory = self.handle(py)?;
        let described = memory.description();
        interface(py, &*memory.accelerator(), described.address, described.length)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        self.handle(py).map_or_else(|_| "<DeviceMemory>".to_owned(), |memory| format!("<{memory:?}>"))
    }
}

/// The accelerators of an engine: names, with commas or in a list, and `Device` objects.
///
/// # Errors
/// `ConfigurationError` for one that is not here.
pub(crate) fn accelerators(value: &Bound<'_, PyAny>) -> PyResult<Accelerators> {
    let py = value.py();
    let named = |names: &str| {
        let opened = py.detach(|| environment::accelerators(names, 0));
        let opened = opened.map_err(|problem| error::environment(py, &problem))?;
        Ok::<_, PyErr>(opened.iter().cloned().collect::<Vec<_>>())
    };
    if let Ok(names) = value.extract::<String>() {
        return Ok(Accelerators::new(named(&names)?));
    }
    if let Ok(device) = value.cast::<Device>() {
        return Ok(Accelerators::new(vec![Arc::clone(&device.get().0)]));
    }
    let mut found = Vec::new();
    for one in value.try_iter()? {
        let one = one?;
        match one.cast::<Device>() {
            Ok(device) => found.push(Arc::clone(&device.get().0)),
            Err(_) => found.extend(named(&one.extract::<String>()?)?),
        }
    }
    Ok(Accelerators::new(found))
}

/// Has a stream of its own copy, and waits until it is done.
///
/// # Safety
/// As [`Stream::copy`](pmd_core::accelerator::Stream::copy), until this returns.
pub(crate) unsafe fn copy(accelerator: &dyn Accelerator, range: CopyRange) -> Result<(), AcceleratorError> {
    let stream = accelerator.open_stream()?;
    // SAFETY: passed on to the caller.
    unsafe { stream.copy(&[range])? };
    // Without a deadline: what is being copied may not be freed.
    wait_for(&*stream.record()?, None).map(drop)
}

/// Waits for what a stream of the application was given.
pub(crate) fn wait_for_stream(
    py: Python<'_>,
    accelerator: &dyn Accelerator,
    native: u64,
    timeout: Option<f64>,
) -> PyResult<()> {
    let recorded = accelerator.stream(native).and_then(|stream| stream.record());
    wait(py, &*recorded.map_err(|problem| error::accelerator(py, problem))?, timeout)
}

/// Waits for an event, and hears Ctrl-C.
pub(crate) fn wait(py: Python<'_>, event: &dyn Event, timeout: Option<f64>) -> PyResult<()> {
    let done = waiting::until(py, timeout, |patience| {
        let deadline = std::time::Instant::now() + patience;
        wait_for(event, Some(deadline)).map(|done| done.then_some(())).transpose()
    })?;
    let done = done.ok_or_else(|| error::timeout(py, "a stream", timeout))?;
    done.map_err(|problem| error::accelerator(py, problem))
}

/// The runtime's handle of a stream as the array API numbers it; `None` for no wait.
fn native_stream(kind: AcceleratorKind, stream: Option<i64>) -> PyResult<Option<u64>> {
    let refused = |number: i64| PyValueError::new_err(format!("{kind} has no stream {number}"));
    match (kind, stream) {
        (_, Some(-1)) => Ok(None),
        // Ordinary memory has no default stream.
        (AcceleratorKind::Cpu, None) => Ok(None),
        (AcceleratorKind::Cuda, None | Some(1)) | (_, None) => Ok(Some(0)),
        (AcceleratorKind::Cuda, Some(0)) => Err(refused(0)),
        (AcceleratorKind::Rocm, Some(number @ (1 | 2))) => Err(refused(number)),
        (_, Some(number)) => u64::try_from(number).map(Some).map_err(|_| refused(number)),
    }
}

/// What DLPack calls the place of an accelerator's memory.
pub(crate) fn place(accelerator: &dyn Accelerator) -> PyResult<Place> {
    let identity = accelerator.identity();
    let none =
        || PyBufferError::new_err(format!("DLPack has no device type for memory of {}", identity.kind));
    Place::of(identity.kind, identity.ordinal).ok_or_else(none)
}

/// The place of memory that a tensor library takes, and has told its stream for.
pub(crate) fn exported(accelerator: &dyn Accelerator, stream: Option<i64>) -> PyResult<Place> {
    native_stream(accelerator.identity().kind, stream)?;
    place(accelerator)
}

/// `__cuda_array_interface__` of bytes on a device.
pub(crate) fn interface<'py>(
    py: Python<'py>,
    accelerator: &dyn Accelerator,
    address: u64,
    bytes: u64,
) -> PyResult<Bound<'py, PyDict>> {
    let kind = accelerator.identity().kind;
    if !matches!(kind, AcceleratorKind::Cuda | AcceleratorKind::Rocm) {
        let message = format!("memory of {kind} has no {}", array_interface::NAME);
        return Err(PyAttributeError::new_err(message));
    }
    array_interface::shown(py, address, bytes)
}

/// The memory of an object, wherever it is. The owner of memory on a device is told the stream that `stream` says.
///
/// # Errors
/// As [`memory::Memory::anywhere`].
pub(crate) fn memory_of(object: &Bound<'_, PyAny>, stream: memory::StreamOf<'_>) -> PyResult<memory::Memory> {
    let Some(memory) = own(object)? else { return memory::Memory::anywhere(object, stream) };
    let described = memory.description();
    // One that DLPack has no number for is none of a tensor library.
    let place = Place { kind: pmd_python::device::EXTENSION, index: 0 };
    let place = self::place(&*memory.accelerator()).unwrap_or(place);
    Ok(memory::Memory::on_device(described.address, described.length, place, object))
}

/// What describes memory of a device that a Python object gave, and keeps it.
pub(crate) fn described(
    py: Python<'_>,
    accelerators: &Accelerators,
    memory: memory::Memory,
) -> PyResult<Arc<dyn Memory>> {
    // SAFETY: the value is kept together with the object that owns the memory.
    let adopted = unsafe { fabric::adopt(accelerators.iter(), memory.address, memory.length, None) };
    let adopted = adopted.map_err(|problem| error::fabric(py, problem))?;
    Ok(Arc::new(kept::Kept::new(adopted, memory.keep_alive())))
}

/// The memory of an object of this package that is on a device.
pub(crate) fn own(object: &Bound<'_, PyAny>) -> PyResult<Option<Arc<dyn Memory>>> {
    match object.cast::<DeviceMemory>() {
        Ok(memory) => memory.get().handle(object.py()).map(|memory| Some(Arc::clone(memory))),
        Err(_) => Ok(None),
    }
}

/// The accelerator whose memory a range is, of those of a fabric.
pub(crate) fn owner(fabric: &fabric::Fabric, address: u64, length: u64) -> Option<Arc<dyn Accelerator>> {
    // SAFETY: the value goes at once; the runtime was asked, and nothing more.
    let adopted = unsafe { fabric.adopt(address, length, None) };
    adopted.ok().map(|memory| memory.accelerator())
}
