//! Finds out what a store instruction would have stored. Pure: code and registers in, bytes out.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// Longest x86 instruction.
pub(super) const LONGEST: usize = 15;
/// Widest store: one AVX-512 register, or `movdir64b`.
const WIDEST: usize = 64;

/// Why a store cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    /// No instruction, or only the beginning of one.
    #[error("not an instruction")]
    Invalid,
    /// It is no plain store from a register: a driver must not use it on device memory.
    #[error("{mnemonic:?} is no plain store")]
    NotAStore {
        /// What it is.
        mnemonic: Mnemonic,
    },
    /// The registers that it stores are not in the signal frame.
    #[error("{register:?} is not in the signal frame")]
    Unreadable {
        /// Which.
        register: Register,
    },
}

/// The registers of the interrupted thread, and its memory.
pub(super) trait Machine {
    /// A general register (64 bits) by its number: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 ...
    fn general(&self, number: usize) -> u64;
    /// A vector register (512 bits) by its number; `None` where the frame does not hold it.
    fn vector(&self, number: usize) -> Option<[u8; WIDEST]>;
    /// 64 bytes of its memory, for `movdir64b`; the instruction reads them as well.
    fn memory(&self, address: u64) -> [u8; WIDEST];
}

/// A store, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Store {
    /// Bytes of the instruction.
    pub(super) length: usize,
    bytes: [u8; WIDEST],
    width: usize,
}

impl Store {
    /// What is stored, in the order of addresses.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.width]
    }
}

/// Decodes the store instruction that `code` begins with.
///
/// # Errors
/// [`DecodeError`].
pub(super) fn decode(code: &[u8], machine: &impl Machine) -> Result<Store, DecodeError> {
    let instruction = Decoder::new(64, code, DecoderOptions::NONE).decode();
    if instruction.is_invalid() {
        return Err(DecodeError::Invalid);
    }
    let mnemonic = instruction.mnemonic();
    if instruction.op_mask() != Register::None {
        return Err(DecodeError::NotAStore { mnemonic });
    }
    let bytes = match source(&instruction) {
        Some(Source::Immediate) => widen(&instruction.immediate(1).to_le_bytes()),
        Some(Source::Reversed) => {
            let mut value = stored_register(instruction.op1_register(), machine)?;
            value[..instruction.memory_size().size()].reverse();
            value
        }
        Some(Source::Register { skip }) => {
            let mut value = stored_register(instruction.op1_register(), machine)?;
            value.rotate_left(skip);
            value
        }
        Some(Source::Memory) => {
            // Segments have base 0, but for FS and GS: those are the C library's.
            let base =
                |register: Register| if register.is_gpr() { general_register(register, machine) } else { 0 };
            machine.memory(
                instruction.virtual_address(1, 0, |register, _, _| Some(base(register))).unwrap_or_default(),
            )
        }
        None => return Err(DecodeError::NotAStore { mnemonic }),
    };
    Ok(Store { length: instruction.len(), bytes, width: instruction.memory_size().size() })
}

/// Where the stored bytes come from.
enum Source {
    /// The second operand, `skip` bytes into the register.
    Register { skip: usize },
    /// The second operand, last byte first.
    Reversed,
    /// A constant in the instruction.
    Immediate,
    /// 64 bytes of memory.
    Memory,
}

/// Only instructions that write the first operand and do nothing else.
fn source(instruction: &Instruction) -> Option<Source> {
    use Mnemonic as M;
    if matches!(instruction.mnemonic(), M::Movdir64b) {
        return Some(Source::Memory);
    }
    if instruction.op0_kind() != OpKind::Memory {
        return None;
    }
    let skip = match instruction.mnemonic() {
        M::Movhps | M::Movhpd | M::Vmovhps | M::Vmovhpd => 8,
        M::Mov if instruction.op1_kind() != OpKind::Register => return Some(Source::Immediate),
        M::Movbe => return Some(Source::Reversed),
        M::Mov | M::Movnti | M::Movdiri => 0,
        M::Movq | M::Movd | M::Movss | M::Movsd | M::Movlps | M::Movlpd => 0,
        M::Movups | M::Movupd | M::Movdqu | M::Movaps | M::Movapd | M::Movdqa => 0,
        M::Movntps | M::Movntpd | M::Movntdq => 0,
        M::Vmovq | M::Vmovd | M::Vmovss | M::Vmovsd | M::Vmovlps | M::Vmovlpd => 0,
        M::Vmovups | M::Vmovupd | M::Vmovdqu | M::Vmovaps | M::Vmovapd | M::Vmovdqa => 0,
        M::Vmovdqu8 | M::Vmovdqu16 | M::Vmovdqu32 | M::Vmovdqu64 | M::Vmovdqa32 | M::Vmovdqa64 => 0,
        M::Vmovntps | M::Vmovntpd | M::Vmovntdq => 0,
        _ => return None,
    };
    Some(Source::Register { skip })
}

