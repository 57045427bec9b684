//! Small requests between applications in C: ps-lite's `SimpleApp`. Called by C programs and by that class; stands on
//! [`af_api::simple`].
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

use std::{
    ffi::c_void,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

use af_api::{
    rendezvous::{MemberId, Role},
    simple::{AppError, AppHandler, AppMessage, SimpleApp, Target, TrackError},
};

use crate::{
    boundary::{Place, Table, array, guard, milliseconds},
    node::{PMD_AF_SERVERS, PMD_AF_WORKERS, pmd_af_node, process_of},
    status::{Failure, pmd_af_status, statuses},
};

/// An application, at one process.
pub struct pmd_af_app {
    _opaque: [u8; 0],
}

/// What a request is answered with.
pub struct pmd_af_reply {
    body: Option<Vec<u8>>,
}

static APPS: Table<pmd_af_app, App> = Table::new("application");

/// A request, or the answer to one. Valid during the call that it is given to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_af_app_message {
    /// Role of who sent it: `PMD_AF_SERVERS` or `PMD_AF_WORKERS`.
    pub role: u32,
    /// Its rank among all instances of the role.
    pub rank: u32,
    /// Number of the request at who asked.
    pub timestamp: u64,
    /// The application's number.
    pub head: i32,
    /// The application's bytes.
    pub body: *const u8,
    /// How many.
    pub length: usize,
}

/// Is given a request, and answers it with `pmd_af_reply_set`; without that there is no answer.
pub type pmd_af_app_request_handler = Option<
    unsafe extern "C" fn(context: *mut c_void, request: *const pmd_af_app_message, reply: *mut pmd_af_reply),
>;

/// Is given an answer.
pub type pmd_af_app_response_handler =
    Option<unsafe extern "C" fn(context: *mut c_void, response: *const pmd_af_app_message)>;

/// An application and what it calls.
struct App {
    app: SimpleApp,
    handlers: Arc<Handlers>,
}

struct Handlers {
    request: pmd_af_app_request_handler,
    response: pmd_af_app_response_handler,
    context: *mut c_void,
    calls: Mutex<Calls>,
    changed: Condvar,
}

// SAFETY: `pmd_af_app_open`'s caller promises that the functions may be called with the context from another thread.
unsafe impl Send for Handlers {}
// SAFETY: as above; calls are made one after the other.
unsafe impl Sync for Handlers {}

#[derive(Default)]
struct Calls {
    running: Option<ThreadId>,
    closed: bool,
}

/// Opens the application of a number as a server (`PMD_AF_SERVERS`) or as a worker (`PMD_AF_WORKERS`) of the node. The
/// other side must have opened the same number. The functions are called on a thread of the application's, one after the
/// other; either may be NULL.
///
/// # Safety
/// `app` may be written. The functions may be called with `context`, from another thread, until `pmd_af_app_close` has
/// returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_app_open(
    node: *const pmd_af_node,
    role: u32,
    number: u32,
    on_request: pmd_af_app_request_handler,
    on_response: pmd_af_app_response_handler,
    context: *mut c_void,
    app: *mut *mut pmd_af_app,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(app, "the place for the application")? };
        let process = process_of(node)?;
        let (calls, changed) = (Mutex::default(), Condvar::new());
        let handlers =
            Arc::new(Handlers { request: on_request, response: on_response, context, calls, changed });
        let handler = Arc::clone(&handlers) as Arc<dyn AppHandler>;
        let opened = match role_of(role)? {
            Role::Worker => SimpleApp::on_worker(process.as_worker()?, number, handler),
            _ => SimpleApp::on_server(process.as_server()?, number, handler),
        };
        let app = opened.map_err(|error| Failure::of(pmd_af_status::Unavailable, &error))?;
        place.put(APPS.insert(App { app, handlers }));
        Ok(())
    })
}

