//! Everything that a stand-in keeps, behind one value. Called by the C functions of the stand-ins.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsRawFd, IntoRawFd, OwnedFd},
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    Direction, Event, FakeError, Found, IpcHandle, Owner, PreparedCopy, PreparedFill, Settings, Stream, Word,
    fault::Faults,
    ipc, lock,
    mapping::Mapping,
    memory::{self, FRESH, Memory},
    report::Report,
    virtual_memory::VirtualMemory,
};

/// What is alive, for tests that look for leaks. The stand-ins give it out in C's layout through
/// `void fake_device_counts(struct fake_device_counts *)`: nine 64-bit numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// Allocations of device memory, managed memory among them.
    pub allocations: u64,
    /// Bytes of them.
    pub allocated_bytes: u64,
    /// Allocations of pinned memory.
    pub pinned: u64,
    /// Ranges of the program's memory that are page-locked.
    pub registered: u64,
    /// Allocations of other processes that are open.
    pub imported: u64,
    /// Streams that the program has made.
    pub streams: u64,
    /// Events.
    pub events: u64,
    /// What else the stand-in counts: retained contexts and loaded modules, for instance. Filled in by the stand-in.
    pub others: u64,
    /// Lines of misuse.
    pub misuses: u64,
}

/// The devices of one process.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) settings: Settings,
    faults: Arc<Faults>,
    report: Report,
    pub(crate) memory: Mutex<Memory>,
    pub(crate) virtual_memory: Mutex<VirtualMemory>,
    handles: Mutex<Handles>,
    named: AtomicU64,
}

#[derive(Debug, Default)]
struct Handles {
    made: usize,
    streams: BTreeMap<usize, Stream>,
    events: BTreeMap<usize, Event>,
    /// Default streams, by device.
    defaults: BTreeMap<u32, Stream>,
    destroyed: BTreeSet<usize>,
}

