//! Work requests as plain values, and how they are generated.

use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{Operation, Payload, SendFlags},
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// Longest message of the ports.
const MESSAGE: u32 = 1 << 30;

/// A send request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) work: Work,
    pub(super) flags: SendFlags,
}

/// What it does.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Write { remote: RemoteAddress, data: Data, immediate: Option<u32> },
    Read { remote: RemoteAddress, list: Vec<Sge> },
    Send { data: Data, extra: Extra },
    CompareSwap { remote: RemoteAddress, local: Sge, compare: u64, swap: u64 },
    FetchAdd { remote: RemoteAddress, local: Sge, add: u64 },
}

/// What a SEND does beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    None,
    Immediate(u32),
    /// Our driver does not offer it; libmlx5 does, and the device model decodes it.
    Invalidate(u32),
}

/// The bytes of a write or send.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Gather(Vec<Sge>),
    /// Libibverbs takes inline bytes from several places: these are where they are cut.
    Inline {
        bytes: Vec<u8>,
        cuts: Vec<usize>,
    },
}

/// What queue pairs were created for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) sges: usize,
    pub(super) inline: usize,
}

impl Data {
    /// As our driver takes it.
    pub(super) fn payload(&self) -> Payload<'_> {
        match self {
            Self::Gather(list) => Payload::Gather(list),
            Self::Inline { bytes, .. } => Payload::Inline(bytes),
        }
    }

    pub(super) fn is_inline(&self) -> bool {
        matches!(self, Self::Inline { .. })
    }

    /// Inline without bytes: what libmlx5 copies to BlueFlame all the same.
    pub(super) fn is_empty_inline(&self) -> bool {
        matches!(self, Self::Inline { bytes, .. } if bytes.is_empty())
    }

    /// The pieces that inline bytes are taken from.
    pub(super) fn pieces(&self) -> Vec<&[u8]> {
        let Self::Inline { bytes, cuts } = self else { return Vec::new() };
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
    }
}

impl Request {
    /// As our driver takes it; `None` for what it does not offer.
    pub(super) fn operation(&self) -> Option<Operation<'_>> {
        Some(match &self.work {
            Work::Write { remote, data, immediate: None } => {
                Operation::Write { remote: *remote, local: data.payload() }
            }
            Work::Write { remote, data, immediate: Some(immediate) } => {
                Operation::WriteImmediate { remote: *remote, local: data.payload(), immediate: *immediate }
            }
            Work::Read { remote, list } => Operation::Read { remote: *remote, local: list },
            Work::Send { data, extra: Extra::None } => {
                Operation::Send { local: data.payload(), immediate: None }
            }
            Work::Send { data, extra: Extra::Immediate(immediate) } => {
                Operation::Send { local: data.payload(), immediate: Some(*immediate) }
            }
            Work::Send { extra: Extra::Invalidate(_), .. } => return None,
            Work::CompareSwap { remote, local, compare, swap } => {
                Operation::CompareSwap { remote: *remote, local: *local, compare: *compare, swap: *swap }
            }
            Work::FetchAdd { remote, local, add } => {
                Operation::FetchAdd { remote: *remote, local: *local, add: *add }
            }
        })
    }

    /// Its bytes, where it has some of its own.
    pub(super) fn data(&self) -> Option<&Data> {
        match &self.work {
            Work::Write { data, .. } | Work::Send { data, .. } => Some(data),
            _ => None,
        }
    }

    /// Bytes that come back to this side.
    pub(super) fn returned(&self) -> u32 {
        match &self.work {
            Work::Read { list, .. } => list.iter().map(|entry| entry.length).sum(),
            Work::CompareSwap { .. } | Work::FetchAdd { .. } => 8,
            Work::Write { .. } | Work::Send { .. } => 0,
        }
    }
}

/// A write without bytes.
pub(super) fn empty_write() -> Request {
    let work =
        Work::Write { remote: RemoteAddress::default(), data: Data::Gather(Vec::new()), immediate: None };
    Request { work, flags: SendFlags::SIGNALED }
}

/// Requests posted with one doorbell each; all that our driver offers.
pub(super) fn batches(sizes: Sizes, most: usize) -> impl Strategy<Value = Vec<Vec<Request>>> {
    vec(vec(request(sizes, false), 1..=most), 1..40)
}

/// Any request; with `invalidate` also what only libmlx5 offers.
pub(super) fn request(sizes: Sizes, invalidate: bool) -> impl Strategy<Value = Request> {
    let flags = (0u32..8).prop_map(SendFlags::from_bits_truncate);
    (work(sizes, invalidate), flags).prop_map(|(work, flags)| Request { work, flags })
}

fn work(sizes: Sizes, invalidate: bool) -> impl Strategy<Value = Work> {
    let extra = prop_oneof![
        2 => Just(Extra::None),
        2 => any::<u32>().prop_map(Extra::Immediate),
        u32::from(invalidate) => any::<u32>().prop_map(Extra::Invalidate),
    ];
    let write = (remote(), data(sizes), proptest::option::of(any::<u32>()));
    let local = (any::<u64>(), any::<u32>()).prop_map(|(address, key)| Sge {
        address,
        length: 8,
        key: LocalKey(key),
    });
    let atomic = (remote(), local, any::<u64>(), proptest::option::of(any::<u64>()));
    prop_oneof![
        4 => write.prop_map(|(remote, data, immediate)| Work::Write { remote, data, immediate }),
        3 => (remote(), list(sizes.sges)).prop_map(|(remote, list)| Work::Read { remote, list }),
        3 => (data(sizes), extra).prop_map(|(data, extra)| Work::Send { data, extra }),
        2 => atomic.prop_map(|(remote, local, first, swap)| match swap {
            Some(swap) => Work::CompareSwap { remote, local, compare: first, swap },
            None => Work::FetchAdd { remote, local, add: first },
        }),
    ]
}

fn remote() -> impl Strategy<Value = RemoteAddress> {
    (any::<u64>(), any::<u32>()).prop_map(|(address, key)| RemoteAddress { address, key: RemoteKey(key) })
}

fn data(sizes: Sizes) -> impl Strategy<Value = Data> {
    let length = prop_oneof![1 => Just(0), 6 => 0..=sizes.inline.min(70), 3 => 0..=sizes.inline];
    let bytes = length.prop_flat_map(|length| vec(any::<u8>(), length));
    let cuts = vec(any::<Index>(), 0..sizes.sges.min(4));
    let inline = (bytes, cuts).prop_map(|(bytes, cuts)| {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        Data::Inline { bytes, cuts }
    });
    prop_oneof![list(sizes.sges).prop_map(Data::Gather), inline]
}

/// A gather list: mostly one entry, sometimes the longest, sometimes with empty entries, no longer than a message.
pub(super) fn list(most: usize) -> impl Strategy<Value = Vec<Sge>> {
    let long = (any::<u64>(), any::<u32>(), 1..=MESSAGE)
        .prop_map(|(address, key, length)| vec![Sge { address, length, key: LocalKey(key) }]);
    let count = prop_oneof![1 => Just(most), 3 => 0..=most];
    let many = count.prop_flat_map(move |count| vec(entry(MESSAGE / most as u32), count));
    prop_oneof![2 => long, 3 => many]
}

fn entry(longest: u32) -> impl Strategy<Value = Sge> {
    let length = prop_oneof![1 => Just(0), 2 => 1..=64u32, 3 => 1..=longest];
    (any::<u64>(), length, any::<u32>()).prop_map(|(address, length, key)| Sge {
        address,
        length,
        key: LocalKey(key),
    })
}
