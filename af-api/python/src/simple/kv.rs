//! Key-values of any element type, as bytes.

use std::{sync::Arc, time::Duration};

use af_api::{
    simple::{KvAnswer, KvError, KvPairs, KvRequest, KvServer, KvWorker, TrackError, Value},
    worker::Worker as WorkerHandle,
};
use pmd_python::waiting::{self, Detached};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{error, server::Server, worker::Worker};

/// The code with which a request is refused whose handler raised.
const HANDLER_RAISED: u64 = 1;

/// Keys, the bytes of their values, how many each has.
type Pairs = (Vec<u64>, Vec<u8>, Option<Vec<u32>>);

fn parsed<V: Value>((keys, values, lengths): Pairs) -> Result<KvPairs<V>, KvError> {
    if values.len() % V::BYTES != 0 {
        return Err(KvError::Bytes { bytes: values.len(), value: V::BYTES });
    }
    let pairs = KvPairs { keys, values: values.chunks_exact(V::BYTES).map(V::parse).collect(), lengths };
    pairs.check().map(|()| pairs)
}

fn emitted<V: Value>(pairs: KvPairs<V>) -> Pairs {
    let mut values = Vec::with_capacity(pairs.values.len() * V::BYTES);
    pairs.values.iter().for_each(|value| value.emit(&mut values));
    (pairs.keys, values, pairs.lengths)
}

/// A worker of one element type.
trait Exchange: Send + Sync {
    fn push(&self, pairs: Pairs, command: i32) -> Result<u64, KvError>;
    fn pull(&self, keys: &[u64], most: u32, command: i32) -> Result<u64, KvError>;
    fn push_pull(&self, pairs: Pairs, most: u32, command: i32) -> Result<u64, KvError>;
    fn wait(&self, timestamp: u64, patience: Duration) -> Result<Pairs, KvError>;
    fn is_done(&self, timestamp: u64) -> bool;
}

impl<V: Value> Exchange for KvWorker<V> {
    fn push(&self, pairs: Pairs, command: i32) -> Result<u64, KvError> {
        self.push(&parsed(pairs)?, command, None)
    }

    fn pull(&self, keys: &[u64], most: u32, command: i32) -> Result<u64, KvError> {
        self.pull(keys, most, command, None)
    }

    fn push_pull(&self, pairs: Pairs, most: u32, command: i32) -> Result<u64, KvError> {
        self.push_pull(&parsed(pairs)?, most, command, None)
    }

    fn wait(&self, timestamp: u64, patience: Duration) -> Result<Pairs, KvError> {
        self.wait(timestamp, patience).map(emitted)
    }

    fn is_done(&self, timestamp: u64) -> bool {
        self.is_done(timestamp)
    }
}

/// An answer to one element type's request.
trait Answer: Send {
    fn answer(self: Box<Self>, pairs: Option<Pairs>) -> Result<(), KvError>;
    fn refuse(self: Box<Self>, code: u64) -> Result<(), KvError>;
}

impl<V: Value> Answer for KvAnswer<V> {
    fn answer(self: Box<Self>, pairs: Option<Pairs>) -> Result<(), KvError> {
        match pairs {
            Some(pairs) => self.respond(&parsed(pairs)?),
            None => self.done(),
        }
    }

    fn refuse(self: Box<Self>, code: u64) -> Result<(), KvError> {
        KvAnswer::refuse(*self, code)
    }
}

/// Calls a macro's arm with the number type of a name.
macro_rules! with_type {
    ($name:expr, $with:ident => $made:expr) => {
        match $name {
            "float32" => {
                type $with = f32;
                $made
            }
            "float64" => {
                type $with = f64;
                $made
            }
            "int8" => {
                type $with = i8;
                $made
            }
            "int16" => {
                type $with = i16;
                $made
            }
            "int32" => {
                type $with = i32;
                $made
            }
            "int64" => {
                type $with = i64;
                $made
            }
            "uint8" => {
                type $with = u8;
                $made
            }
            "uint16" => {
                type $with = u16;
                $made
            }
            "uint32" => {
                type $with = u32;
                $made
            }
            "uint64" => {
                type $with = u64;
                $made
            }
            other => {
                let message =
                    format!("dtype is {other:?}, key-values take integers and floats of 32 and 64 bits");
                return Err(PyValueError::new_err(message));
            }
        }
    };
}

fn worker_of<V: Value>(worker: WorkerHandle, servers: u32) -> Result<Arc<dyn Exchange>, KvError> {
    Ok(Arc::new(KvWorker::<V>::new(worker, servers)?))
}

