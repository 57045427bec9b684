//! Copies between caches of this process: rows, blocks, and blocks between host and device.
#![allow(unsafe_code)] // copies between registered tensors

use std::{ptr, sync::Arc};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, CopyDirection, CopyRange},
    memory::MemoryKind,
};

use super::{
    ArgumentError, Cache, CachePlacement, DataDistError, LlmDataDist,
    argument::Side,
    memory,
    selection::{Span, Tensors, blocks, part_of_row},
    shape::CacheShape,
};
use crate::fabric::{Fabric, FabricError};

impl LlmDataDist {
    /// Copies a row of a cache to a row of another, in every tensor: `size` bytes from byte `offset` of both rows on,
    /// or the rest of the source's row for -1.
    ///
    /// # Errors
    /// [`DataDistError::NoSuchCache`], [`ArgumentError`].
    pub fn copy_kv_cache(
        &self,
        source: i64,
        destination: i64,
        src_batch_index: u32,
        dst_batch_index: u32,
        offset: u64,
        size: i64,
    ) -> Result<(), DataDistError> {
        self.copy(source, destination, |from, to| {
            Ok(vec![part_of_row((from, src_batch_index), (to, dst_batch_index), offset, size)?])
        })
    }

    /// Copies blocks of a cache to blocks of another, or of itself: each list of `dst_blocks_list` takes all of
    /// `src_blocks`, in their order.
    ///
    /// # Errors
    /// [`DataDistError::NoSuchCache`], [`ArgumentError`].
    pub fn copy_kv_blocks(
        &self,
        source: i64,
        destination: i64,
        src_blocks: &[u64],
        dst_blocks_list: &[Vec<u64>],
    ) -> Result<(), DataDistError> {
        if dst_blocks_list.is_empty() {
            return Err(ArgumentError::NoBlocks { side: Side::Destination }.into());
        }
        self.copy(source, destination, |from, to| {
            let lists = dst_blocks_list.iter().map(|dst_blocks| blocks(from, src_blocks, to, dst_blocks));
            Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
        })
    }

    /// Copies blocks between a cache on the host and one on the device: block `.0` of the source to block `.1` of the
    /// destination, for each of `src_to_dst`. A cache with number -1 is memory that is only described.
    ///
    /// # Errors
    /// [`DataDistError::NoSuchCache`]; [`ArgumentError::SwapPlacement`] and others.
    ///
    /// # Safety
    /// The tensors of a cache with number -1 are mapped, or allocated on an accelerator, and nothing else uses the blocks
    /// that are copied.
    pub unsafe fn swap_blocks(
        &self,
        source: &Cache,
        destination: &Cache,
        src_to_dst: &[(u64, u64)],
    ) -> Result<(), DataDistError> {
        self.running()?;
        let (source_placement, destination_placement) =
            (source.cache_desc.placement, destination.cache_desc.placement);
        if source_placement == destination_placement {
            return Err(ArgumentError::SwapPlacement { source_placement, destination_placement }.into());
        }
        let (src_blocks, dst_blocks): (Vec<u64>, Vec<u64>) = src_to_dst.iter().copied().unzip();
        let select = |from: &CacheShape, to: &CacheShape| blocks(from, &src_blocks, to, &dst_blocks);
        if source.cache_id >= 0 && destination.cache_id >= 0 {
            return self.copy(source.cache_id, destination.cache_id, select);
        }
        let (from, to) = (described(source)?, described(destination)?);
        let spans = select(&from, &to)?;
        let tensors = Tensors::all(&from, &to)?;
        let fabric = &self.running()?.fabric;
        // SAFETY: the caller promises the memory of both.
        let sides = unsafe { (owner(fabric, source, &from)?, owner(fabric, destination, &to)?) };
        let ends = Ends { sources: &source.tensor_addrs, destinations: &destination.tensor_addrs, sides };
        // SAFETY: the caller promises the memory of both, whose shapes the spans were checked against.
        unsafe { ends.copy(fabric, tensors, &spans) }
    }

    fn copy(
        &self,
        source: i64,
        destination: i64,
        select: impl Fn(&CacheShape, &CacheShape) -> Result<Vec<Span>, ArgumentError>,
    ) -> Result<(), DataDistError> {
        let running = self.running()?;
        let (source, destination) =
            (running.service.caches.find(source)?, running.service.caches.find(destination)?);
        let tensors = Tensors::all(&source.shape, &destination.shape)?;
        let spans = select(&source.shape, &destination.shape)?;
        let sides = (source.accelerator(), destination.accelerator());
        let ends = Ends { sources: &source.addresses, destinations: &destination.addresses, sides };
        // SAFETY: both caches are held, so their tensors stay mapped; the spans were checked against their shapes.
        unsafe { ends.copy(&running.fabric, tensors, &spans) }
    }
}

