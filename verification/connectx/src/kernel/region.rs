//! Protection domains and memory regions.

use std::fs;

use super::{
    abi::{access, attribute, method},
    command::{Call, Reply},
    context::Context,
    device_memory::View,
    error::CommandError,
    ioctl::Request,
    memory::{Answer, Fields},
    objects::{Kind, Object},
};
use crate::{config::DeviceMemory, dma::DmaFault, state::MemoryRegion};

/// Bits of a page offset.
const PAGE_MASK: u64 = 0xfff;
/// `enum ib_uverbs_rereg_mr_flags`: what changes.
mod change {
    pub(super) const TRANSLATION: u32 = 1;
    pub(super) const DOMAIN: u32 = 2;
    pub(super) const ACCESS: u32 = 4;
    pub(super) const ALL: u32 = TRANSLATION | DOMAIN | ACCESS;
}

/// Memory as a request describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    start: u64,
    length: u64,
    virtual_start: u64,
}

impl Memory {
    fn parse(fields: &mut Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self { start: fields.u64()?, length: fields.u64()?, virtual_start: fields.u64()? })
    }

    /// As the kernel does when it pins pages: the range has to be mapped, and writable where anybody may write.
    fn check(&self, access: u32) -> Result<(), CommandError> {
        let end = self.check_range()?;
        let writes = access::LOCAL_WRITE | access::REMOTE_WRITE | access::REMOTE_ATOMIC;
        check_mapped(self.start, end, access & writes != 0)
    }

    /// Where it ends. Bytes keep their places in pages.
    fn check_range(&self) -> Result<u64, CommandError> {
        let end = self.start.checked_add(self.length).filter(|_| self.length > 0);
        let end = end.ok_or(CommandError::Invalid { what: "length of a region", value: self.length })?;
        if (self.start ^ self.virtual_start) & PAGE_MASK != 0 {
            return Err(CommandError::Invalid { what: "page offset of a region", value: self.virtual_start });
        }
        Ok(end)
    }

    /// The same bytes in a view of an accelerator's memory that begins `offset` bytes before them.
    fn within(self, view: &View, offset: u64) -> Result<Self, CommandError> {
        let memory = Self { start: view.first.wrapping_add(offset), ..self };
        let fits = offset.checked_add(self.length).is_some_and(|end| end <= view.length);
        memory.check_range()?;
        if fits {
            Ok(memory)
        } else {
            Err(CommandError::Invalid { what: "range of a dma-buf", value: offset })
        }
    }
}

/// `ib_uverbs_alloc_pd`.
pub(super) fn allocate_domain(context: &Context, _call: &Call) -> Result<Reply, CommandError> {
    let mut objects = context.objects();
    let number = {
        let mut tables = context.device().lock();
        tables.domains += 1;
        tables.domains
    };
    let handle = objects.add(Kind::Domain, Object { number, ..Object::default() });
    Ok(Reply { core: Answer::default().u32(&[handle]), driver: Answer::default().u32(&[number]) })
}

/// `ib_uverbs_dealloc_pd`.
pub(super) fn free_domain(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let handle = Fields::new(&call.core).u32()?;
    let mut objects = context.objects();
    let domain = objects.find(Kind::Domain, handle)?.number;
    let tables = context.device().lock();
    let in_use = tables.regions.iter().any(|region| region.domain == domain)
        || tables.queue_pairs.iter().any(|queue_pair| queue_pair.domain == domain)
        || tables.shared_receives.iter().any(|queue| queue.domain == domain);
    if in_use {
        return Err(CommandError::Busy { kind: Kind::Domain.name(), handle });
    }
    objects.remove(Kind::Domain, handle)?;
    Ok(Reply::default())
}

/// `ib_uverbs_reg_mr`.
pub(super) fn register(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    let memory = Memory::parse(&mut fields)?;
    let (domain, access) = (fields.u32()?, fields.u32()?);
    check_access(access)?;
    let (memory, view) = pinned(context, memory, access)?;
    let (handle, key) = add(context, domain, access, memory, view)?;
    Ok(Reply::core(Answer::default().u32(&[handle, key, key])))
}

