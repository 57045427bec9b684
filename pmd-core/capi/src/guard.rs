//! The frame of every C function: a panic becomes a code, and the last failure's text is kept per thread.

use std::{
    any::Any,
    cell::RefCell,
    ffi::{CString, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// What went wrong in the last call of this thread that failed, ended by a zero byte; empty when none has. Valid until
/// another call of this thread fails. Each library gives it out under a name of its own.
pub fn last_error() -> *const c_char {
    LAST_ERROR.try_with(|text| text.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Runs a call: `done` where nothing failed, `panicked` for a panic, otherwise the code of the failure, whose text
/// becomes the thread's last error.
pub fn guard<C>(done: C, panicked: C, call: impl FnOnce() -> Result<(), (C, String)>) -> C {
    // What a panic leaves behind is only reached through locks that were poisoned and are taken all the same.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => done,
        Ok(Err((code, text))) => {
            remember(&text);
            code
        }
        Err(payload) => {
            remember(&format!("a defect of this library: {}", message(payload.as_ref())));
            panicked
        }
    }
}

/// Makes `text` the thread's last error. Called in destructors of thread-local data too.
fn remember(text: &str) {
    let text = CString::new(text.replace('\0', "?")).unwrap_or_default();
    // Lost where the thread ends and its data is gone already.
    let _ = LAST_ERROR.try_with(|last| last.replace(text));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}
