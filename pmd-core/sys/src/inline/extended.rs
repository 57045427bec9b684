//! Operations that providers offer through their extended context: thread and parent domains, extended queues,
//! device memory.

use std::ffi::{c_int, c_uint, c_void};
use std::ptr;

use super::context::operation;
use crate::verbs::*;
use crate::{LoadError, Verbs};

/// What a function answers when the provider lacks the operation.
trait Unsupported {
    fn unsupported() -> Self;
}

impl Unsupported for c_int {
    fn unsupported() -> Self {
        libc::EOPNOTSUPP
    }
}

impl<T> Unsupported for *mut T {
    fn unsupported() -> Self {
        // SAFETY: errno is this thread's own.
        unsafe { *libc::__errno_location() = libc::EOPNOTSUPP };
        ptr::null_mut()
    }
}

/// Declares functions that call an operation of the extended context.
///
/// `name(arguments) -> answer = member of context;`
macro_rules! extended {
    ($($(#[$documentation:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty = $member:ident of $context:expr;)*) => {
        $(
            $(#[$documentation])*
            ///
            /// # Safety
            /// The context is open and what the arguments point to is live; nothing else destroys it meanwhile.
            pub unsafe fn $name($($argument: $kind),*) -> $answer {
                // SAFETY: the caller's promise; the provider's function expects these arguments.
                unsafe {
                    match operation!($context, $member) {
                        Some(operation) => operation($($argument),*),
                        None => Unsupported::unsupported(),
                    }
                }
            }
        )*
    };
}

extended! {
    /// Allocates a thread domain: what it holds is used by one thread at a time, so mlx5 gives it a doorbell register
    /// of its own and leaves out locks. Null and `errno` on failure.
    ibv_alloc_td(context: *mut ibv_context, attributes: *mut ibv_td_init_attr) -> *mut ibv_td = alloc_td of context;

    /// Frees a thread domain. 0 or an `errno`.
    ibv_dealloc_td(domain: *mut ibv_td) -> c_int = dealloc_td of (*domain).context;

    /// Joins a protection domain and a thread domain into one that queues are created in. Null and `errno` on failure.
    ibv_alloc_parent_domain(context: *mut ibv_context, attributes: *mut ibv_parent_domain_init_attr) -> *mut ibv_pd
        = alloc_parent_domain of context;

    /// Creates a completion queue that is polled field by field. Null and `errno` on failure.
    ibv_create_cq_ex(context: *mut ibv_context, attributes: *mut ibv_cq_init_attr_ex) -> *mut ibv_cq_ex
        = create_cq_ex of context;

    /// Sets after how many completions or microseconds an event is raised. 0 or an `errno`.
    ibv_modify_cq(queue: *mut ibv_cq, attributes: *mut ibv_modify_cq_attr) -> c_int = modify_cq of (*queue).context;

    /// Opens a queue pair that another process shares. Null and `errno` on failure.
    ibv_open_qp(context: *mut ibv_context, attributes: *mut ibv_qp_open_attr) -> *mut ibv_qp = open_qp of context;

    /// Limits the rate of a queue pair, in kbit/s. 0 or an `errno`.
    ibv_modify_qp_rate_limit(queue_pair: *mut ibv_qp, attributes: *mut ibv_qp_rate_limit_attr) -> c_int
        = modify_qp_rate_limit of (*queue_pair).context;

    /// Number of a shared receive queue, for senders of extended connections. 0 or an `errno`.
    ibv_get_srq_num(queue: *mut ibv_srq, number: *mut u32) -> c_int = get_srq_num of (*queue).context;

    /// Current time of a device, in its clock's ticks. 0 or an `errno`.
    ibv_query_rt_values_ex(context: *mut ibv_context, values: *mut ibv_values_ex) -> c_int = query_rt_values of context;

    /// Advises the device of ranges that will be used, for on-demand paging. 0 or an `errno`.
    ibv_advise_mr(domain: *mut ibv_pd, advice: ib_uverbs_advise_mr_advice, flags: u32, ranges: *mut ibv_sge, count: u32) -> c_int
        = advise_mr of (*domain).context;

    /// Registers no memory: reads give zeroes, writes go nowhere. Null and `errno` on failure.
    ibv_alloc_null_mr(domain: *mut ibv_pd) -> *mut ibv_mr = alloc_null_mr of (*domain).context;

    /// Allocates memory of the device. Null and `errno` on failure.
    ibv_alloc_dm(context: *mut ibv_context, attributes: *mut ibv_alloc_dm_attr) -> *mut ibv_dm = alloc_dm of context;

    /// Frees memory of the device. 0 or an `errno`.
    ibv_free_dm(memory: *mut ibv_dm) -> c_int = free_dm of (*memory).context;

    /// Registers memory of the device. Null and `errno` on failure.
    ibv_reg_dm_mr(domain: *mut ibv_pd, memory: *mut ibv_dm, offset: u64, length: usize, access: c_uint) -> *mut ibv_mr
        = reg_dm_mr of (*domain).context;
}

/// Copies `length` bytes into device memory (`ibv_memcpy_to_dm`); 0 or an `errno`.
///
/// # Safety
/// `memory` is live and `length` bytes can be read at `from`.
pub unsafe fn ibv_memcpy_to_dm(
    memory: *mut ibv_dm,
    offset: u64,
    from: *const c_void,
    length: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match (*memory).memcpy_to_dm {
            Some(copy) => copy(memory, offset, from, length),
            None => libc::EOPNOTSUPP,
        }
    }
}

/// Copies `length` bytes out of device memory (`ibv_memcpy_from_dm`); 0 or an `errno`.
///
/// # Safety
/// `memory` is live and `length` bytes can be written at `to`.
pub unsafe fn ibv_memcpy_from_dm(to: *mut c_void, memory: *mut ibv_dm, offset: u64, length: usize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match (*memory).memcpy_from_dm {
            Some(copy) => copy(to, memory, offset, length),
            None => libc::EOPNOTSUPP,
        }
    }
}

/// Creates a queue pair from extended attributes (`ibv_create_qp_ex`); with nothing but a protection domain in them,
/// through the older call. Null and `errno` on failure.
///
/// # Errors
/// [`LoadError::SymbolMissing`] when `ibv_create_qp` is needed and absent.
///
/// # Safety
/// `context` is open and what the attributes point to is live.
pub unsafe fn ibv_create_qp_ex(
    verbs: &Verbs,
    context: *mut ibv_context,
    attributes: *mut ibv_qp_init_attr_ex,
) -> Result<*mut ibv_qp, LoadError> {
    // SAFETY: the caller's promise; the extended attributes begin with the older struct.
    unsafe {
        if (*attributes).comp_mask == IBV_QP_INIT_ATTR_PD {
            return verbs.ibv_create_qp((*attributes).pd, attributes.cast());
        }
        Ok(match operation!(context, create_qp_ex) {
            Some(create) => create(context, attributes),
            None => Unsupported::unsupported(),
        })
    }
}

/// Creates a shared receive queue from extended attributes (`ibv_create_srq_ex`); a basic one in a protection domain
/// through the older call. Null and `errno` on failure.
///
/// # Errors
/// [`LoadError::SymbolMissing`] when `ibv_create_srq` is needed and absent.
///
/// # Safety
/// `context` is open and what the attributes point to is live.
pub unsafe fn ibv_create_srq_ex(
    verbs: &Verbs,
    context: *mut ibv_context,
    attributes: *mut ibv_srq_init_attr_ex,
) -> Result<*mut ibv_srq, LoadError> {
    // SAFETY: the caller's promise; the extended attributes begin with the older struct.
    unsafe {
        if is_basic(&*attributes) {
            return verbs.ibv_create_srq((*attributes).pd, attributes.cast());
        }
        Ok(match operation!(context, create_srq_ex) {
            Some(create) => create(context, attributes),
            None => Unsupported::unsupported(),
        })
    }
}

/// Whether the older call can create this queue.
fn is_basic(attributes: &ibv_srq_init_attr_ex) -> bool {
    let mask = attributes.comp_mask;
    let typed = mask & IBV_SRQ_INIT_ATTR_TYPE != 0;
    mask & !(IBV_SRQ_INIT_ATTR_PD | IBV_SRQ_INIT_ATTR_TYPE) == 0
        && mask & IBV_SRQ_INIT_ATTR_PD != 0
        && (!typed || attributes.srq_type == IBV_SRQT_BASIC)
}
