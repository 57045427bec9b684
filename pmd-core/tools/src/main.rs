//! The `pmd` command.
fn main() {}