fn stored_register(register: Register, machine: &impl Machine) -> Result<[u8; WIDEST], DecodeError> {
    if register.is_gpr() {
        return Ok(widen(&general_register(register, machine).to_le_bytes()));
    }
    let number = register.is_vector_register().then(|| register.number());
    number.and_then(|number| machine.vector(number)).ok_or(DecodeError::Unreadable { register })
}

/// The value of a general register of any width, in the low bits.
fn general_register(register: Register, machine: &impl Machine) -> u64 {
    let value = machine.general(register.full_register().number());
    let high_byte = matches!(register, Register::AH | Register::BH | Register::CH | Register::DH);
    if high_byte { value >> 8 } else { value }
}

fn widen(bytes: &[u8; 8]) -> [u8; WIDEST] {
    let mut wide = [0; WIDEST];
    wide[..8].copy_from_slice(bytes);
    wide
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Register N holds bytes that tell N.
    struct Numbers;

    impl Machine for Numbers {
        fn general(&self, number: usize) -> u64 {
            0x0102_0304_0506_0700 + number as u64
        }

        fn vector(&self, number: usize) -> Option<[u8; WIDEST]> {
            (number < 16).then(|| std::array::from_fn(|index| (number * 16 + index) as u8))
        }

        fn memory(&self, address: u64) -> [u8; WIDEST] {
            std::array::from_fn(|index| (address as usize + index) as u8)
        }
    }

    #[test]
    fn what_this_machine_may_not_have_is_decoded_as_well() {
        let rdi = 7;
        // movdir64b rax, [rdi + 0x10]
        let store = decode(&[0x66, 0x0f, 0x38, 0xf8, 0x47, 0x10], &Numbers).expect("a store");
        assert_eq!((store.bytes(), store.length), (&Numbers.memory(Numbers.general(rdi) + 0x10)[..], 6));
        // movdiri [rax], rcx
        let store = decode(&[0x48, 0x0f, 0x38, 0xf9, 0x08], &Numbers).expect("a store");
        assert_eq!((store.bytes(), store.length), (&Numbers.general(1).to_le_bytes()[..], 5));
    }

    #[test]
    fn a_register_that_the_frame_lacks_is_named() {
        // vmovdqu64 [rax], ymm16
        let error = decode(&[0x62, 0xe1, 0xfe, 0x28, 0x7f, 0x00], &Numbers).expect_err("not in the frame");
        assert_eq!(error, DecodeError::Unreadable { register: Register::YMM16 });
        // mov [rax], ds
        assert_eq!(decode(&[0x8c, 0x18], &Numbers), Err(DecodeError::Unreadable { register: Register::DS }));
    }

    #[test]
    fn what_is_no_plain_store_is_refused() {
        let refused = [
            (&[0x48, 0x87, 0x08][..], Mnemonic::Xchg), // xchg [rax], rcx
            (&[0x48, 0x01, 0x08], Mnemonic::Add),      // add [rax], rcx
            (&[0xf0, 0x48, 0x0f, 0xb1, 0x08], Mnemonic::Cmpxchg), // lock cmpxchg [rax], rcx
            (&[0xf3, 0x48, 0xa5], Mnemonic::Movsq),    // rep movsq
            (&[0x48, 0x8b, 0x08], Mnemonic::Mov),      // mov rcx, [rax]
            (&[0x62, 0xf1, 0xfe, 0x49, 0x7f, 0x00], Mnemonic::Vmovdqu64), // vmovdqu64 [rax]{k1}, zmm0
        ];
        for (code, mnemonic) in refused {
            assert_eq!(decode(code, &Numbers), Err(DecodeError::NotAStore { mnemonic }), "{code:x?}");
        }
    }

    #[test]
    fn half_an_instruction_is_none() {
        assert_eq!(decode(&[0x48, 0x89], &Numbers), Err(DecodeError::Invalid));
        assert_eq!(decode(&[], &Numbers), Err(DecodeError::Invalid));
    }
}