/// `UVERBS_METHOD_REG_DMABUF_MR`.
pub(super) fn register_dma_buf(context: &Context, request: &Request) -> Result<(), CommandError> {
    if context.device().config.device_memory != DeviceMemory::DmaBuf {
        let (object, method) = method::REG_DMABUF_MR;
        return Err(CommandError::UnknownMethod { object, method });
    }
    let (offset, length) =
        (request.value(attribute::DMABUF_OFFSET)?, request.value(attribute::DMABUF_LENGTH)?);
    let virtual_start = request.value(attribute::DMABUF_VIRTUAL_START)?;
    let access = request.value32(attribute::DMABUF_ACCESS)?;
    check_access(access)?;
    let view = View::of_descriptor(request.value32(attribute::DMABUF_DESCRIPTOR)?.cast_signed())?;
    let memory = Memory { start: 0, length, virtual_start }.within(&view, offset)?;
    let domain = request.value32(attribute::DMABUF_DOMAIN)?;
    let (handle, key) = add(context, domain, access, memory, Some(view))?;
    let answer = Answer::default().u32(&[key]);
    request.room(attribute::DMABUF_RESPONSE_LOCAL_KEY).fill(&answer)?;
    request.room(attribute::DMABUF_RESPONSE_REMOTE_KEY).fill(&answer)?;
    request.name(attribute::DMABUF_HANDLE, handle)
}

/// Where the device finds memory that was named by its address.
fn pinned(context: &Context, memory: Memory, access: u32) -> Result<(Memory, Option<View>), CommandError> {
    let refused = match memory.check(access) {
        Err(refused @ CommandError::Fault(_)) => refused,
        checked => return checked.map(|()| (memory, None)),
    };
    if context.device().config.device_memory != DeviceMemory::Peer {
        return Err(refused);
    }
    let Some((view, offset)) = View::at(memory.start)? else { return Err(refused) };
    Ok((memory.within(&view, offset)?, Some(view)))
}

/// A new region: its handle and its key.
fn add(
    context: &Context,
    domain: u32,
    access: u32,
    memory: Memory,
    view: Option<View>,
) -> Result<(u32, u32), CommandError> {
    let mut objects = context.objects();
    let domain = objects.find(Kind::Domain, domain)?.number;
    let owner = context.device().process;
    let region = context.device().lock().regions.add(|index, tag| MemoryRegion {
        key: key(index, tag),
        owner,
        domain,
        access,
        start: memory.start,
        length: memory.length,
        virtual_start: memory.virtual_start,
        view: view.as_ref().map_or(0, |view| view.first),
        view_length: view.as_ref().map_or(0, |view| view.length),
        ..MemoryRegion::default()
    });
    let key = region.ok_or(CommandError::Full("memory region"))?.key;
    // From here on the region has the view.
    std::mem::forget(view);
    Ok((objects.add(Kind::MemoryRegion, Object { number: key, ..Object::default() }), key))
}

/// `ib_uverbs_rereg_mr`. The key stays.
pub(super) fn register_again(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    let (handle, changes) = (fields.u32()?, fields.u32()?);
    let memory = Memory::parse(&mut fields)?;
    let (domain, access) = (fields.u32()?, fields.u32()?);
    if changes == 0 || changes & !change::ALL != 0 {
        return Err(CommandError::Invalid { what: "changes of a region", value: changes.into() });
    }
    let objects = context.objects();
    let key = objects.find(Kind::MemoryRegion, handle)?.number;
    let domain = if changes & change::DOMAIN == 0 { 0 } else { objects.find(Kind::Domain, domain)?.number };
    let mut tables = context.device().lock();
    let region = tables.regions.find_mut(key);
    let region = region.ok_or(CommandError::NoObject { kind: Kind::MemoryRegion.name(), handle })?;
    if region.view != 0 {
        return Err(CommandError::Unsupported("registering an accelerator's memory again"));
    }
    let changed = changed(*region, changes, memory, domain, access);
    check_access(changed.access)?;
    Memory { start: changed.start, length: changed.length, virtual_start: changed.virtual_start }
        .check(changed.access)?;
    *region = changed;
    Ok(Reply::core(Answer::default().u32(&[key, key])))
}

fn changed(region: MemoryRegion, changes: u32, memory: Memory, domain: u32, access: u32) -> MemoryRegion {
    let mut changed = region;
    if changes & change::TRANSLATION != 0 {
        changed.start = memory.start;
        changed.length = memory.length;
        changed.virtual_start = memory.virtual_start;
    }
    if changes & change::DOMAIN != 0 {
        changed.domain = domain;
    }
    if changes & change::ACCESS != 0 {
        changed.access = access;
    }
    changed
}

