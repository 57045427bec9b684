//! Atomics come through `pmd_core::sync`, so that loom sees them; assembly is in `mmio`, where barriers have names.

use crate::source::Token;

/// The one file that names the atomics of core and of loom.
const ATOMICS: &str = "pmd-core/src/sync.rs";

/// The one module with barriers and doorbell stores.
const BARRIERS: &str = "pmd-core/src/mmio";

/// Crates whose atomics and barriers are the product's; what builds or checks the product is free.
const PRODUCT: [&str; 6] = ["pmd-core/", "kv-api/", "af-api/", "gpu-direct/", "accel-rocm/", "accel-ascend/"];

/// Atomics and assembly that pass the facades by, with their lines.
pub(super) fn bypassed(file: &str, tokens: &[Token<'_>]) -> Vec<(usize, String)> {
    if !PRODUCT.iter().any(|folder| file.starts_with(folder)) {
        return Vec::new();
    }
    let code: Vec<Token<'_>> = tokens.iter().filter(|token| !token.is_comment()).copied().collect();
    let atomics = (0..code.len()).filter(|at| file != ATOMICS && names_atomics(&code[*at..]));
    let assembly = (0..code.len()).filter(|at| !file.starts_with(BARRIERS) && is_assembly(&code[*at..]));
    let atomics =
        atomics.map(|at| (code[at].line, format!("atomics come from pmd_core::sync, through {ATOMICS}")));
    let assembly =
        assembly.map(|at| (code[at].line, format!("assembly belongs to {BARRIERS}.rs, where it has a name")));
    atomics.chain(assembly).collect()
}

/// `core::sync::atomic`, `std::sync::{.., atomic, ..}` or `std::{.., sync::{.., atomic, ..}}`.
fn names_atomics(code: &[Token<'_>]) -> bool {
    let starts = ["core", "std", "loom"].iter().any(|root| code[0].is(root));
    if !starts || code.len() < 7 {
        return false;
    }
    let mut statement = code[3..].iter().take_while(|token| !token.is(";"));
    if code[3].is("sync") && !code[6].is("{") {
        return code[6].is("atomic");
    }
    (code[3].is("sync") || code[3].is("{")) && statement.any(|token| token.is("atomic"))
}

fn is_assembly(code: &[Token<'_>]) -> bool {
    ["asm", "naked_asm", "global_asm"].iter().any(|name| code[0].is(name))
        && code.get(1).is_some_and(|token| token.is("!"))
}
