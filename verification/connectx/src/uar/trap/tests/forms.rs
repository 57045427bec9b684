//! Each form of store, by inline assembly.

use std::arch::asm;

use super::{Heard, Registers};

const VALUE: u64 = 0x8877_6655_4433_2211;
/// What vector registers hold.
static PATTERN: [u8; 64] = {
    let mut pattern = [0; 64];
    let mut index = 0;
    while index < 64 {
        pattern[index] = 0xc0 ^ index as u8;
        index += 1;
    }
    pattern
};

/// Runs one store of `$value` in a general register to offset 0x808, and asserts what was heard.
macro_rules! general {
    ($code:literal, $width:literal) => {{
        let page = Registers::map();
        // SAFETY: the store is trapped; it goes to a page of this test.
        unsafe { asm!($code, "/* {i} */", a = in(reg) page.at(0x800), v = in(reg) VALUE, i = in(reg) 1usize, out("rcx") _) };
        assert_eq!(
            page.heard(),
            [Heard { offset: 0x808, bytes: VALUE.to_le_bytes()[..$width].to_vec() }],
            "{}",
            $code
        );
    }};
}

/// Runs one store of a vector register that holds `PATTERN`.
macro_rules! vector {
    ($load:literal, $code:literal, $bytes:expr) => {{
        let page = Registers::map();
        // SAFETY: the store is trapped; the load reads the pattern.
        unsafe {
            asm!($load, $code, a = in(reg) page.at(0x840), p = in(reg) &raw const PATTERN,
                 out("xmm3") _, out("xmm14") _, out("xmm15") _)
        };
        assert_eq!(page.heard(), [Heard { offset: 0x840, bytes: PATTERN[$bytes].to_vec() }], "{}", $code);
    }};
}

#[test]
fn moves_from_general_registers() {
    general!("mov [{a} + 8], {v}", 8);
    general!("mov [{a} + 8], {v:e}", 4);
    general!("mov [{a} + 8], {v:x}", 2);
    general!("mov [{a} + 8], {v:l}", 1);
    general!("mov [{a} + {i} * 8], {v}", 8);
    general!("movnti [{a} + 8], {v}", 8);
    general!("movnti [{a} + 8], {v:e}", 4);
    // `-0x38(%rax)` after `add $0x40, %rax`: libmlx5's BlueFlame copy.
    general!("mov rcx, {a}\n add rcx, 0x40\n mov [rcx - 0x38], {v}", 8);
    general!(
        "mov rcx, {v}\n shl rcx, 8\n mov cl, {v:l}\n mov ch, {v:l}\n mov rcx, {v}\n mov [{a} + 8], cl",
        1
    );
}

#[test]
fn the_second_byte_of_a_register() {
    let page = Registers::map();
    // SAFETY: the store is trapped; it goes to a page of this test.
    unsafe { asm!("mov [rax + 1], ch", in("rax") page.at(0), in("rcx") VALUE) };
    assert_eq!(page.heard(), [Heard { offset: 1, bytes: vec![0x22] }]);
}

#[test]
fn every_general_register_is_the_one_it_is_called() {
    let page = Registers::map();
    let mut expected = Vec::new();
    macro_rules! store {
        ($($register:tt)*) => {$({
            let value = VALUE.rotate_left(expected.len() as u32 * 4);
            // SAFETY: the store is trapped. The address is in a register that is not the stored one.
            unsafe { asm!(concat!("mov [r15 + 0x20], ", $register), in("r15") page.at(0), in($register) value) };
            expected.push(Heard { offset: 0x20, bytes: value.to_le_bytes().to_vec() });
        })*};
    }
    store!("rax" "rcx" "rdx" "rsi" "rdi" "r8" "r9" "r10" "r11" "r12" "r13" "r14");
    // SAFETY: the store is trapped.
    unsafe { asm!("mov [r14 + 0x20], r15", in("r14") page.at(0), in("r15") VALUE) };
    expected.push(Heard { offset: 0x20, bytes: VALUE.to_le_bytes().to_vec() });
    // rbx and rbp are the compiler's: saved around. It may choose rbx for an operand, so these name others.
    // SAFETY: as above.
    unsafe {
        asm!("xchg rbx, rsi", "mov [rdi + 0x20], rbx", "xchg rbx, rsi", in("rdi") page.at(0), inout("rsi") VALUE => _);
    }
    expected.push(Heard { offset: 0x20, bytes: VALUE.to_le_bytes().to_vec() });
    assert_eq!(page.heard(), expected);
}

#[test]
fn constants() {
    let page = Registers::map();
    // SAFETY: the stores are trapped.
    unsafe {
        asm!("mov qword ptr [{a}], -2", "mov dword ptr [{a} + 8], 0x11223344", "mov word ptr [{a} + 2], 0x1122",
             "mov byte ptr [{a} + 3], 0x11", a = in(reg) page.at(0x20));
    }
    let heard = |offset, bytes: &[u8]| Heard { offset, bytes: bytes.to_vec() };
    assert_eq!(
        page.heard(),
        [
            heard(0x20, &(-2i64).to_le_bytes()),
            heard(0x28, &0x1122_3344u32.to_le_bytes()),
            heard(0x22, &[0x22, 0x11]),
            heard(0x23, &[0x11]),
        ]
    );
}

