//! Options as C programs give them: names and values. Used by the interfaces whose options are texts.
#![allow(unsafe_code, non_camel_case_types)] // reads the caller's texts; names as C programs see them

use std::{collections::BTreeMap, ffi::c_char};

use crate::{
    boundary::{array, text},
    status::Failure,
};

/// An option of LLM-DataDist or HIXL.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kv_option {
    /// Its name.
    pub name: *const c_char,
    /// Its value.
    pub value: *const c_char,
}

/// The options of an array.
///
/// # Safety
/// `options` is null or points to `count` options whose texts end with a zero byte.
pub(crate) unsafe fn options_at(
    options: *const pmd_kv_option,
    count: usize,
) -> Result<BTreeMap<String, String>, Failure> {
    // SAFETY: the caller's promise.
    let options = unsafe { array(options, count, "the array of options")? };
    let pair = |option: &pmd_kv_option| {
        // SAFETY: the caller's promise.
        let pair =
            unsafe { (text(option.name, "an option's name")?, text(option.value, "an option's value")?) };
        Ok((pair.0.to_owned(), pair.1.to_owned()))
    };
    options.iter().map(pair).collect()
}
