//! Element types, by the numbers and names that others give them.

use std::ffi::CStr;

use pyo3::{exceptions::PyBufferError, prelude::*};

/// An element type as DLPack tells it (`DLDataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Element {
    /// Kind of number (`DLDataTypeCode`).
    pub code: u8,
    /// Bits of one lane.
    pub bits: u8,
    /// Lanes of one element; 1 for all but vectors.
    pub lanes: u16,
}

/// Name for NumPy, ml_dtypes and PyTorch, DLPack's code and bits, and the buffer protocol's format where it has one.
type Row = (&'static str, u8, u8, Option<&'static CStr>);

/// All element types with names. The formats are those of this machine's C.
const ROWS: &[Row] = &[
    ("int8", 0, 8, Some(c"b")),
    ("int16", 0, 16, Some(c"h")),
    ("int32", 0, 32, Some(c"i")),
    ("int64", 0, 64, Some(c"q")),
    ("uint8", 1, 8, Some(c"B")),
    ("uint16", 1, 16, Some(c"H")),
    ("uint32", 1, 32, Some(c"I")),
    ("uint64", 1, 64, Some(c"Q")),
    ("float16", 2, 16, Some(c"e")),
    ("float32", 2, 32, Some(c"f")),
    ("float64", 2, 64, Some(c"d")),
    ("bfloat16", 4, 16, None),
    ("complex64", 5, 64, Some(c"Zf")),
    ("complex128", 5, 128, Some(c"Zd")),
    ("bool", 6, 8, Some(c"?")),
    ("float8_e4m3fn", 10, 8, None),
    ("float8_e4m3fnuz", 11, 8, None),
    ("float8_e5m2", 12, 8, None),
    ("float8_e5m2fnuz", 13, 8, None),
    ("float8_e8m0fnu", 14, 8, None),
];

impl Element {
    /// `float32`, `bfloat16`, `float8_e4m3fn`, ...
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.0 == name).map(Self::of_row)
    }

    /// The element type of a format of the buffer protocol, in this machine's byte order.
    #[must_use]
    pub fn by_format(format: &CStr) -> Option<Self> {
        let text = format.to_str().ok()?;
        let plain = text.strip_prefix(['@', '=', '<']).unwrap_or(text);
        let same = match plain {
            "l" | "n" => "q",
            "L" | "N" => "Q",
            "c" => "B",
            other => other,
        };
        let is_it = |row: &&Row| row.3.is_some_and(|format| format.to_bytes() == same.as_bytes());
        // Four bytes where the byte order is named, eight where it is this machine's C.
        match (plain, text == plain || text.starts_with('@')) {
            ("l", false) => Self::by_name("int32"),
            ("L", false) => Self::by_name("uint32"),
            _ => ROWS.iter().find(is_it).map(Self::of_row),
        }
    }

    /// What NumPy and PyTorch call it; none for vectors and types without a name.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|row| row.0)
    }

    /// What the buffer protocol calls it, where it has it.
    #[must_use]
    pub fn format(self) -> Option<&'static CStr> {
        self.row()?.3
    }

    /// Bytes of one element.
    #[must_use]
    pub fn bytes(self) -> usize {
        (usize::from(self.bits) * usize::from(self.lanes)).div_ceil(8)
    }

    /// As [`Element::by_name`].
    ///
    /// # Errors
    /// `BufferError` with the names that there are.
    pub fn named(name: &str) -> PyResult<Self> {
        Self::by_name(name).ok_or_else(|| {
            let names: Vec<_> = ROWS.iter().map(|row| row.0).collect();
            PyBufferError::new_err(format!("no element type {name:?}: give one of {}", names.join(", ")))
        })
    }

    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| Self::of_row(row) == self)
    }

    const fn of_row(row: &Row) -> Self {
        Self { code: row.1, bits: row.2, lanes: 1 }
    }
}
