//! Small requests and responses between applications.

use std::{sync::Arc, time::Duration};

use af_api::{
    rendezvous::{MemberId, Role, Roles},
    simple::{AppError, AppHandler, AppMessage, SimpleApp, Target, TrackError},
};
use pmd_python::waiting::{self, Detached};
use pyo3::{exceptions::PyTypeError, prelude::*};

use crate::{error, server::Server, worker::Worker};

/// A request or a response: role and rank of who sent it, its number there, the application's number and bytes.
type Told = (String, u32, u64, i32, Vec<u8>);

/// Calls Python's handlers.
struct Handlers {
    request: Option<Py<PyAny>>,
    response: Option<Py<PyAny>>,
}

impl AppHandler for Handlers {
    fn request(&self, app: &SimpleApp, request: AppMessage) {
        let answer = Python::attach(|py| {
            let handler = self.request.as_ref()?;
            let given = handler.call1(py, (told(&request),)).and_then(|given| given.extract(py));
            given.map_err(|problem| problem.write_unraisable(py, None)).ok().flatten()
        });
        let answer: Option<Vec<u8>> = answer;
        if let Some(body) = answer {
            // Who asked may be gone by now.
            let _ = app.respond(&request, &body);
        }
    }

    fn response(&self, _: &SimpleApp, response: AppMessage) {
        Python::attach(|py| {
            let Some(handler) = &self.response else { return };
            if let Err(problem) = handler.call1(py, (told(&response),)) {
                problem.write_unraisable(py, None);
            }
        });
    }
}

fn told(message: &AppMessage) -> Told {
    let AppMessage { from, timestamp, head, body } = message;
    (from.role.to_string(), from.rank, *timestamp, *head, body.clone())
}

/// An application between workers and servers.
#[pyclass(frozen, module = "pmd_af", name = "SimpleApp")]
pub(crate) struct NativeSimpleApp(Detached<SimpleApp>);

impl NativeSimpleApp {
    fn handle(&self, py: Python<'_>) -> PyResult<&SimpleApp> {
        self.0.as_ref().ok_or_else(|| error::closed(py, "application"))
    }
}

#[pymethods]
impl NativeSimpleApp {
    #[new]
    fn new(
        py: Python<'_>,
        member: &Bound<'_, PyAny>,
        number: u32,
        request: Option<Py<PyAny>>,
        response: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let handlers: Arc<dyn AppHandler> = Arc::new(Handlers { request, response });
        let made = if let Ok(worker) = member.cast::<Worker>() {
            let worker = worker.get().driver(py)?;
            py.detach(|| SimpleApp::on_worker(&worker, number, handlers))
        } else if let Ok(server) = member.cast::<Server>() {
            let server = server.get().driver(py)?;
            py.detach(|| SimpleApp::on_server(&server, number, handlers))
        } else {
            return Err(PyTypeError::new_err("an application is a worker's or a server's"));
        };
        Ok(Self(Detached::new(made?)))
    }

    /// Sends a request to the member of that rank, or to all that are connected of the role.
    fn request(
        &self,
        py: Python<'_>,
        role: &str,
        rank: Option<u32>,
        head: i32,
        body: Vec<u8>,
    ) -> PyResult<u64> {
        let app = self.handle(py)?;
        let role = match role {
            "worker" => Role::Worker,
            "server" => Role::Server,
            _ => {
                return Err(error::option(
                    py,
                    "role",
                    format!("role is {role:?}, it takes worker or server"),
                ));
            }
        };
        let all = if role == Role::Worker { Roles::WORKER } else { Roles::SERVER };
        let to = rank.map_or(Target::Roles(all), |rank| Target::Member(MemberId { role, rank }));
        py.detach(|| app.request(&to, head, &body)).map_err(|problem| error::app(py, &problem))
    }

    fn wait(&self, py: Python<'_>, timestamp: u64, timeout: Option<f64>) -> PyResult<()> {
        let app = self.handle(py)?;
        let ended = waiting::until(py, timeout, |patience: Duration| match app.wait(timestamp, patience) {
            Err(AppError::Track(TrackError::Timeout { .. })) => None,
            ended => Some(ended),
        })?;
        match ended {
            Some(ended) => ended.map_err(|problem| error::app(py, &problem)),
            None => Err(error::timeout(py, "an answer", timeout)),
        }
    }
}
