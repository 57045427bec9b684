//! Numbers from Python: lists, and arrays read through the buffer protocol without a Python object for each.

use pyo3::{
    buffer::{Element, PyBuffer},
    exceptions::PyValueError,
    prelude::*,
};

/// Block numbers.
///
/// # Errors
/// `ValueError` for one that is negative or too large, `TypeError` for what are no whole numbers.
pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    let numbers = array::<u32>(object).or_else(|| array::<i32>(object)).or_else(|| array::<u64>(object));
    match numbers.or_else(|| array::<i64>(object)) {
        Some(numbers) => numbers,
        None => object.try_iter()?.map(|number| narrow(number?.extract::<i64>()?)).collect(),
    }
}

/// The numbers of an array of this type; none when it is no array of it.
fn array<T: Element + TryInto<i64> + std::fmt::Debug>(
    object: &Bound<'_, PyAny>,
) -> Option<PyResult<Vec<u32>>> {
    let buffer = PyBuffer::<T>::get(object).ok()?;
    let numbers = buffer.to_vec(object.py());
    let narrowed = |number: T| {
        let text = format!("{number:?}");
        number.try_into().map_err(|_| beyond(&text)).and_then(narrow)
    };
    Some(numbers.and_then(|numbers| numbers.into_iter().map(narrowed).collect()))
}

fn narrow(number: i64) -> PyResult<u32> {
    u32::try_from(number).map_err(|_| beyond(&number.to_string()))
}

fn beyond(number: &str) -> PyErr {
    PyValueError::new_err(format!("{number} is no block number: give whole numbers from 0 to 4294967295"))
}