#[test]
fn moves_from_vector_registers() {
    vector!("movups xmm3, [{p}]", "movups [{a}], xmm3", ..16);
    vector!("movups xmm15, [{p}]", "movaps [{a}], xmm15", ..16);
    vector!("movups xmm14, [{p}]", "movupd [{a}], xmm14", ..16);
    vector!("movups xmm3, [{p}]", "movapd [{a}], xmm3", ..16);
    vector!("movups xmm3, [{p}]", "movdqu [{a}], xmm3", ..16);
    vector!("movups xmm3, [{p}]", "movdqa [{a}], xmm3", ..16);
    vector!("movups xmm3, [{p}]", "movntdq [{a}], xmm3", ..16);
    vector!("movups xmm3, [{p}]", "movntps [{a}], xmm3", ..16);
    vector!("movups xmm3, [{p}]", "movntpd [{a}], xmm3", ..16);
    vector!("movups xmm3, [{p}]", "movq [{a}], xmm3", ..8);
    vector!("movups xmm3, [{p}]", "movd [{a}], xmm3", ..4);
    vector!("movups xmm3, [{p}]", "movss [{a}], xmm3", ..4);
    vector!("movups xmm3, [{p}]", "movsd [{a}], xmm3", ..8);
    vector!("movups xmm3, [{p}]", "movlps [{a}], xmm3", ..8);
    vector!("movups xmm3, [{p}]", "movhps [{a}], xmm3", 8..16);
    vector!("movups xmm3, [{p}]", "movhpd [{a}], xmm3", 8..16);
}

#[test]
fn wide_moves_where_the_processor_has_them() {
    if is_x86_feature_detected!("movbe") {
        let page = Registers::map();
        // SAFETY: the store is trapped.
        unsafe {
            asm!("movbe [{a}], {v}", "movbe [{a}], {v:e}", a = in(reg) page.at(0x20), v = in(reg) VALUE)
        };
        let heard = |bytes: &[u8]| Heard { offset: 0x20, bytes: bytes.to_vec() };
        assert_eq!(page.heard(), [heard(&VALUE.to_be_bytes()), heard(&VALUE.to_be_bytes()[4..])]);
    }
    if is_x86_feature_detected!("avx") {
        vector!("vmovups ymm3, [{p}]", "vmovups [{a}], ymm3\n vzeroupper", ..32);
        vector!("vmovups ymm15, [{p}]", "vmovdqu [{a}], ymm15\n vzeroupper", ..32);
        vector!("vmovups ymm14, [{p}]", "vmovdqa [{a}], ymm14\n vzeroupper", ..32);
        vector!("vmovups ymm3, [{p}]", "vmovntdq [{a}], ymm3\n vzeroupper", ..32);
        vector!("vmovups xmm3, [{p}]", "vmovdqu [{a}], xmm3", ..16);
        vector!("vmovups xmm3, [{p}]", "vmovq [{a}], xmm3", ..8);
        vector!("vmovups xmm3, [{p}]", "vmovhps [{a}], xmm3", 8..16);
    }
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
        vector!("vmovups zmm3, [{p}]", "vmovdqu64 [{a}], zmm3\n vzeroupper", ..64);
        vector!("vmovups zmm15, [{p}]", "vmovntdq [{a}], zmm15\n vzeroupper", ..64);
        // What the C library's memcpy uses on such a processor.
        vector!("vmovdqu64 ymm16, [{p}]", "vmovdqu64 [{a}], ymm16", ..32);
        vector!("vmovdqu64 zmm31, [{p}]", "vmovdqu64 [{a}], zmm31", ..64);
    }
}

#[test]
fn a_block_copied_by_the_c_library() {
    let page = Registers::map();
    // SAFETY: trapped stores to a page of this test.
    unsafe { libc::memcpy(page.at(0x800).cast(), (&raw const PATTERN).cast(), 64) };
    let mut copied = [0u8; 64];
    for Heard { offset, bytes } in page.heard() {
        copied[offset - 0x800..][..bytes.len()].copy_from_slice(&bytes);
    }
    assert_eq!(copied, PATTERN);
}

#[test]
fn the_drivers_own_doorbell_and_block_copy() {
    let page = Registers::map();
    let ring: [u64; 16] = std::array::from_fn(|word| VALUE.rotate_left(word as u32));
    // SAFETY: trapped stores to a page of this test; the ring is two blocks.
    unsafe {
        pmd_core::mmio::store_doorbell(page.at(0x800).cast(), VALUE);
        pmd_core::mmio::flush_writes();
        pmd_core::mmio::copy_blue_flame(page.at(0x900).cast(), ring.as_ptr(), 2, 1, 2);
    }
    let words = (0..16)
        .map(|word| Heard { offset: 0x900 + word * 8, bytes: ring[(word + 8) % 16].to_le_bytes().to_vec() });
    let doorbell = Heard { offset: 0x800, bytes: VALUE.to_le_bytes().to_vec() };
    assert_eq!(page.heard(), [doorbell].into_iter().chain(words).collect::<Vec<_>>());
}

#[test]
fn flags_registers_and_the_red_zone_survive() {
    let page = Registers::map();
    let (zone, carry, other): (u64, u8, u64);
    // SAFETY: the store is trapped. What is below the stack pointer is this function's, by the ABI.
    unsafe {
        asm!("mov qword ptr [rsp - 8], {v}", "stc", "mov [{a}], {v}", "setc {c}", "mov {z}, [rsp - 8]",
             a = in(reg) page.at(0x20), v = in(reg) VALUE, c = out(reg_byte) carry, z = out(reg) zone,
             inout("r9") VALUE ^ 1 => other);
    }
    assert_eq!((zone, carry, other), (VALUE, 1, VALUE ^ 1));
    assert_eq!(page.heard().len(), 1);
}

#[test]
fn errno_survives() {
    let page = Registers::map();
    // SAFETY: errno is this thread's; the store is trapped.
    unsafe {
        *libc::__errno_location() = 1234;
        page.at(0x20).cast::<u64>().write_volatile(VALUE);
        assert_eq!(*libc::__errno_location(), 1234);
    }
    assert_eq!(page.heard().len(), 1);
}
