//! Commands by `write()`: `ib_uverbs_cmd_hdr`, then the structure, then what the driver adds; in the extended form
//! `ib_uverbs_ex_cmd_hdr` says where one ends and the other begins.

use super::{
    abi::command,
    command::Call,
    error::CommandError,
    memory::{Fields, UserBuffer},
};

/// Bytes of `ib_uverbs_cmd_hdr`.
const HEADER: usize = 8;
/// Bytes of it and of `ib_uverbs_ex_cmd_hdr`.
const EXTENDED_HEADER: usize = 24;

/// Cuts what was written into its parts.
pub(super) fn parse(written: UserBuffer) -> Result<Call, CommandError> {
    let bytes = written.read()?;
    let mut header = Fields::new(&bytes);
    let (number, in_words, out_words) = (header.u32()?, header.u16()?, header.u16()?);
    if number & command::EXTENDED == 0 {
        legacy(number, &bytes, usize::from(in_words) * 4, usize::from(out_words) * 4)
    } else {
        extended(number, &bytes, usize::from(in_words) * 8, usize::from(out_words) * 8)
    }
}

/// A legacy command's structure has the size that the header file gives it; what follows is the driver's.
fn legacy(number: u32, bytes: &[u8], announced: usize, answered: usize) -> Result<Call, CommandError> {
    let (core, answer) = command::sizes(number).ok_or(CommandError::UnknownCommand { number })?;
    check_length(announced, bytes.len())?;
    let request = &bytes[HEADER..];
    if request.len() < core {
        return Err(CommandError::Truncated { wanted: core, found: request.len() });
    }
    if answered < answer {
        return Err(CommandError::Truncated { wanted: answer, found: answered });
    }
    let address = if answer == 0 { 0 } else { Fields::new(request).u64()? };
    Ok(Call {
        number,
        core: request[..core].to_vec(),
        driver: request[core..].to_vec(),
        answer: UserBuffer { address, length: answer },
        driver_answer: UserBuffer { address: address.wrapping_add(answer as u64), length: answered - answer },
    })
}

/// An extended command says the sizes of all parts, in units of eight bytes.
fn extended(number: u32, bytes: &[u8], core: usize, answer: usize) -> Result<Call, CommandError> {
    let mut header = Fields::new(bytes);
    header.u64()?;
    let address = header.u64()?;
    let (driver_in, driver_out) = (usize::from(header.u16()?) * 8, usize::from(header.u16()?) * 8);
    header.u32()?;
    check_length(EXTENDED_HEADER + core + driver_in, bytes.len())?;
    let request = &bytes[EXTENDED_HEADER..];
    Ok(Call {
        number,
        core: request[..core].to_vec(),
        driver: request[core..].to_vec(),
        answer: UserBuffer { address, length: answer },
        driver_answer: UserBuffer { address: address.wrapping_add(answer as u64), length: driver_out },
    })
}

fn check_length(announced: usize, written: usize) -> Result<(), CommandError> {
    if announced == written { Ok(()) } else { Err(CommandError::WrongLength { announced, written }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::memory::Answer;

    fn parsed(bytes: &[u8]) -> Result<Call, CommandError> {
        parse(UserBuffer { address: bytes.as_ptr() as u64, length: bytes.len() })
    }

    fn header(number: u32, in_words: u16, out_words: u16) -> Answer {
        Answer::default().u32(&[number]).u16(&[in_words, out_words])
    }

    #[test]
    fn a_legacy_command_is_cut_where_its_structure_ends() {
        // ALLOC_PD: the answer's address, and no request of the driver; the driver answers with four bytes more.
        let call = parsed(&header(command::ALLOC_PD, 4, 2).u64(&[0x1000]).0).expect("whole");
        assert_eq!((call.core.len(), call.driver.len()), (8, 0));
        assert_eq!(call.answer, UserBuffer { address: 0x1000, length: 4 });
        assert_eq!(call.driver_answer, UserBuffer { address: 0x1004, length: 4 });
    }

    #[test]
    fn an_extended_command_is_cut_where_its_header_says() {
        let number = command::EXTENDED | command::CREATE_CQ;
        let bytes = header(number, 1, 2).u64(&[0x2000]).u16(&[2, 1]).u32(&[0]).u64(&[1, 2, 3]).0;
        let call = parsed(&bytes).expect("whole");
        assert_eq!((call.core.len(), call.driver.len()), (8, 16));
        assert_eq!(call.answer, UserBuffer { address: 0x2000, length: 16 });
        assert_eq!(call.driver_answer, UserBuffer { address: 0x2010, length: 8 });
    }

    #[test]
    fn every_prefix_of_a_command_is_an_error_and_no_panic() {
        let legacy = header(command::REG_MR, 12, 3).u64(&[0; 5]).0;
        let extended = header(command::EXTENDED | command::CREATE_CQ, 1, 2).u64(&[0]).u16(&[2, 1]);
        let extended = extended.u32(&[0]).u64(&[1, 2, 3]).0;
        for whole in [legacy, extended] {
            assert!(parsed(&whole).is_ok());
            for length in 0..whole.len() {
                assert!(parsed(&whole[..length]).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn an_answer_without_room_for_its_structure_is_refused() {
        let short = parsed(&header(command::REG_MR, 12, 2).u64(&[0; 5]).0);
        assert_eq!(short, Err(CommandError::Truncated { wanted: 12, found: 8 }));
    }

    #[test]
    fn unknown_numbers_and_wrong_addresses_are_refused() {
        let unknown = parsed(&header(200, 2, 0).0).map_err(|error| error.errno().0);
        assert_eq!(unknown, Err(libc::EOPNOTSUPP));
        let nowhere = parse(UserBuffer { address: 8, length: 16 }).map_err(|error| error.errno().0);
        assert_eq!(nowhere, Err(libc::EFAULT));
    }
}
