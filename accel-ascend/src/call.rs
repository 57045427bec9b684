//! Codes of the runtime as errors. Used wherever the runtime is called.

use acl_sys::{LoadError, acl};
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind};

/// Whose errors these are.
pub(crate) const KIND: AcceleratorKind = AcceleratorKind::Ascend;

/// What a function answered: its code, or that the runtime has no such function.
pub(crate) type Answer = Result<core::ffi::c_int, LoadError>;

/// The code of a function that every release has.
pub(crate) fn check(function: &'static str, answer: Answer) -> Result<(), AcceleratorError> {
    check_optional(function, "do this", answer)
}

/// The code of a function that not every release or device has; `what` completes "ascend cannot".
pub(crate) fn check_optional(
    function: &'static str,
    what: &'static str,
    answer: Answer,
) -> Result<(), AcceleratorError> {
    let unsupported = |why| AcceleratorError::Unsupported { kind: KIND, what, why };
    match answer {
        Ok(acl::ACL_SUCCESS) => Ok(()),
        Ok(acl::ACL_ERROR_RT_FEATURE_NOT_SUPPORT) => {
            Err(unsupported("this device or its driver does not have it"))
        }
        Ok(code) => Err(failed(function, code)),
        Err(_) => Err(unsupported("the installed CANN is too old for it")),
    }
}

/// The code of a function that takes memory.
pub(crate) fn check_room(
    function: &'static str,
    wanted: u64,
    answer: Answer,
) -> Result<(), AcceleratorError> {
    match answer {
        Ok(acl::ACL_ERROR_RT_MEMORY_ALLOCATION | acl::ACL_ERROR_BAD_ALLOC) => {
            Err(AcceleratorError::OutOfMemory { kind: KIND, wanted })
        }
        answer => check(function, answer),
    }
}

fn failed(function: &'static str, code: i32) -> AcceleratorError {
    AcceleratorError::Runtime { kind: KIND, function, code: code.into(), name: name(code).to_owned() }
}

/// The runtime's name of a code that this crate meets.
fn name(code: i32) -> &'static str {
    match code {
        acl::ACL_ERROR_INVALID_PARAM => "ACL_ERROR_INVALID_PARAM",
        acl::ACL_ERROR_UNINITIALIZE => "ACL_ERROR_UNINITIALIZE",
        acl::ACL_ERROR_BAD_ALLOC => "ACL_ERROR_BAD_ALLOC",
        acl::ACL_ERROR_RT_FAILURE => "ACL_ERROR_RT_FAILURE",
        acl::ACL_ERROR_RT_PARAM_INVALID => "ACL_ERROR_RT_PARAM_INVALID",
        acl::ACL_ERROR_RT_INVALID_DEVICEID => "ACL_ERROR_RT_INVALID_DEVICEID",
        acl::ACL_ERROR_RT_CONTEXT_NULL => "ACL_ERROR_RT_CONTEXT_NULL",
        acl::ACL_ERROR_RT_STREAM_CONTEXT => "ACL_ERROR_RT_STREAM_CONTEXT",
        acl::ACL_ERROR_RT_ADDR_UNALIGNED => "ACL_ERROR_RT_ADDR_UNALIGNED",
        acl::ACL_ERROR_RT_INVALID_MEMORY_TYPE => "ACL_ERROR_RT_INVALID_MEMORY_TYPE",
        acl::ACL_ERROR_RT_INVALID_HANDLE => "ACL_ERROR_RT_INVALID_HANDLE",
        acl::ACL_ERROR_RT_MEMORY_ALLOCATION => "ACL_ERROR_RT_MEMORY_ALLOCATION",
        _ => "a code that CANN's list of aclError explains",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_errors_that_say_what_and_why() {
        assert_eq!(check("aclrtFree", Ok(0)), Ok(()));
        let error = check("aclrtFree", Ok(107_017)).unwrap_err().to_string();
        assert_eq!(error, "aclrtFree of ascend failed: ACL_ERROR_RT_INVALID_HANDLE (107017)");
        let wanted = Err(AcceleratorError::OutOfMemory { kind: KIND, wanted: 7 });
        assert_eq!(check_room("aclrtMalloc", 7, Ok(207_001)), wanted);
        assert_eq!(check_room("aclrtMallocHost", 7, Ok(200_000)), wanted);
        let error = check_room("aclrtMalloc", 7, Ok(1)).unwrap_err();
        assert!(matches!(error, AcceleratorError::Runtime { code: 1, .. }), "{error}");
    }

    #[test]
    fn what_a_runtime_lacks_is_unsupported_with_its_reason() {
        let old = Err(LoadError::SymbolMissing { library: "libascendcl.so", symbol: "aclrtValueWait" });
        let error = check_optional("aclrtValueWait", "wait for a value", old).unwrap_err().to_string();
        assert_eq!(error, "ascend cannot wait for a value: the installed CANN is too old for it");
        let error = check_optional("aclrtValueWait", "wait for a value", Ok(207_000)).unwrap_err();
        assert!(matches!(error, AcceleratorError::Unsupported { .. }), "{error}");
    }
}
