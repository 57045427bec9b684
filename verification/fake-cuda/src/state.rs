//! The process's devices, their primary contexts, and each thread's stack of contexts. Used by all of `api`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    env,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use fake_device::{Owner, Runtime};

use crate::{
    code::{CONTEXT_IS_DESTROYED, Code, INVALID_CONTEXT, INVALID_DEVICE, code},
    kernel,
};

/// Handles of primary contexts: this and 16 times the device.
const CONTEXTS: usize = 0xc0de_0000;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static INITIALISED: AtomicBool = AtomicBool::new(false);
static CONTEXT_STATES: Mutex<BTreeMap<u32, Primary>> = Mutex::new(BTreeMap::new());

thread_local! {
    static STACK: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The primary context of a device.
#[derive(Debug, Default)]
struct Primary {
    retained: u64,
    active: bool,
    /// Pinned and registered memory, which goes with the context.
    host: BTreeSet<u64>,
}

pub(crate) fn runtime() -> &'static Runtime {
    RUNTIME.get_or_init(Runtime::from_environment)
}

pub(crate) fn initialise() {
    INITIALISED.store(true, Ordering::Release);
}

pub(crate) fn is_initialised() -> bool {
    INITIALISED.load(Ordering::Acquire)
}

/// The device of a `CUdevice`.
pub(crate) fn device(device: i32) -> Result<u32, Code> {
    u32::try_from(device).ok().filter(|device| *device < runtime().devices()).ok_or(INVALID_DEVICE)
}

/// What a device says of itself: an H100's numbers, unless `FAKE_CUDA_ATTRIBUTES` has another.
pub(crate) fn attribute(device: u32, attribute: u32) -> i32 {
    let chosen = env::var("FAKE_CUDA_ATTRIBUTES").unwrap_or_default();
    let mut chosen = chosen.split(',').filter_map(|part| part.split_once('='));
    let number = attribute.to_string();
    let found = chosen.rfind(|(name, _)| name.trim() == number);
    if let Some(value) = found.and_then(|(_, value)| value.trim().parse().ok()) {
        return value;
    }
    match attribute {
        33 => 0x10 + device.cast_signed(),
        41 | 92 | 93 | 102 | 103 | 110 | 116 | 117 | 122 | 124 => 1,
        75 => 9,
        _ => 0,
    }
}

/// Bytes by which a device is known everywhere.
pub(crate) fn uuid(device: u32) -> [u8; 16] {
    let mut uuid = *b"fake cuda device";
    uuid[15] = device as u8;
    uuid
}

pub(crate) fn context_of(device: u32) -> usize {
    CONTEXTS + 16 * device as usize
}

/// The device of a context that is alive.
pub(crate) fn device_of(context: usize) -> Result<u32, Code> {
    let number = context.checked_sub(CONTEXTS).filter(|number| number % 16 == 0).ok_or(INVALID_CONTEXT)?;
    let device = device((number / 16) as i32).map_err(|_| INVALID_CONTEXT)?;
    match contexts().get(&device) {
        Some(primary) if primary.active => Ok(device),
        Some(_) => Err(CONTEXT_IS_DESTROYED),
        None => Err(INVALID_CONTEXT),
    }
}

pub(crate) fn current() -> usize {
    STACK.with_borrow(|stack| stack.last().copied().unwrap_or(0))
}

/// The device of this thread's context.
pub(crate) fn current_device() -> Result<u32, Code> {
    match current() {
        0 => Err(INVALID_CONTEXT),
        context => device_of(context),
    }
}

pub(crate) fn push(context: usize) {
    STACK.with_borrow_mut(|stack| stack.push(context));
}

pub(crate) fn pop() -> Option<usize> {
    STACK.with_borrow_mut(Vec::pop)
}

pub(crate) fn retain(device: u32) -> usize {
    let mut contexts = contexts();
    let primary = contexts.entry(device).or_default();
    primary.retained += 1;
    primary.active = true;
    context_of(device)
}

pub(crate) fn release(device: u32) -> Result<(), Code> {
    let mut contexts = contexts();
    let primary = contexts.entry(device).or_default();
    if primary.retained == 0 {
        drop(contexts);
        runtime().misuse(&format!("the context of device {device} is released and was not retained"));
        return Err(INVALID_CONTEXT);
    }
    primary.retained -= 1;
    let last = primary.retained == 0;
    drop(contexts);
    if last {
        reset(device);
    }
    Ok(())
}

/// Destroys what is on a device; its context is no more until it is retained again.
pub(crate) fn reset(device: u32) {
    let host = {
        let mut contexts = contexts();
        let primary = contexts.entry(device).or_default();
        primary.active = false;
        std::mem::take(&mut primary.host)
    };
    kernel::forget(device);
    runtime().reset_device(device, CONTEXT_IS_DESTROYED.into());
    for address in host {
        let owner = runtime().find(address).map(|found| found.owner);
        // Another thread may have freed it meanwhile.
        let _ = owner.map(|owner| runtime().free(address, owner));
    }
}

/// Notes memory of the host that goes with a device's context.
pub(crate) fn keep_host(device: u32, address: u64) {
    contexts().entry(device).or_default().host.insert(address);
}

/// Frees memory of the host, by whichever context it was made.
pub(crate) fn free_host(address: u64, owner: Owner) -> Result<(), Code> {
    for primary in contexts().values_mut() {
        primary.host.remove(&address);
    }
    runtime().free(address, owner).map_err(code)
}

/// How often contexts are retained, altogether.
pub(crate) fn retained() -> u64 {
    contexts().values().map(|primary| primary.retained).sum()
}

fn contexts() -> MutexGuard<'static, BTreeMap<u32, Primary>> {
    lock(&CONTEXT_STATES)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
