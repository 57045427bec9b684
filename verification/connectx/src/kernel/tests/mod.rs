//! Commands as a library sends them, to a device of this process: what works, what is refused, what is left.

use std::{
    ffi::c_int,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::PathBuf,
    sync::OnceLock,
};

use super::{
    abi::{command, method},
    memory::Answer,
};
use crate::{
    config::{Config, DeviceMemory, Link, Mode, OnViolation},
    device::Device,
    errno::Errno,
    kernel::registry::Registry,
    shim,
};

mod device_memory;
mod events;
mod garbage;
mod objects;

/// One state for all tests: a process has one device.
fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let name = format!("connectx-kernel-{}", std::process::id());
        Config {
            state: PathBuf::from("/dev/shm").join(name),
            mode: Mode::Step,
            link: Link::InfiniBand,
            dynamic_uars: true,
            ioctl: true,
            on_violation: OnViolation::Report,
            scatter_to_cqe: false,
            device_memory: DeviceMemory::DmaBuf,
            faults: String::new(),
        }
    })
}

/// What libmlx5 is to the kernel: a descriptor, commands, memory.
struct Library {
    descriptor: c_int,
}

impl Library {
    /// Opens the device.
    fn open() -> Self {
        let config = config();
        let file = std::fs::File::open("/dev/null").expect("there is always one");
        let descriptor = OwnedFd::from(file);
        super::open(config, descriptor.as_raw_fd()).expect("a device");
        // The mapping stays; the name has served.
        let _ = std::fs::remove_file(&config.state);
        Self { descriptor: std::os::fd::IntoRawFd::into_raw_fd(descriptor) }
    }

    /// Opens the device and allocates a context; gives the asynchronous descriptor too.
    fn allocated() -> (Self, c_int) {
        let library = Self::open();
        let request = Answer::default().u32(&[16, 4, 0, 0]).pad(32);
        let answer = library.legacy(command::GET_CONTEXT, Answer::default(), request, 72).expect("a context");
        let asynchronous = word(&answer, 0).cast_signed();
        (library, asynchronous)
    }

    /// A legacy command with an answer of `driver_answer` bytes more than its own; gives both.
    fn legacy(
        &self,
        number: u32,
        core: Answer,
        driver: Answer,
        driver_answer: usize,
    ) -> Result<Vec<u8>, Errno> {
        let (request, own) = command::sizes(number).expect("a command");
        let mut answer = vec![0; own + driver_answer];
        let body = Answer::default();
        let body = if own > 0 { body.u64(&[answer.as_mut_ptr() as u64]) } else { body };
        let body = body.bytes(&core.0).pad(request).bytes(&driver.0);
        let words = [(8 + body.0.len()) / 4, answer.len() / 4].map(|words| words as u16);
        self.write(&Answer::default().u32(&[number]).u16(&words).bytes(&body.0).0)?;
        Ok(answer)
    }

    /// A command that neither the library nor the driver adds anything to.
    fn plain(&self, number: u32, core: Answer) -> Result<Vec<u8>, Errno> {
        self.legacy(number, core, Answer::default(), 0)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Errno> {
        super::write(self.descriptor, bytes.as_ptr() as u64, bytes.len())
    }

    /// An ioctl with these attributes: id, length, data. Gives the data of all afterwards.
    fn ioctl(&self, method: (u16, u16), attributes: &[(u16, u16, u64)]) -> Result<Vec<u64>, Errno> {
        let length = 24 + 16 * attributes.len() as u16;
        let mut request =
            Answer::default().u16(&[length, method.0, method.1, attributes.len() as u16]).pad(24);
        for (id, length, data) in attributes {
            request = request.u16(&[*id, *length, 1, 0]).u64(&[*data]);
        }
        let mut bytes = request.0;
        super::ioctl(self.descriptor, method::VERBS_IOCTL, bytes.as_mut_ptr() as u64)?;
        let data = bytes[24..].chunks_exact(16).map(|attribute| &attribute[8..]);
        Ok(data.map(|data| u64::from_ne_bytes(data.try_into().expect("eight bytes"))).collect())
    }

    fn device(&self) -> &'static Device {
        Registry::current().expect("open").device
    }

    /// A domain; its handle.
    fn domain(&self) -> u32 {
        let answer = self.legacy(command::ALLOC_PD, Answer::default(), Answer::default(), 4);
        word(&answer.expect("a domain"), 0)
    }

    /// A completion queue of 64 CQEs with this channel; its handle and its number.
    fn completion_queue(&self, user_handle: u64, channel: c_int) -> (u32, u32) {
        let core = Answer::default().u64(&[user_handle]).u32(&[63, 0, channel.cast_unsigned(), 0]);
        let driver = Answer::default().u64(&[0x1000, 0x2000]).u32(&[64, 0, 0, 0]);
        let answer = self.legacy(command::CREATE_CQ, core, driver, 8).expect("a completion queue");
        (word(&answer, 0), word(&answer, 8))
    }

    /// A reliable queue pair; its handle and its number.
    fn queue_pair(&self, user_handle: u64, domain: u32, completions: u32) -> (u32, u32) {
        let answer = self.try_queue_pair(user_handle, domain, completions).expect("a queue pair");
        (word(&answer, 0), word(&answer, 4))
    }

    fn try_queue_pair(&self, user_handle: u64, domain: u32, completions: u32) -> Result<Vec<u8>, Errno> {
        let core = Answer::default()
            .u64(&[user_handle])
            .u32(&[domain, completions, completions, 0])
            .u32(&[16, 16, 1, 1, 0])
            .u8(&[0, 2, 0, 0]);
        let driver = Answer::default().u64(&[0x3000, 0x4000]).u32(&[64, 16, 4, 0, 7, 0]).u64(&[0]);
        self.legacy(command::CREATE_QP, core, driver, 8)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // As the program's close comes in.
        shim::close(self.descriptor);
    }
}

/// The `u32` at an offset.
fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

/// The number of an error.
fn number<T>(result: Result<T, Errno>) -> c_int {
    result.map_or_else(|errno| errno.0, |_| 0)
}

/// Takes a descriptor that the kernel made for the program.
#[expect(unsafe_code, reason = "takes over a descriptor")]
fn take(descriptor: c_int) -> std::fs::File {
    // SAFETY: the kernel made it for the program, which is this test; it is closed once.
    unsafe { std::fs::File::from_raw_fd(descriptor) }
}
