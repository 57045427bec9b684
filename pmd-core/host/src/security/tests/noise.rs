//! The handshake and its records, without sockets.

use super::*;

const PROLOGUE: &[u8] = b"what was said before";

fn agreed() -> (Cipher, Cipher) {
    let (asking, first) = Asking::begin(&key(1), PROLOGUE).unwrap();
    let answering = Answering::hear(&key(1), PROLOGUE, &first).unwrap();
    let mut answer = [0; SECOND + 5];
    let theirs = answering.answer(b"hello", &mut answer).unwrap();
    let mut said = [0; 5];
    let ours = asking.finish(&answer, &mut said).unwrap();
    assert_eq!(&said, b"hello");
    (ours, theirs)
}

fn sealed(cipher: &mut Cipher, plain: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; plain.len() + TAG];
    assert_eq!(cipher.seal(plain, &mut bytes), Ok(plain.len() + TAG));
    bytes
}

fn opened(cipher: &mut Cipher, bytes: &[u8]) -> Result<Vec<u8>, NoiseFault> {
    let mut plain = vec![0; bytes.len()];
    let length = cipher.open(bytes, &mut plain)?;
    plain.truncate(length);
    Ok(plain)
}

#[test]
fn records_go_both_ways_over_changes_of_keys() {
    let (mut ours, mut theirs) = agreed();
    // Keys change after 64 records here.
    for number in 0..300_u32 {
        let plain = number.to_le_bytes();
        let record = sealed(&mut ours, &plain);
        assert!(!record.windows(4).any(|window| window == plain));
        assert_eq!(opened(&mut theirs, &record).as_deref(), Ok(&plain[..]));
        if number % 3 == 0 {
            let record = sealed(&mut theirs, &plain);
            assert_eq!(opened(&mut ours, &record).as_deref(), Ok(&plain[..]));
        }
    }
}

#[test]
fn another_key_and_another_prologue_do_not_verify() {
    let (_, first) = Asking::begin(&key(1), PROLOGUE).unwrap();
    assert_eq!(Answering::hear(&key(2), PROLOGUE, &first).unwrap_err(), NoiseFault::Refused);
    assert_eq!(Answering::hear(&key(1), b"something else", &first).unwrap_err(), NoiseFault::Refused);
}

#[test]
fn every_bit_of_a_handshake_counts() {
    for bit in (0..FIRST * 8).step_by(5) {
        let (asking, mut first) = Asking::begin(&key(1), PROLOGUE).unwrap();
        let good = first;
        first[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Answering::hear(&key(1), PROLOGUE, &first).unwrap_err(), NoiseFault::Refused, "bit {bit}");
        let mut answer = [0; SECOND];
        Answering::hear(&key(1), PROLOGUE, &good).unwrap().answer(&[], &mut answer).unwrap();
        answer[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(asking.finish(&answer, &mut []).unwrap_err(), NoiseFault::Refused, "bit {bit}");
    }
}

#[test]
fn records_that_are_changed_cut_repeated_left_out_or_sent_back_do_not_open() {
    type Case = (&'static str, fn(&mut Cipher, &mut Cipher) -> Vec<u8>);
    let cases: [Case; 6] = [
        ("changed", |ours, _| {
            let mut record = sealed(ours, b"something");
            record[3] ^= 1;
            record
        }),
        ("its tag changed", |ours, _| {
            let mut record = sealed(ours, b"something");
            *record.last_mut().unwrap() ^= 0x80;
            record
        }),
        ("cut", |ours, _| sealed(ours, b"something")[..20].to_vec()),
        ("repeated", |ours, theirs| {
            let record = sealed(ours, b"something");
            assert_eq!(opened(theirs, &record).as_deref(), Ok(&b"something"[..]));
            record
        }),
        ("behind one that is missing", |ours, _| {
            sealed(ours, b"missing");
            sealed(ours, b"something")
        }),
        ("sent back", |_, theirs| sealed(theirs, b"something")),
    ];
    for (name, make) in cases {
        let (mut ours, mut theirs) = agreed();
        let record = make(&mut ours, &mut theirs);
        assert_eq!(opened(&mut theirs, &record), Err(NoiseFault::Refused), "{name}");
    }
}

#[test]
fn a_recorded_handshake_is_answered_but_its_records_do_not_open() {
    let (asking, first) = Asking::begin(&key(1), PROLOGUE).unwrap();
    let mut answer = [0; SECOND];
    Answering::hear(&key(1), PROLOGUE, &first).unwrap().answer(&[], &mut answer).unwrap();
    let record = sealed(&mut asking.finish(&answer, &mut []).unwrap(), b"recorded");
    let mut again = Answering::hear(&key(1), PROLOGUE, &first).unwrap().answer(&[], &mut answer).unwrap();
    assert_eq!(opened(&mut again, &record), Err(NoiseFault::Refused));
}

#[test]
fn nothing_of_the_ciphers_is_shown() {
    let (ours, _) = agreed();
    assert_eq!(format!("{ours:?}"), "Cipher(hidden)");
}
