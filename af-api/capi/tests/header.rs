//! The committed header is what cbindgen makes of the sources.

use std::{fs, path::Path};

/// Set to write the header rather than to compare it.
const WRITE: &str = "PMD_AF_WRITE_HEADER";

#[test]
fn the_committed_header_is_what_the_sources_give() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new()
        .with_crate(folder)
        .with_config(config)
        .generate()
        .expect("cbindgen reads the sources");
    let mut header = Vec::new();
    bindings.write(&mut header);
    let header = String::from_utf8(header).expect("a header is text");
    let path = folder.join("include/pmd_af.h");
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &header).expect("the header can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = header.lines().zip(committed.lines()).position(|(new, old)| new != old);
    assert!(
        header == committed,
        "include/pmd_af.h differs from line {:?} on: run {WRITE}=1 cargo test -p af-api-capi --test header",
        differs.map(|line| line + 1)
    );
}
