//! The inputs that fuzzing starts from: a few of each kind, the same on every machine.
//!
//! `cargo run --bin seeds` writes them below `seeds/`, and with `--check` compares; the suite does the latter.

mod control;
mod cqe;
mod handshake;
mod planner;
mod push_pull;
mod two_sided;
mod wqe;

/// Names and bytes of a target's seeds.
pub type Seeds = Vec<(String, Vec<u8>)>;

/// Every target, with its seeds.
#[must_use]
pub fn all() -> Vec<(&'static str, Seeds)> {
    vec![
        ("wqe", wqe::seeds()),
        ("cqe", cqe::seeds()),
        ("control", control::seeds()),
        ("handshake", handshake::seeds()),
        ("planner", planner::seeds()),
        ("push_pull", push_pull::seeds()),
        ("two_sided", two_sided::seeds()),
        ("planted", vec![("p".into(), b"p".to_vec())]),
    ]
}

/// Bytes that look random and never change (splitmix64).
#[must_use]
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    });
    words.flat_map(u64::to_le_bytes).take(length).collect()
}