/// Sends a request to a server or a worker of a rank, or to all that are connected where the rank is negative. Does not
/// wait. `timestamp` is its number, for `pmd_af_app_wait`.
///
/// # Safety
/// `body` has its length; `timestamp` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_app_request(
    app: *const pmd_af_app,
    role: u32,
    rank: i64,
    head: i32,
    body: *const u8,
    length: usize,
    timestamp: *mut u64,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(timestamp, "the place for the timestamp")? };
        // SAFETY: the caller's promise.
        let body = unsafe { array(body, length, "the body")? };
        let role = role_of(role)?;
        let to = match u32::try_from(rank) {
            Ok(rank) => Target::Member(MemberId { role, rank }),
            Err(_) => Target::Roles(role.as_roles()),
        };
        place.put(APPS.find(app)?.app.request(&to, head, body)?);
        Ok(())
    })
}

/// Answers a request, in the call that it was given to. The bytes are copied.
///
/// # Safety
/// `reply` is what the call was given; `body` has its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_reply_set(
    reply: *mut pmd_af_reply,
    body: *const u8,
    length: usize,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let body = unsafe { array(body, length, "the body")? };
        // SAFETY: the caller's promise: it lives in the call that is running, whose thread this is.
        let reply = unsafe { reply.as_mut() };
        let none = || Failure::new(pmd_af_status::NullPointer, "the reply is NULL");
        reply.ok_or_else(none)?.body = Some(body.to_vec());
        Ok(())
    })
}

/// Waits until everybody has answered a request, and the answers have been given out.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_app_wait(app: *const pmd_af_app, timestamp: u64, timeout_ms: u64) -> pmd_af_status {
    guard(|| Ok(APPS.find(app)?.app.wait(timestamp, milliseconds(timeout_ms))?))
}

/// Closes an application at this process. When this returns its functions are not called any more, unless one of them calls
/// it.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_app_close(app: *mut pmd_af_app) -> pmd_af_status {
    guard(|| {
        let app = APPS.remove(app)?;
        app.handlers.close();
        Ok(())
    })
}

impl Handlers {
    /// Calls one of the functions, unless the application is closed.
    fn call(&self, call: impl FnOnce()) {
        let mut calls = self.calls();
        if calls.closed {
            return;
        }
        calls.running = Some(thread::current().id());
        drop(calls);
        call();
        self.calls().running = None;
        self.changed.notify_all();
    }

    fn close(&self) {
        let mut calls = self.calls();
        calls.closed = true;
        let ourselves = thread::current().id();
        while calls.running.is_some_and(|running| running != ourselves) {
            calls = self.changed.wait(calls).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AppHandler for Handlers {
    fn request(&self, app: &SimpleApp, request: AppMessage) {
        let mut reply = pmd_af_reply { body: None };
        if let Some(handler) = self.request {
            let message = message_of(&request);
            // SAFETY: `pmd_af_app_open`'s caller promises that it may be called; message and reply outlive the call.
            self.call(|| unsafe { handler(self.context, &message, &mut reply) });
        }
        if let Some(body) = reply.body {
            // Who asked may be gone.
            let _ = app.respond(&request, &body);
        }
    }

    fn response(&self, _: &SimpleApp, response: AppMessage) {
        if let Some(handler) = self.response {
            let message = message_of(&response);
            // SAFETY: as above.
            self.call(|| unsafe { handler(self.context, &message) });
        }
    }
}

const fn message_of(message: &AppMessage) -> pmd_af_app_message {
    let role = if matches!(message.from.role, Role::Worker) { PMD_AF_WORKERS } else { PMD_AF_SERVERS };
    pmd_af_app_message {
        role,
        rank: message.from.rank,
        timestamp: message.timestamp,
        head: message.head,
        body: message.body.as_ptr(),
        length: message.body.len(),
    }
}

fn role_of(role: u32) -> Result<Role, Failure> {
    match role {
        PMD_AF_SERVERS => Ok(Role::Server),
        PMD_AF_WORKERS => Ok(Role::Worker),
        other => Err(Failure::argument(format!("an application is at servers or workers, not at {other}"))),
    }
}

statuses! {
    AppError => of_app;
}

const fn of_app(error: &AppError) -> pmd_af_status {
    match error {
        AppError::Down(_) => pmd_af_status::PeerDown,
        AppError::Nobody | AppError::Track(TrackError::Unknown { .. } | TrackError::Taken { .. }) => {
            pmd_af_status::NotFound
        }
        AppError::Track(_) => pmd_af_status::Timeout,
        AppError::Busy { .. } => pmd_af_status::Busy,
        _ => pmd_af_status::InvalidArgument,
    }
}
