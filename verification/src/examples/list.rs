//! Every example of `kv-api`, in every language: how its processes are called, and what they write when all is well.
//! Read by `examples` and by the suites that build them.

use std::path::{Path, PathBuf};

use super::Device;

/// What an example is written in, and so what runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// An example of the package `kv-api`.
    Rust,
    /// C11 against the installed library.
    C,
    /// C++17 against the installed library.
    Cpp,
    /// The same, with the fake Ascend runtime.
    CppAscend,
    /// A script with the installed Python package.
    Python,
}

/// An example: one process, or two that find each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Example {
    /// Its file's name, without what tells the language.
    pub(crate) program: &'static str,
    /// What it is written in.
    pub(crate) language: Language,
    /// Arguments of each process; `{0}` to `{4}` are ports in a row, `{folder}` is a folder of both.
    pub(crate) calls: &'static [&'static str],
    /// What they write between them.
    pub(crate) writes: &'static [&'static str],
    /// Devices that it is not run on, and why.
    left_out: &'static [(Device, &'static str)],
}

impl Example {
    /// Its source, from the workspace's root.
    pub(crate) fn source(&self) -> PathBuf {
        let (folder, suffix) = match self.language {
            Language::Rust => ("examples", "rs"),
            Language::C => ("capi/examples", "c"),
            Language::Cpp | Language::CppAscend => ("capi/examples", "cpp"),
            Language::Python => ("python/examples", "py"),
        };
        Path::new("kv-api").join(folder).join(self.program).with_extension(suffix)
    }

    /// One of no language of its own.
    #[cfg(test)]
    pub(super) const fn pair(calls: &'static [&'static str], writes: &'static [&'static str]) -> Self {
        Self { program: "pair", language: Language::C, calls, writes, left_out: &[] }
    }

    /// Why it is not run on a device, where it is not.
    pub(crate) fn left_out(&self, device: Device) -> Option<&'static str> {
        self.left_out.iter().find(|(left_out, _)| *left_out == device).map(|(_, why)| *why)
    }
}

const RUST_CLUSTERS: &[&str] = &[
    "prompt --prompt-port {0} --decoder-port {1} --control-port {2}",
    "decoder --prompt-port {0} --decoder-port {1} --control-port {2}",
];
const CPP_CLUSTERS: &[&str] = &["prompt 127.0.0.1 {0} {1} {2}", "decoder 127.0.0.1 {0} {1} {2}"];
const PYTHON_CLUSTERS: &[&str] = &["prompt {0}", "decoder {0}"];

const EMULATED: &[(Device, &str)] =
    &[(Device::SoftRoce, "works, but takes the emulated processor nine seconds, most of them for NumPy")];

const fn of(
    language: Language,
    program: &'static str,
    calls: &'static [&'static str],
    writes: &'static [&'static str],
) -> Example {
    // See `Example::left_out`.
    let left_out = if matches!(language, Language::Python) { EMULATED } else { &[] };
    Example { program, language, calls, writes, left_out }
}

/// All of them.
pub(crate) const EXAMPLES: &[Example] = &[
    of(Language::Rust, "two_engines", &[""], &["blocks, "]),
    of(Language::Rust, "layer_by_layer", &[""], &["layer 0 is here", "layer 7 is here"]),
    of(
        Language::Rust,
        "kvtrans_send_recv",
        &["receive {0}", "send 127.0.0.1:{0} 5000001"],
        &["received 5000001 bytes from 127.0.0.1, as sent", "sent 5000001 bytes over "],
    ),
    of(
        Language::Rust,
        "hixl_client_server_h2d",
        &["server 127.0.0.1:{0} {folder}/address", "client 127.0.0.1 127.0.0.1:{0} {folder}/address"],
        &[],
    ),
    of(
        Language::Rust,
        "hixl_server_server_d2d",
        &["127.0.0.1:{0} 127.0.0.1:{1} {folder}", "127.0.0.1:{1} 127.0.0.1:{0} {folder}"],
        &[],
    ),
    of(
        Language::Rust,
        "pull_cache_and_blocks",
        RUST_CLUSTERS,
        &["verified: rows 0..4 of 4 tensors", "cluster 0: done", "cluster 1: done"],
    ),
    of(
        Language::Rust,
        "push_cache_and_blocks",
        RUST_CLUSTERS,
        &["verified: rows 4..8 of 4 tensors", "cluster 0: done", "cluster 1: done"],
    ),
    of(
        Language::Rust,
        "switch_roles",
        RUST_CLUSTERS,
        &["verified: rows 0..4 of 4 tensors", "verified: rows 4..8 of 4 tensors"],
    ),
    of(Language::Cpp, "pull_cache_and_blocks", CPP_CLUSTERS, &["rows 0 to 3 of 4 tensors are right"]),
    of(Language::Cpp, "push_cache_and_blocks", CPP_CLUSTERS, &["rows 4 to 7 of 4 tensors are right"]),
    of(
        Language::Cpp,
        "switch_roles",
        CPP_CLUSTERS,
        &["rows 0 to 3 of 4 tensors are right", "rows 0 to 7 of 4 tensors are right"],
    ),
    of(
        Language::CppAscend,
        "client_server_h2d",
        &["server 127.0.0.1:{0} {1}", "client 127.0.0.1:{0} {1}"],
        &["read 1", "the device holds 2"],
    ),
    of(
        Language::CppAscend,
        "server_server_d2d",
        &["127.0.0.1:{0} 127.0.0.1:{1} {2}", "127.0.0.1:{1} 127.0.0.1:{0} {2}"],
        &["wrote its name, and its second buffer reads "],
    ),
    of(
        Language::C,
        "push_blocks",
        &["decode 127.0.0.1:{0}", "prefill 127.0.0.1:{0}"],
        &["layer 3 is in place", "24 blocks verified", "pushed 4 layers over "],
    ),
    of(
        Language::Python,
        "kvtrans_send_recv",
        &["receive {0}", "send {0}"],
        &["ok: they are what was sent", "bytes are sent"],
    ),
    of(
        Language::Python,
        "hixl_client_server_h2d",
        &["server 127.0.0.1:{0} {1}", "client 127.0.0.1:{0} {1}"],
        &["ok: the server ends with 2", "ok: the server began with 1"],
    ),
    of(
        Language::Python,
        "hixl_server_server_d2d",
        &["127.0.0.1:{0} 127.0.0.1:{1} {2}", "127.0.0.1:{1} 127.0.0.1:{0} {2}"],
        &["ok: the name is written", "ok: it has what it should"],
    ),
    of(Language::Python, "datadist_pull", PYTHON_CLUSTERS, &["ok: rows 0 to 3 of every tensor are right"]),
    of(Language::Python, "datadist_push", PYTHON_CLUSTERS, &["ok: rows 4 to 7 of every tensor are right"]),
    of(
        Language::Python,
        "datadist_switch_roles",
        PYTHON_CLUSTERS,
        &["ok: rows 0 to 7 of every tensor are right"],
    ),
    of(
        Language::Python,
        "layer_by_layer",
        &["prefill {0}", "decode {0}"],
        &["ok: layer 7 came from prefill"],
    ),
];
