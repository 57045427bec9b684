//! Caches that are placed on a device, on one.

use pmd_core::accelerator::DeviceMemory;

use super::*;
use crate::on_device::{TestDevice, address as address_of};

/// Rows of 16 numbers, as the examples have them.
const ROW: usize = 64;

fn pair_on(device: &TestDevice) -> (LlmDataDist, LlmDataDist) {
    let prompt = start_with(0, &server(), |endpoint| device.driven(endpoint));
    let decoder = start_with(1, &client(), |endpoint| device.driven(endpoint));
    link(&decoder, &prompt);
    (prompt, decoder)
}

/// Tensors on a device, in allocations of their own.
struct OnDevice {
    device: TestDevice,
    tensors: Vec<Box<dyn DeviceMemory>>,
    cache: Cache,
}

fn numbers(tensor: i32, rows: i64, first: i32) -> Vec<u8> {
    (0..16 * rows as i32).flat_map(|place| (first + 1000 * tensor + place).to_le_bytes()).collect()
}

impl OnDevice {
    /// As [`cache`] fills it. Not registered yet.
    fn new(device: &TestDevice, tensors: u32, rows: i64, first: i32) -> Self {
        let tensors: Vec<_> =
            (0..tensors as i32).map(|tensor| device.memory(&numbers(tensor, rows, first))).collect();
        let tensor_addrs = tensors.iter().map(|tensor| address_of(&**tensor)).collect();
        let cache_desc = desc(tensors.len() as u32, rows);
        let cache = Cache { cache_id: -1, tensor_addrs, cache_desc };
        Self { device: device.clone(), tensors, cache }
    }

    fn registered(mut self, datadist: &LlmDataDist) -> Self {
        let Cache { cache_desc, tensor_addrs, .. } = &self.cache;
        // SAFETY: the tests keep the tensors for longer, and look at them while nothing moves.
        let id = unsafe { datadist.register_kv_cache(cache_desc, tensor_addrs, &CacheKeys::None) };
        self.cache.cache_id = id.expect("registered");
        self
    }

    fn row(&self, tensor: usize, row: usize) -> Vec<i32> {
        let bytes = self.device.read(self.cache.tensor_addrs[tensor] + (row * ROW) as u64, ROW);
        bytes.chunks(4).map(|number| i32::from_le_bytes(number.try_into().expect("four"))).collect()
    }
}

#[test]
fn caches_on_a_device_are_pulled_and_pushed() {
    let device = TestDevice::new();
    let (prompt, decoder) = pair_on(&device);
    let theirs = OnDevice::new(&device, 4, 8, 0).registered(&prompt);
    let ours = OnDevice::new(&device, 4, 8, 100_000).registered(&decoder);
    let all = KvCacheExtParam::default();
    decoder.pull_kv_blocks(index(0, 1, 0), 1, &[1, 2, 3], &[3, 1, 2], &all).expect("pulled");
    decoder.pull_kv_cache(index(0, 1, 0), 1, 0, -1, &all).expect("pulled");
    prompt.push_kv_blocks(1, index(1, 1, 0), &[5, 7], &[7, 5], &all).expect("pushed");
    for tensor in 0..4 {
        for (to, from) in [(0, 0), (3, 1), (1, 2), (2, 3), (7, 5), (5, 7)] {
            assert_eq!(ours.row(tensor, to), filled(0, tensor as i32, from), "row {to}");
        }
        assert_eq!(ours.row(tensor, 4), filled(100_000, tensor as i32, 4), "not asked for");
    }
    // Between a cache on the device and one of the host's.
    let host = CacheDesc { placement: CachePlacement::Host, ..desc(4, 8) };
    let host = cache_with(&decoder, &host, 50_000, &CacheKeys::None);
    decoder.pull_kv_blocks(index(0, 1, 0), host.cache_id, &[4], &[6], &all).expect("pulled");
    (0..4).for_each(|tensor| assert_eq!(host.row(tensor, 6), filled(0, tensor as i32, 4)));
    drop((prompt, decoder));
    drop((theirs.tensors, ours.tensors, host));
    device.nothing_is_left();
}

