//! What is bound: the one [`Plan`] of the runtime, read by `command`.

use bindgen::{Builder, Formatter, RustEdition, RustTarget};

/// Where the header is.
pub(crate) const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
/// The header is in the repository.
pub(crate) const HEADER_PACKAGES: &str = "git";
/// The packages that hold libclang and the headers that it needs itself.
pub(crate) const CLANG_PACKAGES: &str = "libclang1-14 libclang-common-14-dev";

/// One library: which header declares it and what of it is taken.
pub(crate) struct Plan {
    /// File under `src/bindings`.
    pub(crate) file: &'static str,
    /// Header under [`INCLUDE`].
    pub(crate) header: &'static str,
    /// Whose header it is.
    pub(crate) origin: &'static str,
    /// Name of the generated struct of function pointers.
    pub(crate) table: &'static str,
    /// Lines at the top of the file.
    pub(crate) imports: &'static [&'static str],
}

/// Every library bound.
pub(crate) const PLANS: &[Plan] =
    &[Plan { file: "acl.rs", header: "acl/acl.h", origin: "include", table: "Acl", imports: &[] }];

impl Plan {
    /// bindgen, set up for this library.
    pub(crate) fn builder(&self) -> Builder {
        Builder::default()
            .header(format!("{INCLUDE}/{}", self.header))
            // Fixed, so that the output is the same on every machine.
            .clang_args(["--target=x86_64-unknown-linux-gnu", "-I/usr/include/x86_64-linux-gnu"])
            .clang_arg(format!("-I{INCLUDE}"))
            .rust_target(RustTarget::stable(88, 0).expect("a version that bindgen knows"))
            .rust_edition(RustEdition::Edition2024)
            .formatter(Formatter::None)
            .dynamic_library_name(self.table)
            .dynamic_link_require_all(false)
            .layout_tests(true)
            .prepend_enum_name(false)
            .generate_comments(false)
            .derive_default(true)
            .size_t_is_usize(true)
            .disable_header_comment()
            .allowlist_function("acl.*")
            .allowlist_type("acl.*")
            .allowlist_var("ACL_.*")
    }
}
