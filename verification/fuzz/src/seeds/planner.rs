//! Whole caches, tables and permutations between layouts that differ, as the reader of cases takes its bytes.

use super::{Seeds, noise};

pub(super) fn seeds() -> Seeds {
    // direction, layers, tensors, blocks here and there, bytes, odd one out
    let shape = |direction, here, there| vec![direction, 1, 1, here, there, 15, 0];
    // base, then runs: flags, and what they announce
    let (plain, interleaved) = (vec![0, 0], vec![1, 8]);
    let gaps = vec![2, 6, 3, 20];
    let split = vec![0, 1, 1, 16];
    // layers from and to, elements and bytes of a request
    let (all, tight) = (vec![0, 2, 30, 0], vec![0, 2, 2, 33]);
    let identity = vec![0];
    let table = |numbers: &[u8], order: u8| {
        let length = numbers.len() as u8;
        [&[1, length][..], numbers, numbers, &[order]].concat()
    };
    let case = |parts: &[&Vec<u8>]| parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
    let steps = [5, 6, 7, 0, 1, 2, 3, 4];
    let mut seeds: Seeds = vec![
        ("whole".into(), case(&[&shape(1, 7, 7), &plain, &plain, &all, &identity])),
        ("whole_push".into(), case(&[&shape(0, 7, 7), &plain, &interleaved, &tight, &identity])),
        ("table".into(), case(&[&shape(1, 7, 11), &plain, &gaps, &all, &table(&steps, 0)])),
        ("table_push".into(), case(&[&shape(0, 11, 7), &split, &plain, &tight, &table(&steps, 0)])),
        ("permuted".into(), case(&[&shape(1, 15, 15), &interleaved, &plain, &all, &table(&steps, 11)])),
        ("twice".into(), case(&[&shape(1, 7, 7), &plain, &plain, &all, &table(&[1, 1], 0)])),
        ("beyond".into(), case(&[&shape(1, 7, 7), &plain, &plain, &all, &table(&[255], 0)])),
        ("more_targets".into(), case(&[&shape(1, 7, 7), &plain, &plain, &all, &table(&steps, 255)])),
        ("other_shape".into(), case(&[&vec![1, 1, 1, 7, 7, 15, 255], &plain, &plain, &all, &identity])),
    ];
    seeds.extend((0..4).map(|seed| (format!("noise_{seed}"), noise(10 + seed, 90))));
    seeds
}
