//! The layout by itself; comparisons with libmlx5 need a device.

use pmd_core::{
    memory::{LocalKey, RemoteAddress, Sge},
    provider::SendFlags,
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::bytes::request::{Sizes, request};

const SIZES: Sizes = Sizes { sges: 30, inline: 800 };

fn names(work: Work, path: Path) -> Vec<String> {
    let request = Request { work, flags: SendFlags::empty() };
    let marked = |field: Field| format!("{}{}", field.name, if field.is_free { "?" } else { "" });
    fields(&request, path).into_iter().map(marked).collect()
}

#[test]
fn fields_follow_each_other_without_gaps() {
    let mut runner = TestRunner::deterministic();
    let checked = runner.run(&request(SIZES, true), |request| {
        for path in [Path::PostSend, Path::WorkRequest] {
            let fields = fields(&request, path);
            let starts: Vec<usize> = fields.iter().map(|field| field.range.start).collect();
            let ends = [0].into_iter().chain(fields.iter().map(|field| field.range.end));
            prop_assert_eq!(starts, ends.take(fields.len()).collect::<Vec<_>>());
            prop_assert_eq!(length(&fields) % 16, 0);
            prop_assert!(length(&fields) <= 63 * 16);
        }
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn free_fields_are_those_that_libmlx5_leaves_alone() {
    let remote = RemoteAddress::default();
    let local = Sge { address: 0, length: 8, key: LocalKey(0) };
    let add = Work::FetchAdd { remote, local, add: 1 };
    assert!(names(add.clone(), Path::PostSend).contains(&"atomic.compare?".to_owned()));
    assert!(names(add.clone(), Path::PostSend).contains(&"control.immediate".to_owned()));
    assert!(names(add, Path::WorkRequest).contains(&"control.immediate?".to_owned()));
    let swap = Work::CompareSwap { remote, local, compare: 1, swap: 2 };
    assert!(names(swap, Path::PostSend).contains(&"atomic.compare".to_owned()));
    let data = Data::Inline { bytes: vec![1; 25], cuts: Vec::new() };
    let send = Work::Send { data, extra: Extra::Immediate(4) };
    let names = names(send, Path::WorkRequest);
    assert_eq!(names[8..], ["control.immediate", "inline.length", "inline.bytes", "inline.padding?"]);
}

#[test]
fn the_first_difference_is_named() {
    let work = Work::Read { remote: RemoteAddress::default(), list: Vec::new() };
    let fields = fields(&Request { work, flags: SendFlags::empty() }, Path::PostSend);
    let ours = vec![0; length(&fields)];
    let mut theirs = ours.clone();
    assert_eq!(compare(&ours, &theirs, &fields), Ok(()));
    (theirs[7], theirs[24]) = (2, 0xbe);
    let difference = compare(&ours, &theirs, &fields).unwrap_err();
    assert_eq!(difference.to_string(), "control.ds differs: ours 00, libmlx5's 02");
}
