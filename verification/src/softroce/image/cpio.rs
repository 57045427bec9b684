//! Writes initial file systems, in the format that the kernel unpacks (`newc`, kernel documentation
//! "initramfs buffer format"). Called by `image` for what all guests share and by `machine` for what one run adds.

/// Every member begins at a multiple of this many bytes, and so does its content.
const ALIGNMENT: usize = 4;

/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive under construction. Archives may follow each other: the kernel unpacks one over the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    members: u32,
}

impl Archive {
    /// Adds a folder; its parents must have been added before.
    pub(crate) fn folder(&mut self, name: &str) {
        self.member(name, FOLDER, &[]);
    }

    /// Adds a file that is read.
    pub(crate) fn file(&mut self, name: &str, content: &[u8]) {
        self.member(name, FILE, content);
    }

    /// Adds a file that is run.
    pub(crate) fn program(&mut self, name: &str, content: &[u8]) {
        self.member(name, PROGRAM, content);
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, name: &str, target: &str) {
        self.member(name, LINK, target.as_bytes());
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.member(TRAILER, 0, &[]);
        self.bytes
    }

    fn member(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.members += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("a member of less than 4 GiB");
        // Inode, mode, owner, group, links, time, length, device, device of a node (two numbers each), length of the
        // name with its end, checksum (unused).
        let fields =
            [self.members, mode, 0, 0, 1, 0, length(content.len()), 0, 0, 0, 0, length(name.len() + 1), 0];
        self.bytes.extend(b"070701");
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08X}").bytes()));
        self.bytes.extend(name.bytes().chain([0]));
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}
