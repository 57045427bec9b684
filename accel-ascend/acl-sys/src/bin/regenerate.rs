//! Writes `src/bindings/acl.rs` from `include/acl`, or checks it: see the package `sys-generator`.

use std::process::ExitCode;

use sys_generator::Plan;

fn main() -> ExitCode {
    sys_generator::main(env!("CARGO_MANIFEST_DIR"), &[ACL])
}

/// The header is this package's own, so all of it is taken.
const ACL: Plan = Plan {
    file: "acl.rs",
    include: concat!(env!("CARGO_MANIFEST_DIR"), "/include"),
    header: "acl/acl.h",
    source: "include",
    packages: "git",
    arguments: &[concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include")],
    table: "Acl",
    functions: "acl.*",
    types: "acl.*",
    constants: "ACL_.*",
    ..Plan::NOTHING
};
