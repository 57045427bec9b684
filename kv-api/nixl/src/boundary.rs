//! What crosses the seam in both directions. Used by every function of `seam`.
#![allow(unsafe_code)] // reads the shim's memory, calls its sinks

use std::{
    error::Error,
    ffi::c_void,
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
};

use kv_api::agent::{AgentError, Status};

/// Bytes of the shim's, borrowed for a call, or ours, borrowed for a sink. `PmdBytes`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Bytes {
    data: *const c_void,
    length: usize,
}

/// Takes a name and what belongs to it. `PmdSink`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Sink {
    context: *mut c_void,
    take: unsafe extern "C" fn(*mut c_void, Bytes, Bytes),
}

impl Bytes {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr().cast(), length: bytes.len() }
    }

    /// # Safety
    /// The bytes outlive `'a`, and nobody writes them meanwhile.
    pub(crate) unsafe fn get<'a>(self) -> &'a [u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: the shim hands out whole strings; the rest is the caller's promise.
        unsafe { slice::from_raw_parts(self.data.cast(), self.length) }
    }

    /// As [`Bytes::get`], for names: NIXL's are text, and what is not becomes text that is known to nobody.
    ///
    /// # Safety
    /// As [`Bytes::get`].
    pub(crate) unsafe fn text(self) -> String {
        // SAFETY: passed on to the caller.
        String::from_utf8_lossy(unsafe { self.get() }).into_owned()
    }
}

impl Sink {
    pub(crate) fn pair(self, name: &[u8], value: &[u8]) {
        // SAFETY: the shim passes a function with the context that is its own, for the duration of the call; the function
        // copies what it is given and throws nothing.
        unsafe { (self.take)(self.context, Bytes::of(name), Bytes::of(value)) }
    }

    pub(crate) fn value(self, value: &[u8]) {
        self.pair(&[], value);
    }
}

/// NIXL's number for what `call` came to. A panic is the driver's own fault, and goes no further.
pub(crate) fn status(call: impl FnOnce() -> Result<Status, AgentError>) -> i32 {
    quiet_status(|| call().inspect_err(complain))
}

/// As [`status`], where an error is an answer that is asked for again and again.
pub(crate) fn quiet_status(call: impl FnOnce() -> Result<Status, AgentError>) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(call));
    let status = result.map(|result| result.unwrap_or_else(|error| error.status()));
    status.unwrap_or(Status::Backend).code()
}

/// An error with all of its causes.
pub(crate) fn describe(error: &dyn Error) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// NIXL hears a number only; people read why.
fn complain(error: &AgentError) {
    eprintln!("NIXL plugin PMD: {}", describe(error));
}

/// Puts `value` on the heap, for the shim to hold.
pub(crate) fn give<T>(value: T, place: *mut *mut T) {
    // SAFETY: the shim passes the address of a pointer of its own.
    unsafe { ptr::write(place, Box::into_raw(Box::new(value))) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_their_statuses_and_panics_go_no_further() {
        assert_eq!(status(|| Ok(Status::InProgress)), 1);
        assert_eq!(status(|| Err(AgentError::Empty)), -2);
        assert_eq!(quiet_status(|| Err(AgentError::Aborting)), -11);
        assert_eq!(quiet_status(|| panic!("a panic on purpose")), -3);
    }

    #[test]
    fn causes_are_told_in_order() {
        let source = AgentError::Empty;
        let error = std::io::Error::other(source);
        assert_eq!(describe(&error), "there is not one descriptor");
    }

    #[test]
    fn a_sink_gets_names_and_values() {
        /// # Safety
        /// The context is the vector below.
        unsafe extern "C" fn keep(context: *mut c_void, name: Bytes, value: Bytes) {
            // SAFETY: the context is the test's vector, and the bytes are the test's.
            unsafe { (*context.cast::<Vec<(String, Vec<u8>)>>()).push((name.text(), value.get().to_vec())) };
        }
        let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
        let sink = Sink { context: (&raw mut kept).cast(), take: keep };
        sink.pair(b"name", &[0, 255]);
        sink.value(b"");
        assert_eq!(kept, [("name".to_owned(), vec![0, 255]), (String::new(), Vec::new())]);
    }
}
