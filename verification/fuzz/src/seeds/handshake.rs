//! Connections as they should be, and each thing that somebody in between may do to one.

use super::{Seeds, noise};
use crate::handshake::{Injected, NO_KEY, NO_KEY_THERE, OTHER_KEY, SAME_KEY};

/// All of the connecting side's bytes arrive; all of the other's.
const THERE: [u8; 3] = [1, 0xff, 0xff];
const BACK: [u8; 3] = [0x81, 0xff, 0xff];
/// Both have said their first, and heard it.
const SHAKEN: [[u8; 3]; 2] = [THERE, BACK];
const SAY: [u8; 3] = [0, 5, 0];
const ANSWER: [u8; 3] = [0x80, 9, 0];
/// Longer than a record.
const SAY_MUCH: [u8; 3] = [0, 0, 0x48];
/// The last record's bytes once more: length, and an event of some bytes sealed.
const AGAIN: [u8; 3] = [4, 30, 0];
const NEW_CONNECTION: [u8; 3] = [7, 0, 0];

pub(super) fn seeds() -> Seeds {
    let input = |shape: u8, steps: &[[u8; 3]]| [&[shape][..], steps.as_flattened()].concat();
    let shaken = |steps: &[[u8; 3]]| input(SAME_KEY, &[&SHAKEN[..], steps].concat());
    let injected = |what: Injected, detail: u8| [6, what as u8, detail];
    let slowly = [[1, 7, 0]; 12];
    let mut seeds: Seeds = vec![
        ("good".into(), shaken(&[SAY, ANSWER, THERE, BACK, SAY, SAY, THERE])),
        ("much".into(), shaken(&[SAY_MUCH, THERE, SAY_MUCH, THERE])),
        ("slowly".into(), input(SAME_KEY, &[&slowly[..], &[BACK, SAY], &slowly].concat())),
        ("other_key".into(), input(OTHER_KEY, &[THERE, BACK, SAY, THERE])),
        ("no_key".into(), input(NO_KEY, &[THERE, ANSWER, BACK])),
        ("no_key_there".into(), input(NO_KEY_THERE, &[BACK, SAY, THERE])),
        ("flipped_hello".into(), input(SAME_KEY, &[[2, 80, 0], THERE, BACK])),
        ("flipped_handshake".into(), input(SAME_KEY, &[[2, 200, 0], THERE, BACK])),
        ("flipped_answer".into(), input(SAME_KEY, &[THERE, [0x82, 200, 0], BACK])),
        ("flipped_record".into(), shaken(&[SAY, [2, 40, 0], THERE])),
        ("flipped_length".into(), shaken(&[SAY, [2, 8, 0], THERE])),
        ("cut".into(), shaken(&[SAY, [3, 4, 0], THERE])),
        ("lost".into(), shaken(&[SAY, [3, 0xff, 0xff], SAY, THERE])),
        ("again".into(), shaken(&[SAY, THERE, AGAIN, THERE])),
        ("recording".into(), shaken(&[SAY, THERE, NEW_CONNECTION, [3, 0xff, 0xff], [4, 0xff, 0xfe], THERE])),
        ("reflected".into(), shaken(&[SAY, [5, 0xff, 0xff]])),
        ("reflected_handshake".into(), input(SAME_KEY, &[[5, 0xff, 0xff], BACK])),
    ];
    let kinds = [
        ("keyed", Injected::Keyed),
        ("clear", Injected::Clear),
        ("other_version", Injected::OtherVersion),
        ("handshake", Injected::Handshake),
        ("oversized", Injected::Oversized),
        ("empty", Injected::Empty),
        ("record", Injected::Record),
        ("frames", Injected::Frames),
        ("noise", Injected::Noise),
    ];
    for (name, kind) in kinds {
        seeds.push((format!("early_{name}"), input(SAME_KEY, &[injected(kind, 9), THERE, BACK])));
        seeds.push((format!("late_{name}"), shaken(&[SAY, injected(kind, 9), THERE])));
    }
    seeds.extend((0..3).map(|seed| (format!("random_{seed}"), noise(30 + seed, 91))));
    seeds
}
