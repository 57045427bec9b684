//! Files that are keys, and files that are not.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, content: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join("key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

#[test]
fn a_file_of_digits_is_a_key() {
    let folder = Folder::new();
    for ending in ["", "\n", "\r\n", " \n\n"] {
        let digits = "0123456789abcdefABCDEF0000000000000000000000000000000000000000ff";
        for mode in [0o600, 0o400] {
            let read =
                PreSharedKey::from_file(&folder.file(format!("{digits}{ending}").as_bytes(), mode)).unwrap();
            let mut bytes = [0; KEY_BYTES];
            bytes[..11].copy_from_slice(&[1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef]);
            bytes[31] = 0xff;
            assert_eq!(read, PreSharedKey::from_bytes(&bytes));
        }
    }
}

#[test]
fn what_is_no_key_is_refused_and_not_shown() {
    let folder = Folder::new();
    let digits = "5a".repeat(32);
    let wrong = [
        String::new(),
        "\n".into(),
        digits[..63].into(),
        format!("{digits}0"),
        format!(" {digits}"),
        digits.replace("5a5a5a5a5a", "5a5a5a5a5g"),
        format!("{digits}{}", " ".repeat(17)),
        "5a".repeat(1 << 16),
    ];
    for content in wrong {
        let error = PreSharedKey::from_file(&folder.file(content.as_bytes(), 0o600)).unwrap_err();
        let KeyError::Malformed { length, .. } = &error else { panic!("{error}") };
        assert_eq!(*length, content.len().min(81));
        assert!(!format!("{error} {error:?} {}", error.advice()).contains("5a5a"));
    }
}

#[test]
fn files_of_others_and_for_others_are_refused() {
    let folder = Folder::new();
    let content = "5a".repeat(32);
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o777] {
        let error = PreSharedKey::from_file(&folder.file(content.as_bytes(), mode)).unwrap_err();
        assert!(matches!(error, KeyError::Permissions { mode: found, .. } if found == mode), "{error}");
        assert!(error.advice().contains("600"));
    }
    // Only root can give a file away, and only root could read it then.
    let path = folder.file(content.as_bytes(), 0o600);
    if nix::unistd::geteuid().is_root() {
        chown(&path, Some(12345), None).unwrap();
        let error = PreSharedKey::from_file(&path).unwrap_err();
        assert!(matches!(error, KeyError::Owner { owner: 12345, user: 0, .. }), "{error}");
        assert!(error.advice().contains("root"));
    }
}

#[test]
fn what_is_no_file_is_refused_and_nothing_waits() {
    let folder = Folder::new();
    let missing = PreSharedKey::from_file(&folder.0.path().join("none")).unwrap_err();
    assert!(
        matches!(&missing, KeyError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    );
    assert!(missing.advice().contains("path"));
    let error = PreSharedKey::from_file(folder.0.path()).unwrap_err();
    assert!(matches!(error, KeyError::NotAFile { .. }), "{error}");
    let fifo = folder.0.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let error = PreSharedKey::from_file(&fifo).unwrap_err();
    assert!(matches!(error, KeyError::NotAFile { .. }), "{error}");
}

#[test]
fn debug_shows_no_key() {
    let security = Security::with_key(key(0xab));
    assert!(security.seal_data);
    let shown = format!("{security:?} {:#?}", PreSharedKey::from_bytes(&[171; KEY_BYTES]));
    assert!(!shown.contains("171") && !shown.to_lowercase().contains("ab, ") && shown.contains("hidden"));
    assert_eq!(Security::default().key, None);
}

#[test]
fn keys_are_equal_when_all_of_their_bytes_are() {
    let bytes = [7; KEY_BYTES];
    assert_eq!(PreSharedKey::from_bytes(&bytes), key(7));
    for index in 0..KEY_BYTES {
        let mut other = bytes;
        other[index] ^= 0x80;
        assert_ne!(PreSharedKey::from_bytes(&other), key(7));
    }
}
