//! The kernel that moves blocks: PTX text, for compute capability 7.0 and newer, compiled by the driver when it is loaded.
#![allow(unsafe_code)] // calls into the driver's C interface

use core::ffi::CStr;

use pmd_core::accelerator::AcceleratorError;

use crate::driver::{Driver, Handle};

/// One entry for each width of word. `$load` and `$store` move one word between memory and the registers `$words`, of
/// which there is one list for each of the four words that a thread moves at a time.
macro_rules! entry {
    ($name:literal, $shift:literal, $registers:literal, $load:literal, $store:literal, [$a:literal, $b:literal, $c:literal, $d:literal]) => {
        concat!(
            ".visible .entry ", $name, "(\n",
            "  .param .u64 from_base, .param .u64 from_stride,\n",
            "  .param .u64 to_base, .param .u64 to_stride,\n",
            "  .param .u64 units, .param .u64 pairs)\n",
            "{\n",
            "  .reg .pred %p<2>;\n",
            "  .reg .b32 %r<8>;\n",
            $registers,
            "  .reg .b64 %from, %to, %base, %stride, %units, %pair, %index, %step, %wide, %last, %left, %right, %ahead;\n",
            // The pair of this group.
            "  ld.param.u64 %pair, [pairs];\n",
            "  mov.u32 %r0, %ctaid.x;\n",
            "  mul.wide.u32 %wide, %r0, 8;\n",
            "  add.s64 %pair, %pair, %wide;\n",
            "  ld.global.v2.u32 {%r1, %r2}, [%pair];\n",
            // Where its blocks begin.
            "  ld.param.u64 %base, [from_base];\n",
            "  ld.param.u64 %stride, [from_stride];\n",
            "  cvt.u64.u32 %wide, %r1;\n",
            "  mad.lo.s64 %from, %stride, %wide, %base;\n",
            "  ld.param.u64 %base, [to_base];\n",
            "  ld.param.u64 %stride, [to_stride];\n",
            "  cvt.u64.u32 %wide, %r2;\n",
            "  mad.lo.s64 %to, %stride, %wide, %base;\n",
            // This thread begins at word `ctaid.y * ntid.x + tid.x` and goes on by `nctaid.y * ntid.x` words.
            "  ld.param.u64 %units, [units];\n",
            "  mov.u32 %r3, %ntid.x;\n",
            "  mov.u32 %r4, %ctaid.y;\n",
            "  mov.u32 %r5, %nctaid.y;\n",
            "  mov.u32 %r6, %tid.x;\n",
            "  mul.wide.u32 %index, %r4, %r3;\n",
            "  cvt.u64.u32 %wide, %r6;\n",
            "  add.s64 %index, %index, %wide;\n",
            "  mul.wide.u32 %step, %r5, %r3;\n",
            "  mul.lo.s64 %ahead, %step, 3;\n",
            // Four words at a time, all loads first.
            "FOUR:\n",
            "  add.s64 %last, %index, %ahead;\n",
            "  setp.ge.u64 %p0, %last, %units;\n",
            "  @%p0 bra ONE;\n",
            "  shl.b64 %wide, %index, ", $shift, ";\n",
            "  shl.b64 %base, %step, ", $shift, ";\n",
            "  add.s64 %left, %from, %wide;\n",
            "  ", $load, " ", $a, ", [%left];\n",
            "  add.s64 %left, %left, %base;\n",
            "  ", $load, " ", $b, ", [%left];\n",
            "  add.s64 %left, %left, %base;\n",
            "  ", $load, " ", $c, ", [%left];\n",
            "  add.s64 %left, %left, %base;\n",
            "  ", $load, " ", $d, ", [%left];\n",
            "  add.s64 %right, %to, %wide;\n",
            "  ", $store, " [%right], ", $a, ";\n",
            "  add.s64 %right, %right, %base;\n",
            "  ", $store, " [%right], ", $b, ";\n",
            "  add.s64 %right, %right, %base;\n",
            "  ", $store, " [%right], ", $c, ";\n",
            "  add.s64 %right, %right, %base;\n",
            "  ", $store, " [%right], ", $d, ";\n",
            "  add.s64 %index, %last, %step;\n",
            "  bra FOUR;\n",
            // What is left, one word at a time.
            "ONE:\n",
            "  setp.ge.u64 %p1, %index, %units;\n",
            "  @%p1 bra DONE;\n",
            "  shl.b64 %wide, %index, ", $shift, ";\n",
            "  add.s64 %left, %from, %wide;\n",
            "  ", $load, " ", $a, ", [%left];\n",
            "  add.s64 %right, %to, %wide;\n",
            "  ", $store, " [%right], ", $a, ";\n",
            "  add.s64 %index, %index, %step;\n",
            "  bra ONE;\n",
            "DONE:\n",
            "  ret;\n",
            "}\n",
        )
    };
}

