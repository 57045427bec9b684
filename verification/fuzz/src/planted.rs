//! A fault on purpose: the suite fails if the fuzzer does not find it.

/// What must be found: too long to be met by chance, so that only coverage leads there.
const PATTERN: &[u8; 8] = b"pmd-core";

/// Panics on inputs that begin with the pattern.
///
/// # Panics
/// That is what it is for.
pub fn run(data: &[u8]) {
    // Byte by byte: each right one is a new branch, which the fuzzer keeps.
    for (place, wanted) in PATTERN.iter().enumerate() {
        if data.get(place) != Some(wanted) {
            return;
        }
    }
    panic!("the planted fault was found");
}