/// `ib_uverbs_dereg_mr`.
pub(super) fn deregister(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    deregister_handle(context, Fields::new(&call.core).u32()?)?;
    Ok(Reply::default())
}

/// The same by `UVERBS_METHOD_MR_DESTROY`.
pub(super) fn deregister_handle(context: &Context, handle: u32) -> Result<(), CommandError> {
    let key = context.objects().remove(Kind::MemoryRegion, handle)?.number;
    remove(context, key);
    Ok(())
}

/// Frees a region. When this returns the device moves no more bytes of it.
pub(super) fn remove(context: &Context, key: u32) {
    let removed = context.device().lock().regions.remove(key);
    if let Some(MemoryRegion { view: first @ 1.., view_length: length, .. }) = removed {
        drop(View { first, length });
    }
}

/// Index and tag; never a key below 0x200, where the special ones are (0x100 ends scatter lists).
fn key(index: u32, tag: u32) -> u32 {
    index << 8 | (1 + tag % 0xff)
}

/// Remote writes and atomics need local ones too (`ib_check_mr_access`).
fn check_access(access: u32) -> Result<(), CommandError> {
    if access & access::ON_DEMAND != 0 {
        return Err(CommandError::Unsupported("on-demand paging"));
    }
    if access & access::ZERO_BASED != 0 {
        return Err(CommandError::Unsupported("a zero-based region"));
    }
    let remote = access & (access::REMOTE_WRITE | access::REMOTE_ATOMIC) != 0;
    if remote && access & access::LOCAL_WRITE == 0 {
        return Err(CommandError::Invalid { what: "access of a region", value: access.into() });
    }
    Ok(())
}

/// Whether `start..end` is readable memory of this process, and writable where that is wanted.
fn check_mapped(start: u64, end: u64, writable: bool) -> Result<(), CommandError> {
    let maps = fs::read_to_string("/proc/self/maps").map_err(crate::errno::Errno::from)?;
    let mut reached = start;
    for (first, last, permissions) in maps.lines().filter_map(mapping) {
        let usable = permissions.starts_with('r') && (!writable || permissions[1..].starts_with('w'));
        if first <= reached && reached < last && usable {
            reached = last;
        }
        if reached >= end {
            return Ok(());
        }
    }
    let fault = DmaFault {
        pid: std::process::id(),
        address: reached,
        length: (end - reached) as usize,
        errno: libc::EFAULT,
    };
    Err(fault.into())
}

/// `first-last permissions ...`.
fn mapping(line: &str) -> Option<(u64, u64, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (first, last) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(first)?, number(last)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno(result: Result<(), CommandError>) -> i32 {
        result.map_or_else(|error| error.errno().0, |()| 0)
    }

    #[test]
    fn keys_are_never_special() {
        assert_eq!((key(1, 0), key(1, 0xfe), key(1, 0xff)), (0x101, 0x1ff, 0x101));
    }

    #[test]
    fn only_mapped_memory_is_registered() {
        let memory = vec![0_u8; 3 << 12];
        let of = |start, length| Memory { start, length, virtual_start: start };
        let start = memory.as_ptr() as u64;
        assert_eq!(errno(of(start, memory.len() as u64).check(access::LOCAL_WRITE)), 0);
        assert_eq!(errno(of(4096, 64).check(0)), libc::EFAULT);
        assert_eq!(errno(of(start, 0).check(0)), libc::EINVAL);
        assert_eq!(errno(of(start, u64::MAX).check(0)), libc::EINVAL);
        let elsewhere = Memory { start, length: 64, virtual_start: start + 1 };
        assert_eq!(errno(elsewhere.check(0)), libc::EINVAL);
        let text = errno as fn(_) -> _ as usize as u64;
        assert_eq!(errno(of(text, 1).check(0)), 0);
        assert_eq!(errno(of(text, 1).check(access::LOCAL_WRITE)), libc::EFAULT);
    }

    #[test]
    fn remote_writes_need_local_ones() {
        assert_eq!(errno(check_access(access::REMOTE_WRITE)), libc::EINVAL);
        assert_eq!(errno(check_access(access::REMOTE_WRITE | access::LOCAL_WRITE)), 0);
        assert_eq!(errno(check_access(access::ON_DEMAND)), libc::EOPNOTSUPP);
    }
}
