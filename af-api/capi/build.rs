//! Names the shared library: programs that were linked with it look for that name, and releases that are not compatible
//! have another.

fn main() {
    let release = ["CARGO_PKG_VERSION_MAJOR", "CARGO_PKG_VERSION_MINOR"].map(|part| {
        println!("cargo::rerun-if-env-changed={part}");
        std::env::var(part).unwrap_or_default()
    });
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libpmd_af.so.{}", release.join("."));
}