fn server_of<V: Value>(
    server: af_api::server::Server,
    handler: Option<Py<PyAny>>,
) -> Result<KvServer, KvError> {
    match handler {
        None => KvServer::sum::<V>(server),
        Some(handler) => KvServer::start::<V>(server, move |request, answer| hand(&handler, request, answer)),
    }
}

/// Calls a handler of Python's: what it returns is the answer.
fn hand<V: Value>(handler: &Py<PyAny>, request: KvRequest<V>, answer: KvAnswer<V>) {
    let KvRequest { from, command, push, pull, pairs } = request;
    let answered = Python::attach(|py| {
        let about = (from.rank, command, push, pull, emitted(pairs));
        match handler.call1(py, about).and_then(|given| given.extract::<Option<Pairs>>(py)) {
            Ok(given) => Some(given),
            Err(problem) => {
                problem.write_unraisable(py, None);
                None
            }
        }
    });
    let answer: Box<dyn Answer> = Box::new(answer);
    // Whatever fails here the worker has been told of.
    let _ = match answered {
        Some(given) => answer.answer(given),
        None => answer.refuse(HANDLER_RAISED),
    };
}

/// Pushes and pulls key-values, as bytes.
#[pyclass(frozen, module = "pmd_af", name = "KvWorker")]
pub(crate) struct NativeKvWorker(Detached<Arc<dyn Exchange>>);

#[pymethods]
impl NativeKvWorker {
    #[new]
    fn new(py: Python<'_>, worker: &Bound<'_, Worker>, servers: u32, dtype: &str) -> PyResult<Self> {
        let handle = worker.get().driver(py)?;
        let made = with_type!(dtype, V => py.detach(|| worker_of::<V>(handle, servers)));
        made.map(Detached::new).map(Self).map_err(|problem| error::key_values(py, &problem))
    }

    fn push(&self, py: Python<'_>, pairs: Pairs, command: i32) -> PyResult<u64> {
        let worker = self.handle(py)?;
        py.detach(|| worker.push(pairs, command)).map_err(|problem| error::key_values(py, &problem))
    }

    fn pull(&self, py: Python<'_>, keys: Vec<u64>, most: u32, command: i32) -> PyResult<u64> {
        let worker = self.handle(py)?;
        py.detach(|| worker.pull(&keys, most, command)).map_err(|problem| error::key_values(py, &problem))
    }

    fn push_pull(&self, py: Python<'_>, pairs: Pairs, most: u32, command: i32) -> PyResult<u64> {
        let worker = self.handle(py)?;
        let posted = py.detach(|| worker.push_pull(pairs, most, command));
        posted.map_err(|problem| error::key_values(py, &problem))
    }

    fn wait(&self, py: Python<'_>, timestamp: u64, timeout: Option<f64>) -> PyResult<Pairs> {
        let worker = self.handle(py)?;
        let ended = waiting::until(py, timeout, |patience| match worker.wait(timestamp, patience) {
            Err(KvError::Track(TrackError::Timeout { .. })) => None,
            ended => Some(ended),
        })?;
        match ended {
            Some(ended) => ended.map_err(|problem| error::key_values(py, &problem)),
            None => Err(error::timeout(py, "key-values", timeout)),
        }
    }

    fn is_done(&self, py: Python<'_>, timestamp: u64) -> PyResult<bool> {
        Ok(self.handle(py)?.is_done(timestamp))
    }
}

impl NativeKvWorker {
    fn handle(&self, py: Python<'_>) -> PyResult<&Arc<dyn Exchange>> {
        self.0.as_ref().ok_or_else(|| error::closed(py, "worker of key-values"))
    }
}

/// Serves key-values until it is dropped.
#[pyclass(frozen, module = "pmd_af", name = "KvServer")]
pub(crate) struct NativeKvServer {
    _serving: Detached<KvServer>,
}

#[pymethods]
impl NativeKvServer {
    #[new]
    fn new(
        py: Python<'_>,
        server: &Bound<'_, Server>,
        handler: Option<Py<PyAny>>,
        dtype: &str,
    ) -> PyResult<Self> {
        let handle = server.get().driver(py)?;
        let made = with_type!(dtype, V => py.detach(|| server_of::<V>(handle, handler)));
        let serving = made.map_err(|problem| error::key_values(py, &problem))?;
        Ok(Self { _serving: Detached::new(serving) })
    }
}
