//! Copies in all directions, of odd lengths at odd places, against a model.

use pmd_core::accelerator::{CopyDirection, CopyRange};

use super::{Case, case};
use crate::context::{Context, Outcome, Random, address, copies, pattern};

pub(super) const CASES: &[Case] = &[
    case("copies::every_direction_with_odd_lengths_and_offsets", every_direction),
    case("copies::many_ranges_in_one_call", many_ranges),
    case("copies::no_range_and_empty_ranges_copy_nothing", nothing),
    case("copies::memory_that_is_not_pinned_is_copied_too", not_pinned),
    case("copies::large_ranges_arrive_whole", large),
];

const LENGTH: usize = 20_000;

/// Two areas on the host and two on the device, with what they should hold.
struct Areas {
    addresses: [u64; 4],
    model: [Vec<u8>; 4],
}

impl Areas {
    /// A range that is drawn by chance; done in the model at once.
    fn draw(&mut self, random: &mut Random) -> CopyRange {
        let (from, to) = (random.below(4), random.below(4));
        // Within one area, ranges could overlap.
        let to = if from == to { (to + 1) % 4 } else { to };
        let length = random.below(3000) + 1;
        let (start, end) = (random.below(LENGTH - length), random.below(LENGTH - length));
        let bytes = self.model[from][start..start + length].to_vec();
        self.model[to][end..end + length].copy_from_slice(&bytes);
        let direction = match (from < 2, to < 2) {
            (true, true) => CopyDirection::HostToHost,
            (true, false) => CopyDirection::HostToDevice,
            (false, true) => CopyDirection::DeviceToHost,
            (false, false) => CopyDirection::DeviceToDevice,
        };
        let (from, to) = (self.addresses[from] + start as u64, self.addresses[to] + end as u64);
        CopyRange { from, to, length: length as u64, direction }
    }
}

fn every_direction(context: &Context) -> Outcome {
    let contents = [0, 1, 2, 3].map(|seed| pattern(seed, LENGTH));
    let host = [context.pinned(&contents[0]), context.pinned(&contents[1])];
    let device = [context.uploaded(&contents[2]), context.uploaded(&contents[3])];
    let addresses = [host[0].address(), host[1].address(), address(&*device[0]), address(&*device[1])];
    let mut areas = Areas { addresses, model: contents };
    let (stream, mut random) = (context.stream(), Random::new(7));
    for _ in 0..300 {
        // One range a call: the ranges of one call are in no order.
        copies(&*stream, &[areas.draw(&mut random)]).expect("copying");
    }
    context.finish(&*stream);
    for (found, wanted) in host.iter().zip(&areas.model) {
        assert!(found.read() == *wanted, "the host's");
    }
    for (found, wanted) in device.iter().zip(&areas.model[2..]) {
        assert!(context.download(&**found, 0, LENGTH) == *wanted, "the device's");
    }
    Ok(())
}

fn many_ranges(context: &Context) -> Outcome {
    const RANGES: usize = 500;
    let source = context.uploaded(&pattern(11, RANGES * 64));
    let target = context.uploaded(&vec![0; RANGES * 64]);
    let places = Random::new(12).permutation(RANGES);
    let ranges: Vec<CopyRange> = places
        .iter()
        .enumerate()
        .map(|(from, to)| {
            let (from, to) = (address(&*source) + 64 * from as u64, address(&*target) + 64 * u64::from(*to));
            CopyRange { from, to, length: 61, direction: CopyDirection::DeviceToDevice }
        })
        .collect();
    let stream = context.stream();
    copies(&*stream, &ranges).expect("copying");
    context.finish(&*stream);
    let (bytes, mut wanted) = (pattern(11, RANGES * 64), vec![0; RANGES * 64]);
    for (from, to) in places.iter().enumerate() {
        let (from, to) = (from * 64, *to as usize * 64);
        wanted[to..to + 61].copy_from_slice(&bytes[from..from + 61]);
    }
    assert!(context.download(&*target, 0, RANGES * 64) == wanted);
    Ok(())
}

fn nothing(context: &Context) -> Outcome {
    let memory = context.uploaded(&pattern(1, 64));
    let (stream, base) = (context.stream(), address(&*memory));
    let empty = CopyRange { from: base, to: base + 8, length: 0, direction: CopyDirection::DeviceToDevice };
    copies(&*stream, &[]).expect("no ranges");
    copies(&*stream, &[empty, CopyRange::default()]).expect("empty ranges");
    context.finish(&*stream);
    assert!(context.download(&*memory, 0, 64) == pattern(1, 64));
    Ok(())
}

fn not_pinned(context: &Context) -> Outcome {
    let (source, mut found) = (pattern(2, 10_001), vec![0; 10_001]);
    let (memory, stream) = (context.allocate(10_001), context.stream());
    let range = |from, to, direction| CopyRange { from, to, length: 10_001, direction };
    let there = range(source.as_ptr() as u64, address(&*memory), CopyDirection::HostToDevice);
    let back = range(address(&*memory), found.as_mut_ptr() as u64, CopyDirection::DeviceToHost);
    copies(&*stream, &[there]).expect("copying");
    copies(&*stream, &[back]).expect("copying");
    context.finish(&*stream);
    assert!(found == source);
    Ok(())
}

fn large(context: &Context) -> Outcome {
    let length = (16 << 20) + 3;
    let bytes = pattern(3, length);
    let (first, second, stream) = (context.uploaded(&bytes), context.allocate(length), context.stream());
    let (from, to) = (address(&*first), address(&*second));
    let range = CopyRange { from, to, length: length as u64, direction: CopyDirection::DeviceToDevice };
    copies(&*stream, &[range]).expect("copying");
    context.finish(&*stream);
    assert!(context.download(&*second, 0, length) == bytes);
    Ok(())
}
