//! Errors of the driver as Python exceptions of the package's `errors` module: classes with a `kind`, the name of the
//! error in the driver, and the values that explain it as attributes.

use std::fmt::Debug;

use pyo3::{prelude::*, types::PyDict};

/// Values of an exception's attributes.
pub type Fields<'a, 'py> = &'a dyn Fn(&Bound<'py, PyDict>) -> PyResult<()>;

/// The name of a package's module of exceptions. It has `WaitTimeout` and `Closed`.
#[derive(Clone, Copy)]
pub struct Exceptions(pub &'static str);

impl Exceptions {
    /// An exception of a class. What fails on the way there becomes the exception.
    pub fn raise<'py>(
        self,
        py: Python<'py>,
        class: &str,
        kind: &str,
        message: String,
        fields: Fields<'_, 'py>,
    ) -> PyErr {
        let make = || {
            let class = py.import(self.0)?.getattr(class)?;
            let keywords = PyDict::new(py);
            keywords.set_item("kind", kind)?;
            fields(&keywords)?;
            Ok(PyErr::from_value(class.call((message,), Some(&keywords))?))
        };
        make().unwrap_or_else(|error: PyErr| error)
    }

    /// As [`Exceptions::raise`], for an error whose kind says it all.
    pub fn plain(self, py: Python<'_>, class: &str, error: &impl std::error::Error) -> PyErr {
        self.raise(py, class, &kind(error), error.to_string(), &|_| Ok(()))
    }

    /// Nothing happened in time.
    #[must_use]
    pub fn timeout(self, py: Python<'_>, what: &str, seconds: Option<f64>) -> PyErr {
        let message = format!("waited {} s for {what}", seconds.unwrap_or_default());
        self.raise(py, "WaitTimeout", "Timeout", message, &|fields| {
            fields.set_item("what", what)?;
            fields.set_item("timeout", seconds)
        })
    }

    /// The object was closed before.
    #[must_use]
    pub fn closed(self, py: Python<'_>, what: &str) -> PyErr {
        self.raise(py, "Closed", "Closed", format!("the {what} is closed"), &|_| Ok(()))
    }
}

/// The name of an enum's variant.
pub fn kind(error: &impl Debug) -> String {
    let text = format!("{error:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}