/// The module's text, with its closing zero.
pub(super) const TEXT: &str = concat!(
    ".version 6.0\n.target sm_70\n.address_size 64\n",
    entry!(
        "pmd_copy_blocks_16",
        "4",
        "  .reg .b32 %w<16>;\n",
        "ld.global.v4.u32",
        "st.global.v4.u32",
        [
            "{%w0, %w1, %w2, %w3}",
            "{%w4, %w5, %w6, %w7}",
            "{%w8, %w9, %w10, %w11}",
            "{%w12, %w13, %w14, %w15}"
        ]
    ),
    entry!(
        "pmd_copy_blocks_8",
        "3",
        "  .reg .b64 %w<4>;\n",
        "ld.global.u64",
        "st.global.u64",
        ["%w0", "%w1", "%w2", "%w3"]
    ),
    entry!(
        "pmd_copy_blocks_4",
        "2",
        "  .reg .b32 %w<4>;\n",
        "ld.global.u32",
        "st.global.u32",
        ["%w0", "%w1", "%w2", "%w3"]
    ),
    entry!(
        "pmd_copy_blocks_1",
        "0",
        "  .reg .b16 %w<4>;\n",
        "ld.global.u8",
        "st.global.u8",
        ["%w0", "%w1", "%w2", "%w3"]
    ),
    "\0"
);

/// Entries and the bytes of their words.
const ENTRIES: [(u64, &CStr); 4] = [
    (16, c"pmd_copy_blocks_16"),
    (8, c"pmd_copy_blocks_8"),
    (4, c"pmd_copy_blocks_4"),
    (1, c"pmd_copy_blocks_1"),
];

/// The loaded module.
#[derive(Debug)]
pub(super) struct Kernel {
    module: Handle,
    functions: [Handle; ENTRIES.len()],
}

impl Kernel {
    /// Inside the context.
    pub(super) fn load(driver: &Driver) -> Result<Self, AcceleratorError> {
        let mut module = 0;
        // SAFETY: the text ends with a zero; the driver writes one handle.
        let loaded = unsafe { (driver.module_load)(&mut module, TEXT.as_ptr().cast()) };
        driver.check("cuModuleLoadData", loaded)?;
        let mut kernel = Self { module, functions: [0; ENTRIES.len()] };
        for (function, (_, name)) in kernel.functions.iter_mut().zip(ENTRIES) {
            // SAFETY: a C string, and the driver writes one handle.
            let found = unsafe { (driver.module_function)(function, module, name.as_ptr()) };
            if let Err(error) = driver.check("cuModuleGetFunction", found) {
                kernel.unload(driver);
                return Err(error);
            }
        }
        Ok(kernel)
    }

    /// The function for words of so many bytes: 16, 8, 4 or 1.
    pub(super) fn function(&self, width: u64) -> Handle {
        let at = ENTRIES.iter().position(|(bytes, _)| *bytes == width).unwrap_or(ENTRIES.len() - 1);
        self.functions[at]
    }

    /// Inside the context.
    pub(super) fn unload(self, driver: &Driver) {
        // SAFETY: loaded once; no stream launches its functions any more.
        unsafe { (driver.module_unload)(self.module) };
    }
}