impl Runtime {
    /// As the process's environment wants it.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::new(Settings::from_environment())
    }

    /// As the settings want it. Faults that are not written as they should be are misuse.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let report = Report::new(settings.report.clone(), settings.fail_at_exit);
        let faults = Faults::parse(&settings.faults).unwrap_or_else(|part| {
            report.misuse(&format!("FAKE_DEVICE_FAULTS has {part:?}, not function@n=code"));
            Faults::default()
        });
        Self {
            settings,
            faults: Arc::new(faults),
            report,
            memory: Mutex::default(),
            virtual_memory: Mutex::default(),
            handles: Mutex::default(),
            named: AtomicU64::new(0),
        }
    }

    /// Devices.
    #[must_use]
    pub fn devices(&self) -> u32 {
        self.settings.devices
    }

    /// Bytes of a device that are free, and all of them.
    #[must_use]
    pub fn room(&self, device: u32) -> (u64, u64) {
        let all = self.settings.memory;
        (all.saturating_sub(lock(&self.memory).used(device)), all)
    }

    /// Counts a call of a function, and says with which code it is to fail.
    #[must_use]
    pub fn fault(&self, function: &str) -> Option<i64> {
        self.faults.hit(function)
    }

    /// Writes down something that a device would not have forgiven.
    pub fn misuse(&self, line: &str) {
        self.report.misuse(line);
    }

    /// The lines of misuse so far.
    #[must_use]
    pub fn misuses(&self) -> Vec<String> {
        self.report.lines()
    }

    /// What is alive.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mapped = lock(&self.virtual_memory).counts();
        let memory = lock(&self.memory);
        let device = |owner| matches!(owner, Owner::Device(_) | Owner::Managed(_));
        let count = |wanted: fn(Owner) -> bool| memory.all(wanted).len() as u64;
        let handles = lock(&self.handles);
        Counts {
            allocations: count(device) + mapped.own,
            allocated_bytes: memory.bytes(device) + mapped.own_bytes,
            pinned: count(|owner| owner == Owner::Pinned),
            registered: count(|owner| owner == Owner::Registered),
            imported: count(|owner| matches!(owner, Owner::Imported(_))) + mapped.imported,
            streams: handles.streams.len() as u64,
            events: handles.events.len() as u64,
            others: 0,
            misuses: self.report.lines().len() as u64,
        }
    }

    /// New memory of a device, full of [`FRESH`]; its first byte, on a page of its own.
    ///
    /// # Errors
    /// [`FakeError::NoDevice`], [`FakeError::Invalid`] for no bytes, [`FakeError::OutOfMemory`].
    pub fn allocate(&self, device: u32, length: u64) -> Result<u64, FakeError> {
        self.take(device, length)?;
        let name = ipc::name(self.nonce());
        let made =
            Mapping::device(&name, length, self.settings.touchable).inspect(|mapping| mapping.fill(FRESH));
        self.keep(made, device, length, Owner::Device(device))
    }

    /// New memory that host and device both touch.
    ///
    /// # Errors
    /// As [`Runtime::allocate`].
    pub fn allocate_managed(&self, device: u32, length: u64) -> Result<u64, FakeError> {
        self.take(device, length)?;
        let made = Mapping::host(length).inspect(|mapping| mapping.fill(FRESH));
        self.keep(made, device, length, Owner::Managed(device))
    }

    /// New page-locked memory of the host.
    ///
    /// # Errors
    /// [`FakeError::Invalid`] for no bytes, [`FakeError::OutOfMemory`].
    pub fn allocate_pinned(&self, length: u64) -> Result<u64, FakeError> {
        check_length(length)?;
        let made = Mapping::host(length).inspect(|mapping| mapping.fill(FRESH));
        let mapping = made.map_err(|_| FakeError::OutOfMemory { wanted: length, left: 0 })?;
        Ok(lock(&self.memory).insert(mapping, Owner::Pinned))
    }

    /// Page-locks memory of the program.
    ///
    /// # Errors
    /// [`FakeError::Invalid`], [`FakeError::Registered`] where a part of it is known already.
    pub fn register(&self, address: u64, length: u64) -> Result<(), FakeError> {
        check_length(length)?;
        let last = address.checked_add(length - 1).filter(|_| address > 0);
        let last = last.ok_or(FakeError::Invalid { what: "the range" })?;
        let mut memory = lock(&self.memory);
        if memory.find(address).is_some() || memory.find(last).is_some() {
            return Err(FakeError::Registered { address });
        }
        memory.insert(Mapping::borrowed(address, length), Owner::Registered);
        Ok(())
    }

    /// Frees, unregisters or closes what begins at the address, once no operation touches it.
    ///
    /// # Errors
    /// [`FakeError::Unknown`], [`FakeError::WrongOwner`] where it is not memory of this owner, [`FakeError::Freed`].
    pub fn free(&self, address: u64, owner: Owner) -> Result<(), FakeError> {
        let removed = lock(&self.memory).remove(address, owner);
        let mapping = self.told("free", removed)?;
        if !memory::bury(&mapping, owner, self.settings.patience) {
            self.misuse(&format!("{address:#x} was freed while operations wait that touch it"));
        }
        Ok(())
    }

    /// The allocation that an address is in.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<Found> {
        lock(&self.memory).find(address)
    }

    /// Checks a copy; `None` for a direction that the addresses tell.
    ///
    /// # Errors
    /// [`FakeError::Invalid`] for address 0, [`FakeError::Freed`], [`FakeError::OutOfBounds`], [`FakeError::WrongOwner`].
    pub fn prepare_copy(
        &self,
        to: u64,
        from: u64,
        length: u64,
        direction: Option<Direction>,
    ) -> Result<PreparedCopy, FakeError> {
        let places = {
            let memory = lock(&self.memory);
            memory.place(to, length).and_then(|to| Ok((to, memory.place(from, length)?)))
        };
        let (to_place, from_place) = self.told("copy", places)?;
        for (place, writes, address) in [(&to_place, true, to), (&from_place, false, from)] {
            if direction.is_some_and(|direction| !direction.allows(writes, place.owner)) {
                return Err(FakeError::WrongOwner { address });
            }
        }
        Ok(PreparedCopy { to: to_place, from: from_place, length })
    }

    /// Checks a fill: so many times the pattern.
    ///
    /// # Errors
    /// As [`Runtime::prepare_copy`].
    pub fn prepare_fill(&self, to: u64, pattern: &[u8], times: u64) -> Result<PreparedFill, FakeError> {
        let length =
            times.checked_mul(pattern.len() as u64).ok_or(FakeError::Invalid { what: "the count" })?;
        let place = lock(&self.memory).place(to, length);
        Ok(PreparedFill { to: self.told("fill", place)?, pattern: pattern.to_vec(), times })
    }

    /// Checks a word that streams write or wait for: 64 bits if it is wide, else 32. The program's own memory must be
    /// page-locked.
    ///
    /// # Errors
    /// As [`Runtime::prepare_copy`]; [`FakeError::Invalid`] for an address between words, [`FakeError::Unknown`] for
    /// memory that no device reaches.
    pub fn prepare_word(&self, address: u64, wide: bool) -> Result<Word, FakeError> {
        let length = if wide { 8 } else { 4 };
        if !address.is_multiple_of(length) {
            return Err(FakeError::Invalid { what: "a word's address" });
        }
        let place = lock(&self.memory).place(address, length);
        let place = self.told("word", place)?;
        place.owner.ok_or(FakeError::Unknown { address })?;
        Ok(Word { place, wide })
    }

    /// A descriptor of the allocation that begins at the address, as an exported dma-buf: the caller closes it.
    ///
    /// # Errors
    /// [`FakeError::Unknown`], [`FakeError::Freed`], [`FakeError::WrongOwner`] for what is no device's.
    pub fn descriptor(&self, address: u64) -> Result<i32, FakeError> {
        let found = lock(&self.memory).mapping(address);
        let (mapping, _) = self.told("descriptor", found)?;
        let descriptor = mapping.descriptor().ok_or(FakeError::WrongOwner { address })?;
        let copy = descriptor.try_clone().map_err(|_| FakeError::Invalid { what: "one more descriptor" })?;
        Ok(copy.into_raw_fd())
    }

    /// What another process opens the allocation of an address with.
    ///
    /// # Errors
    /// As [`Runtime::descriptor`].
    pub fn export(&self, address: u64) -> Result<IpcHandle, FakeError> {
        let found = lock(&self.memory).mapping(address);
        let (mapping, owner) = self.told("export", found)?;
        let (Some(descriptor), Owner::Device(device)) = (mapping.descriptor(), owner) else {
            return Err(FakeError::WrongOwner { address });
        };
        let nonce = nonce_of(descriptor).ok_or(FakeError::Gone)?;
        let descriptor = descriptor.as_raw_fd().unsigned_abs();
        Ok(IpcHandle { process: process::id(), descriptor, device, length: mapping.length, nonce })
    }

    /// Opens what another process has exported; its first byte here. Freed as [`Owner::Imported`] of this device.
    ///
    /// # Errors
    /// [`FakeError::Gone`], [`FakeError::NoDevice`], [`FakeError::Invalid`] for a handle of this process.
    pub fn import(&self, device: u32, handle: &IpcHandle) -> Result<u64, FakeError> {
        self.check_device(device)?;
        if handle.process == process::id() {
            return Err(FakeError::Invalid { what: "a handle of this process" });
        }
        let mapping = Mapping::of(handle.open()?, handle.length, self.settings.touchable);
        let mapping = mapping.map_err(|_| FakeError::OutOfMemory { wanted: handle.length, left: 0 })?;
        Ok(lock(&self.memory).insert(mapping, Owner::Imported(device)))
    }

    /// A new stream.
    ///
    /// # Errors
    /// [`FakeError::NoDevice`].
    pub fn create_stream(&self, device: u32) -> Result<Stream, FakeError> {
        self.check_device(device)?;
        let mut handles = lock(&self.handles);
        let handle = handles.number();
        let stream = Stream::start(handle, device, Arc::clone(&self.faults));
        handles.streams.insert(handle, stream.clone());
        Ok(stream)
    }

    /// The default stream of a device, which is always there.
    ///
    /// # Errors
    /// [`FakeError::NoDevice`].
    pub fn default_stream(&self, device: u32) -> Result<Stream, FakeError> {
        self.check_device(device)?;
        let faults = || Arc::clone(&self.faults);
        let mut handles = lock(&self.handles);
        Ok(handles.defaults.entry(device).or_insert_with(|| Stream::start(0, device, faults())).clone())
    }

    /// The stream of a handle.
    ///
    /// # Errors
    /// [`FakeError::NoHandle`]; misuse where it was destroyed.
    pub fn stream(&self, handle: usize) -> Result<Stream, FakeError> {
        let found = lock(&self.handles).streams.get(&handle).cloned();
        found.ok_or_else(|| self.no_handle("stream", handle))
    }

    /// Every stream of a device, its default stream among them.
    #[must_use]
    pub fn streams(&self, device: u32) -> Vec<Stream> {
        let handles = lock(&self.handles);
        let all = handles.streams.values().chain(handles.defaults.values());
        all.filter(|stream| stream.device() == device).cloned().collect()
    }

    /// Destroys a stream; what is in it still happens.
    ///
    /// # Errors
    /// As [`Runtime::stream`].
    pub fn destroy_stream(&self, handle: usize) -> Result<(), FakeError> {
        let stream = self.stream(handle)?;
        let mut handles = lock(&self.handles);
        handles.streams.remove(&handle);
        handles.destroyed.insert(handle);
        stream.close();
        Ok(())
    }

    /// A new event.
    ///
    /// # Errors
    /// [`FakeError::NoDevice`].
    pub fn create_event(&self, device: u32) -> Result<Event, FakeError> {
        self.check_device(device)?;
        let mut handles = lock(&self.handles);
        let event = Event::new(handles.number(), device);
        handles.events.insert(event.handle(), event.clone());
        Ok(event)
    }

    /// The event of a handle.
    ///
    /// # Errors
    /// As [`Runtime::stream`].
    pub fn event(&self, handle: usize) -> Result<Event, FakeError> {
        let found = lock(&self.handles).events.get(&handle).cloned();
        found.ok_or_else(|| self.no_handle("event", handle))
    }

    /// Destroys an event; who waits for it already goes on waiting.
    ///
    /// # Errors
    /// As [`Runtime::stream`].
    pub fn destroy_event(&self, handle: usize) -> Result<(), FakeError> {
        let mut handles = lock(&self.handles);
        if handles.events.remove(&handle).is_none() {
            drop(handles);
            return Err(self.no_handle("event", handle));
        }
        handles.destroyed.insert(handle);
        Ok(())
    }

    /// Ends everything on a device: what its streams have not done fails with this code, its memory is freed, its streams
    /// and events are gone.
    pub fn reset_device(&self, device: u32, code: i64) {
        let mut streams = self.streams(device);
        let mut handles = lock(&self.handles);
        handles.streams.retain(|_, stream| stream.device() != device);
        handles.events.retain(|_, event| event.device() != device);
        handles.defaults.remove(&device);
        drop(handles);
        streams.drain(..).for_each(|stream| stream.abort(code));
        // What was mapped is the process's, not the context's.
        let owned = |owner: Owner| owner.device() == Some(device) && !matches!(owner, Owner::Mapped(_));
        let all = lock(&self.memory).all(owned);
        for (address, owner) in all {
            // Another thread may have freed it meanwhile.
            drop(self.free(address, owner));
        }
    }

    pub(crate) fn check_device(&self, device: u32) -> Result<(), FakeError> {
        if device < self.settings.devices { Ok(()) } else { Err(FakeError::NoDevice { device }) }
    }

    fn take(&self, device: u32, length: u64) -> Result<(), FakeError> {
        self.check_device(device)?;
        check_length(length)?;
        lock(&self.memory).reserve(device, length, self.settings.memory)
    }

    fn keep(
        &self,
        made: std::io::Result<Mapping>,
        device: u32,
        length: u64,
        owner: Owner,
    ) -> Result<u64, FakeError> {
        let mut memory = lock(&self.memory);
        match made {
            Ok(mapping) => Ok(memory.insert(mapping, owner)),
            Err(_) => {
                memory.release(device, length);
                Err(FakeError::OutOfMemory { wanted: length, left: 0 })
            }
        }
    }

    /// Writes misuse down.
    pub(crate) fn told<T>(&self, what: &str, result: Result<T, FakeError>) -> Result<T, FakeError> {
        result.inspect_err(|error| {
            if error.is_misuse() {
                self.misuse(&format!("{what}: {error}"));
            }
        })
    }

    fn no_handle(&self, what: &'static str, handle: usize) -> FakeError {
        let error = FakeError::NoHandle { what, handle };
        if lock(&self.handles).destroyed.contains(&handle) {
            self.misuse(&format!("{error}: it was destroyed"));
        }
        error
    }

    /// Differs from that of every other allocation, of other processes too.
    pub(crate) fn nonce(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        now ^ (u64::from(process::id()) << 40) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Handles {
    /// No number is used twice. Multiples of 16, as addresses would be.
    fn number(&mut self) -> usize {
        self.made += 1;
        0x1000 + self.made * 16
    }
}

pub(crate) fn check_length(length: u64) -> Result<(), FakeError> {
    // Beyond this the number of pages does not fit.
    let fits = (1..=1 << 46).contains(&length);
    match length {
        _ if fits => Ok(()),
        0 => Err(FakeError::Invalid { what: "an allocation of no bytes" }),
        wanted => Err(FakeError::OutOfMemory { wanted, left: 0 }),
    }
}

/// The number in the name of a memfd of this process.
fn nonce_of(descriptor: &OwnedFd) -> Option<u64> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).ok()?;
    let name = link.to_str()?.strip_prefix("/memfd:fake-device-")?;
    u64::from_str_radix(name.get(..16)?, 16).ok()
}
