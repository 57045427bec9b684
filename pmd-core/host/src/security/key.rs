//! The pre-shared key, and the file that it comes from.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Digits of a key in its file.
const DIGITS: usize = 2 * KEY_BYTES;

/// Bytes that a key's file may have: the digits, and blanks or line ends behind them.
const LONGEST_FILE: usize = DIGITS + 16;

/// Permissions that make a file readable or writable by others than its owner.
const OTHERS: u32 = 0o077;

/// What all processes that may talk to each other know and nobody else does: 256 random bits. Clones share the bytes, which
/// are overwritten when the last of them is dropped. `Debug` shows none of them.
#[derive(Clone)]
pub struct PreSharedKey(Arc<Zeroizing<[u8; KEY_BYTES]>>);

impl PreSharedKey {
    /// A key of these bytes; they must come from a random source. The caller's copy is the caller's to overwrite.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Arc::new(Zeroizing::new(*bytes)))
    }

    /// Reads a key from a file of 64 hexadecimal digits, as `openssl rand -hex 32` prints them. The file must belong to
    /// this process's user or to root, and nobody but its owner may read or write it (`chmod 600`).
    ///
    /// # Errors
    /// [`KeyError`]; nothing of the file's contents is in it.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let of = |source| KeyError::Read { path: path.to_owned(), source };
        // A FIFO or a device in its place must not hold the process up.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(of)?;
        check_owner(path, &file)?;
        let mut text = Zeroizing::new([0; LONGEST_FILE + 1]);
        let length = read_up_to(file, &mut text[..]).map_err(of)?;
        let malformed = || KeyError::Malformed { path: path.to_owned(), length };
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let digits = text[..length].trim_ascii_end();
        if length > LONGEST_FILE || digits.len() != DIGITS {
            return Err(malformed());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])
                .zip(digit(pair[1]))
                .map(|(high, low)| high << 4 | low)
                .ok_or_else(malformed)?;
        }
        Ok(Self(Arc::new(bytes)))
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// In a time that does not depend on where they differ.
impl PartialEq for PreSharedKey {
    fn eq(&self, other: &Self) -> bool {
        let differing = self.bytes().iter().zip(other.bytes()).map(|(one, other)| one ^ other);
        differing.fold(0, |all, bits| all | bits) == 0
    }
}

impl Eq for PreSharedKey {}

impl fmt::Debug for PreSharedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PreSharedKey(hidden)")
    }
}

/// Asks the open file, so that nothing can be put in its place in between.
fn check_owner(path: &Path, file: &File) -> Result<(), KeyError> {
    let found = file.metadata().map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    if !found.is_file() {
        return Err(KeyError::NotAFile { path: path.to_owned() });
    }
    let user = nix::unistd::geteuid().as_raw();
    if found.uid() != user && found.uid() != 0 {
        return Err(KeyError::Owner { path: path.to_owned(), owner: found.uid(), user });
    }
    if found.mode() & OTHERS != 0 {
        return Err(KeyError::Permissions { path: path.to_owned(), mode: found.mode() & 0o7777 });
    }
    Ok(())
}

/// As many bytes as there are, at most as many as have room.
fn read_up_to(mut file: File, room: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < room.len() {
        match file.read(&mut room[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).map(|value| value as u8)
}

/// Why a file gives no key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be opened or read.
    #[error("the key's file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is a folder, a device or a FIFO.
    #[error("the key's file {} is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Another user can change it at will.
    #[error("the key's file {} belongs to user {owner}: it must belong to user {user} or to root", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs this process.
        user: u32,
    },
    /// Others than its owner may read or write it.
    #[error("the key's file {} has permissions {mode:o}: others can read or change it, chmod 600 it", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else.
    #[error(
        "the key's file {} of {length} bytes is no key: it must be 64 hexadecimal digits, as `openssl rand -hex 32` prints",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Bytes read, 81 for all that is longer.
        length: usize,
    },
}

impl KeyError {
    /// What the file must be like, in short: for whoever has no room for more.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::NotAFile { .. } => "the path of a file that can be read",
            Self::Owner { .. } => "a file that belongs to this user or to root",
            Self::Permissions { .. } => "a file that only its owner may read or write (chmod 600)",
            Self::Malformed { .. } => "a file of 64 hexadecimal digits (openssl rand -hex 32)",
        }
    }
}
