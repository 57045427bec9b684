//! Copies between caches of this process: rows, blocks, and blocks between host and device.
#![allow(unsafe_code)] // copies between registered tensors

use std::ptr;

use super::{
    ArgumentError, Cache, CachePlacement, DataDistError, LlmDataDist,
    argument::Side,
    selection::{Span, Tensors, blocks, part_of_row},
    shape::CacheShape,
};

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
    /// The tensors of a cache with number -1 are mapped, and nothing else uses the blocks that are copied.
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
        // SAFETY: the caller promises the memory of both, whose shapes the spans were checked against.
        unsafe { copy_spans(tensors, &spans, &source.tensor_addrs, &destination.tensor_addrs) };
        Ok(())
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
        // SAFETY: both caches are held, so their tensors stay mapped; the spans were checked against their shapes.
        unsafe { copy_spans(tensors, &spans, &source.addresses, &destination.addresses) };
        Ok(())
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

/// Copies every span of every tensor, in order; source and destination may overlap.
///
/// # Safety
/// All spans lie in the tensors at these addresses, which are mapped.
unsafe fn copy_spans(tensors: Tensors, spans: &[Span], sources: &[u64], destinations: &[u64]) {
    let pairs = sources[tensors.source..].iter().zip(&destinations[tensors.destination..]);
    for (source, destination) in pairs.take(tensors.count) {
        for span in spans {
            let from = (source + span.source) as *const u8;
            let to = (destination + span.destination) as *mut u8;
            // SAFETY: the caller promises that both ranges are mapped. What other threads or peers do to them meanwhile
            // is theirs to order, as for every transfer.
            unsafe { ptr::copy(from, to, span.length as usize) };
        }
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
