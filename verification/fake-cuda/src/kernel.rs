//! Modules and launches: the one kernel that is known, done on the processor, or its text run. Called by `api::module`.
#![allow(unsafe_code)] // reads a launch's parameters

use std::{
    collections::BTreeMap,
    env,
    ffi::{CStr, c_void},
    sync::Mutex,
};

use fake_device::{Direction, FakeError};

use crate::{
    code::{
        Code, ILLEGAL_ADDRESS, INVALID_HANDLE, INVALID_PTX, INVALID_VALUE, MISALIGNED_ADDRESS, NOT_FOUND,
    },
    interpret::{Place, Program},
    state::{lock, runtime},
};

/// How the names of the known functions begin; bytes of a word follow.
const KNOWN: &str = "pmd_copy_blocks_";

/// Modules, and where a function is in its module.
static MODULES: Mutex<Modules> = Mutex::new(Modules { made: 0, loaded: BTreeMap::new() });

struct Modules {
    made: usize,
    /// By their handles.
    loaded: BTreeMap<usize, Module>,
}

struct Module {
    device: u32,
    text: String,
    /// Names of its entries.
    names: Vec<String>,
}

/// Entries that a module has room for; functions are numbered within their modules.
const ENTRIES: usize = 256;

/// What is launched: six numbers, as the kernel's entries declare them, and the shape of the grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    numbers: [u64; 6],
    pairs: u32,
    parts: u32,
    threads: u32,
}

/// # Safety
/// The image is a C string, if it is not null.
pub(crate) unsafe fn load(device: u32, image: *const c_void) -> Result<usize, Code> {
    if image.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(image.cast()) }.to_str().map_err(|_| INVALID_PTX)?;
    let directives = [".version ", ".target sm_", ".address_size 64"];
    let braces = text.matches('{').count() == text.matches('}').count();
    if !directives.iter().all(|directive| text.contains(directive)) || !braces {
        return Err(INVALID_PTX);
    }
    let entries = text.split(".visible .entry ").skip(1);
    let names: Vec<String> = entries.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())).collect();
    if names.len() > ENTRIES {
        return Err(INVALID_PTX);
    }
    let mut modules = lock(&MODULES);
    modules.made += 1;
    let handle = 0x10_0000 + modules.made * ENTRIES;
    modules.loaded.insert(handle, Module { device, text: text.to_owned(), names });
    Ok(handle)
}

pub(crate) fn unload(module: usize) -> Result<(), Code> {
    lock(&MODULES).loaded.remove(&module).map(drop).ok_or(INVALID_HANDLE)
}

pub(crate) fn function(module: usize, name: &CStr) -> Result<usize, Code> {
    let modules = lock(&MODULES);
    let names = &modules.loaded.get(&module).ok_or(INVALID_HANDLE)?.names;
    let at = names.iter().position(|known| Some(known.as_str()) == name.to_str().ok()).ok_or(NOT_FOUND)?;
    Ok(module + at)
}

/// The device's context is no more, and its modules neither.
pub(crate) fn forget(device: u32) {
    lock(&MODULES).loaded.retain(|_, module| module.device != device);
}

/// Modules that are loaded.
pub(crate) fn loaded() -> u64 {
    lock(&MODULES).loaded.len() as u64
}

/// What a launch of a known function does: bytes of the words that it moves, and its text where that is to be run.
pub(crate) fn known(function: usize) -> Result<(u64, Option<Program>), Code> {
    let modules = lock(&MODULES);
    let Module { text, names, .. } =
        modules.loaded.get(&(function & !(ENTRIES - 1))).ok_or(INVALID_HANDLE)?;
    let name = names.get(function % ENTRIES).ok_or(INVALID_HANDLE)?;
    let width = name.strip_prefix(KNOWN).and_then(|width| width.parse().ok()).ok_or(NOT_FOUND)?;
    let interpreted = env::var_os("FAKE_CUDA_INTERPRET").map(|_| Program::parse(text, name));
    Ok((width, interpreted.transpose()?))
}

impl Launch {
    /// # Safety
    /// `parameters` is a list of six addresses of 64-bit numbers.
    pub(crate) unsafe fn read(
        pairs: u32,
        parts: u32,
        threads: u32,
        parameters: *const *const c_void,
    ) -> Self {
        // SAFETY: the caller's promise.
        let number = |at| unsafe { (*parameters.add(at)).cast::<u64>().read_unaligned() };
        Self { numbers: std::array::from_fn(number), pairs, parts, threads }
    }

    /// Runs every thread of the program, one after the other; called on the stream's thread.
    pub(crate) fn interpret(&self, program: &Program) -> Result<(), Code> {
        let Self { pairs, parts, threads, .. } = *self;
        for group in 0..u64::from(pairs) * u64::from(parts) {
            let (x, y) = ((group % u64::from(pairs)) as u32, (group / u64::from(pairs)) as u32);
            for thread in 0..threads {
                let place: Place = [threads, 1, pairs, parts, thread, 0, x, y];
                program.run(&self.numbers, &place)?;
            }
        }
        Ok(())
    }

    /// Moves the blocks; called on the stream's thread.
    pub(crate) fn run(&self, width: u64) -> Result<(), Code> {
        let [from_base, from_stride, to_base, to_stride, units, list] = self.numbers;
        let mut pairs = vec![[0_u32; 2]; self.pairs as usize];
        let illegal = |_: FakeError| ILLEGAL_ADDRESS;
        let bytes = size_of_val(pairs.as_slice()) as u64;
        let to_host = Some(Direction::DeviceToHost);
        runtime().prepare_copy(pairs.as_mut_ptr() as u64, list, bytes, to_host).map_err(illegal)?.run();
        for [from, to] in pairs {
            let from = from_base.wrapping_add(from_stride.wrapping_mul(from.into()));
            let to = to_base.wrapping_add(to_stride.wrapping_mul(to.into()));
            if !from.is_multiple_of(width) || !to.is_multiple_of(width) {
                return Err(MISALIGNED_ADDRESS);
            }
            let within = Some(Direction::DeviceToDevice);
            let copy = runtime().prepare_copy(to, from, units * width, within).map_err(illegal)?;
            copy.run();
        }
        Ok(())
    }
}
