use super::{Idle, MemoryChoice, Plan, Test, all_sizes};

fn plan(test: Test, footprint: u64) -> Plan {
    Plan {
        test,
        sizes: all_sizes(),
        iterations: None,
        memory: MemoryChoice::Arena,
        idle: Idle::Spin,
        queue_depth: 128,
        batch: 16,
        inline_bytes: 128,
        footprint,
    }
}

#[test]
fn buffers_hold_every_size() {
    for test in [Test::WriteLat, Test::WriteBw, Test::ReadBw, Test::ReadLat, Test::SendLat] {
        for footprint in [1, 4096, 1 << 20] {
            let plan = plan(test, footprint);
            for size in all_sizes() {
                assert!(plan.places(size) >= 1);
                assert!(plan.places(size) * u64::from(size) <= plan.buffer_length(), "{test:?} {size}");
                assert!(plan.iterations(size) >= 64);
                assert!(plan.warm_up(size) >= 1);
            }
        }
    }
}

#[test]
fn sizes_are_perftests() {
    let sizes = all_sizes();
    assert_eq!((sizes.first(), sizes.last(), sizes.len()), (Some(&2), Some(&(8 << 20)), 23));
}

#[test]
fn reads_are_never_inline() {
    assert!(plan(Test::WriteLat, 1).is_inline(128));
    assert!(!plan(Test::WriteLat, 1).is_inline(129));
    assert!(!plan(Test::ReadLat, 1).is_inline(8));
}