#[test]
fn allocated_caches_lie_on_the_device_and_give_it_back() {
    let device = TestDevice::new();
    let (prompt, decoder) = pair_on(&device);
    let theirs = OnDevice::new(&device, 2, 4, 0).registered(&prompt);
    let cache = decoder.allocate_cache(&desc(2, 4), &CacheKeys::None).expect("allocated");
    decoder
        .pull_kv_blocks(
            index(0, 1, 0),
            cache.cache_id,
            &[0, 1, 2, 3],
            &[3, 2, 1, 0],
            &KvCacheExtParam::default(),
        )
        .expect("pulled");
    for (tensor, address) in cache.tensor_addrs.iter().enumerate() {
        let wanted: Vec<i32> = (0..4).rev().flat_map(|row| filled(0, tensor as i32, row)).collect();
        let found = device.read(*address, 4 * ROW);
        assert!(
            found.chunks(4).map(|number| i32::from_le_bytes(number.try_into().expect("four"))).eq(wanted)
        );
    }
    // Within the device, and out of it.
    decoder.copy_kv_blocks(cache.cache_id, cache.cache_id, &[0], &[vec![1]]).expect("copied");
    let host = CacheDesc { placement: CachePlacement::Host, ..desc(2, 4) };
    let host = cache_with(&decoder, &host, 50_000, &CacheKeys::None);
    decoder.copy_kv_cache(cache.cache_id, host.cache_id, 1, 2, 0, -1).expect("copied");
    (0..2).for_each(|tensor| assert_eq!(host.row(tensor, 2), filled(0, tensor as i32, 3)));
    decoder.copy_kv_cache(host.cache_id, cache.cache_id, 0, 0, 0, -1).expect("copied");
    let back = device.read(cache.tensor_addrs[1], 4);
    assert_eq!(i32::from_le_bytes(back.try_into().expect("four")), 51_000);
    decoder.deallocate_cache(cache.cache_id).expect("given back");
    let full = CacheDesc { shape: vec![1, TestDevice::CAPACITY as i64], ..desc(1, 1) };
    let refused = decoder.allocate_cache(&full, &CacheKeys::None).expect_err("it has not so many bytes");
    assert_eq!(refused.status(), Status::DeviceOutOfMemory, "{refused}");
    drop((prompt, decoder, theirs.tensors));
    device.nothing_is_left();
    drop(host);
}

#[test]
fn blocks_are_swapped_between_the_host_and_the_device() {
    let device = TestDevice::new();
    let datadist = start_with(0, &client(), |endpoint| device.driven(endpoint));
    let far = OnDevice::new(&device, 2, 4, 0);
    let host = CacheDesc { placement: CachePlacement::Host, ..desc(2, 4) };
    let near = cache_with(&datadist, &host, 70_000, &CacheKeys::None);
    let addresses = near.tensors.iter().map(|tensor| tensor.as_ptr() as u64).collect();
    let described = Cache { cache_id: -1, tensor_addrs: addresses, cache_desc: host };
    // SAFETY: the test keeps both, and nothing else uses them.
    let swap =
        |from: &Cache, to: &Cache, pairs: &[(u64, u64)]| unsafe { datadist.swap_blocks(from, to, pairs) };
    swap(&far.cache, &described, &[(1, 3), (2, 0)]).expect("swapped out");
    for tensor in 0..2 {
        assert_eq!(near.row(tensor, 3), filled(0, tensor as i32, 1));
        assert_eq!(near.row(tensor, 0), filled(0, tensor as i32, 2));
    }
    let far = far.registered(&datadist);
    let registered = Cache { cache_id: near.cache_id, ..described };
    swap(&registered, &far.cache, &[(1, 0)]).expect("swapped in");
    (0..2).for_each(|tensor| assert_eq!(far.row(tensor, 0), filled(70_000, tensor as i32, 1)));
    // What is said to be on the device and is not.
    let wrong = Cache { cache_id: -1, cache_desc: desc(2, 4), ..registered.clone() };
    let registered = Cache { cache_id: -1, ..registered };
    assert_eq!(status(swap(&registered, &wrong, &[(0, 0)])), Status::ParamInvalid);
    drop(datadist);
    drop((near, far.tensors));
}

#[test]
fn what_is_not_the_devices_has_its_status() {
    let device = TestDevice::new();
    let datadist = start_with(0, &client(), |endpoint| device.driven(endpoint));
    let bytes = vec![0_i32; 64];
    // SAFETY: it is refused.
    let refused =
        unsafe { datadist.register_kv_cache(&desc(1, 4), &[bytes.as_ptr() as u64], &CacheKeys::None) };
    let refused = refused.expect_err("it is the host's");
    assert_eq!(refused.status(), Status::ParamInvalid, "{refused}");
    // Two tensors that touch, of which the second one is not there.
    let memory = device.memory(&[0; 256]);
    let addresses = [address_of(&*memory), address_of(&*memory) + 256];
    // SAFETY: as above.
    let refused = unsafe { datadist.register_kv_cache(&desc(2, 4), &addresses, &CacheKeys::None) };
    assert_eq!(refused.expect_err("beyond it").status(), Status::ParamInvalid);
    for (fault, wanted) in [
        (pmd_core::accelerator::AcceleratorError::StreamGone, Status::Failed),
        (
            pmd_core::accelerator::AcceleratorError::Unsupported {
                kind: pmd_core::accelerator::AcceleratorKind::Cpu,
                what: "share memory",
                why: "it is pinned",
            },
            Status::FeatureNotEnabled,
        ),
    ] {
        let error = DataDistError::from(crate::fabric::FabricError::from(fault));
        assert_eq!(error.status(), wanted);
    }
}
