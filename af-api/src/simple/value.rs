//! What key-values are made of, and lists of them.

use std::ops::Range;

use super::KvError;

/// A number that key-values are made of. It travels little-endian.
pub trait Value: Copy + Default + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// Bytes of one.
    const BYTES: usize;

    /// The sum of two; integers wrap around. What [`KvServer::sum`](super::KvServer::sum) does with pushes.
    #[must_use]
    fn plus(self, other: Self) -> Self;

    /// Appends it.
    fn emit(self, into: &mut Vec<u8>);

    /// Reads one from its bytes; fewer of them count as zeros at the end.
    #[must_use]
    fn parse(bytes: &[u8]) -> Self;
}

macro_rules! value {
    ($($number:ty: $plus:expr),*) => {
        $(impl Value for $number {
            const BYTES: usize = size_of::<Self>();

            fn plus(self, other: Self) -> Self {
                $plus(self, other)
            }

            fn emit(self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_le_bytes());
            }

            fn parse(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<Self>()];
                let count = bytes.len().min(own.len());
                own[..count].copy_from_slice(&bytes[..count]);
                Self::from_le_bytes(own)
            }
        })*
    };
}

value! {
    f32: |left: f32, right: f32| left + right,
    f64: |left: f64, right: f64| left + right,
    i8: i8::wrapping_add,
    i16: i16::wrapping_add,
    i32: i32::wrapping_add,
    i64: i64::wrapping_add,
    u8: u8::wrapping_add,
    u16: u16::wrapping_add,
    u32: u32::wrapping_add,
    u64: u64::wrapping_add
}

pub(super) fn emit_values<V: Value>(values: &[V], into: &mut Vec<u8>) {
    into.reserve(values.len() * V::BYTES);
    values.iter().for_each(|value| value.emit(into));
}

pub(super) fn parse_values<V: Value>(bytes: &[u8]) -> Vec<V> {
    bytes.chunks_exact(V::BYTES).map(V::parse).collect()
}

/// Keys with their values, one after the other (ps-lite's `KVPairs`).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct KvPairs<V> {
    /// Strictly increasing.
    pub keys: Vec<u64>,
    /// The values of the first key, then those of the second, and so on.
    pub values: Vec<V>,
    /// How many values each key has. Without it all have the same number.
    pub lengths: Option<Vec<u32>>,
}

impl<V: Value> KvPairs<V> {
    /// Keys with the same number of values each.
    ///
    /// # Errors
    /// [`KvError`]: see [`KvPairs::check`].
    pub fn uniform(keys: Vec<u64>, values: Vec<V>) -> Result<Self, KvError> {
        let pairs = Self { keys, values, lengths: None };
        pairs.check().map(|()| pairs)
    }

    /// Keys with a number of values of their own.
    ///
    /// # Errors
    /// [`KvError`]: see [`KvPairs::check`].
    pub fn variable(keys: Vec<u64>, values: Vec<V>, lengths: Vec<u32>) -> Result<Self, KvError> {
        let pairs = Self { keys, values, lengths: Some(lengths) };
        pairs.check().map(|()| pairs)
    }

    /// Whether keys increase, and lengths and values go together.
    ///
    /// # Errors
    /// [`KvError::Unsorted`], [`KvError::Lengths`] or [`KvError::Values`].
    pub fn check(&self) -> Result<(), KvError> {
        check(&self.keys, self.lengths.as_deref(), self.values.len())
    }

    /// Each key with its values.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[V])> {
        let spans = spans(self.keys.len(), self.lengths.as_deref(), self.values.len());
        self.keys.iter().zip(spans).map(|(key, span)| (*key, self.values.get(span).unwrap_or_default()))
    }
}

/// See [`KvPairs::check`].
pub(super) fn check(keys: &[u64], lengths: Option<&[u32]>, values: usize) -> Result<(), KvError> {
    if let Some(pair) = keys.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(KvError::Unsorted { first: pair[0], second: pair[1] });
    }
    let (keys, counted) =
        (keys.len(), lengths.map(|lengths| lengths.iter().map(|length| *length as usize).sum()));
    match (lengths, counted) {
        (Some(lengths), _) if lengths.len() != keys => Err(KvError::Lengths { keys, lengths: lengths.len() }),
        (_, Some(counted)) if counted != values => Err(KvError::Values { values, wanted: counted }),
        (None, _) if keys == 0 && values > 0 => Err(KvError::Values { values, wanted: 0 }),
        (None, _) if keys > 0 && !values.is_multiple_of(keys) => {
            Err(KvError::Values { values, wanted: values.next_multiple_of(keys) })
        }
        _ => Ok(()),
    }
}

/// Where each key's values are; the lists go together.
pub(super) fn spans(
    keys: usize,
    lengths: Option<&[u32]>,
    values: usize,
) -> impl Iterator<Item = Range<usize>> {
    let each = values.checked_div(keys).unwrap_or_default();
    let mut end = 0;
    (0..keys).map(move |key| {
        let length = lengths.map_or(each, |lengths| lengths.get(key).map_or(0, |length| *length as usize));
        let start = end;
        end += length;
        start..end
    })
}