/// The shape of memory that is only described.
fn described(cache: &Cache) -> Result<CacheShape, ArgumentError> {
    let shape = CacheShape::of(&cache.cache_desc)?;
    if cache.tensor_addrs.len() as u64 != shape.tensors {
        let (given, wanted) = (cache.tensor_addrs.len(), shape.tensors as usize);
        return Err(ArgumentError::AddressCount { given, wanted });
    }
    let cannot = |address: &u64| *address == 0 || address.checked_add(shape.tensor_bytes).is_none();
    match cache.tensor_addrs.iter().position(cannot) {
        Some(index) => Err(ArgumentError::Address { index, address: cache.tensor_addrs[index] }),
        None => Ok(shape),
    }
}

/// Whose memory it is, where that is an accelerator's.
type Owner = Option<Arc<dyn Accelerator>>;

/// Whose memory a described cache is in, where that is an accelerator's: all of its tensors are.
///
/// # Safety
/// The tensors stay allocated until the call returns.
unsafe fn owner(fabric: &Fabric, cache: &Cache, shape: &CacheShape) -> Result<Owner, DataDistError> {
    if memory::kind(fabric, cache.cache_desc.placement) != MemoryKind::Device {
        return Ok(None);
    }
    let mut owner: Owner = None;
    for address in &cache.tensor_addrs {
        // SAFETY: passed on; the value goes at once.
        let accelerator = unsafe { fabric.adopt(*address, shape.tensor_bytes, None)? }.accelerator();
        owner = Some(one_of(owner, accelerator)?);
    }
    Ok(owner)
}

/// The accelerator that both are.
fn one_of(known: Owner, other: Arc<dyn Accelerator>) -> Result<Arc<dyn Accelerator>, DataDistError> {
    match known {
        Some(known) if known.identity() != other.identity() => {
            let of = known.identity().clone();
            Err(FabricError::from(AcceleratorError::Foreign { of }).into())
        }
        Some(known) => Ok(known),
        None => Ok(other),
    }
}

/// The tensors of two caches, and whose memory they are in.
struct Ends<'a> {
    sources: &'a [u64],
    destinations: &'a [u64],
    sides: (Owner, Owner),
}

impl Ends<'_> {
    /// Copies every span of every tensor; in memory of the host in order, so that source and destination may overlap.
    ///
    /// # Safety
    /// All spans lie in the tensors, which are there. What other threads, kernels or peers do to them meanwhile is theirs
    /// to order, as for every transfer.
    unsafe fn copy(self, fabric: &Fabric, tensors: Tensors, spans: &[Span]) -> Result<(), DataDistError> {
        let pairs = self.sources[tensors.source..].iter().zip(&self.destinations[tensors.destination..]);
        let places = pairs.take(tensors.count).flat_map(|(source, destination)| {
            spans.iter().map(move |span| (source + span.source, destination + span.destination, span.length))
        });
        let (accelerator, direction) = match self.sides {
            (None, None) => {
                // SAFETY: passed on to the caller.
                places.for_each(|(from, to, length)| unsafe {
                    ptr::copy(from as *const u8, to as *mut u8, length as usize);
                });
                return Ok(());
            }
            (Some(from), None) => (from, CopyDirection::DeviceToHost),
            (None, Some(to)) => (to, CopyDirection::HostToDevice),
            (Some(from), Some(to)) => (one_of(Some(from), to)?, CopyDirection::DeviceToDevice),
        };
        // A block onto itself is there already.
        let moves = places.filter(|(from, to, _)| from != to);
        let copies: Vec<CopyRange> =
            moves.map(|(from, to, length)| CopyRange { from, to, length, direction }).collect();
        // SAFETY: passed on to the caller; each side is where its accelerator, or the host, has it.
        unsafe { fabric.copy_by(&accelerator, &copies) }.map_err(|error| FabricError::from(error).into())
    }
}

/// Where a cache lies, for those who only hold its number.
impl LlmDataDist {
    /// Where a cache of this process lies.
    ///
    /// # Errors
    /// [`DataDistError::NoSuchCache`].
    pub fn cache_placement(&self, cache_id: i64) -> Result<CachePlacement, DataDistError> {
        Ok(self.running()?.service.caches.find(cache_id)?.placement())
    }
}
