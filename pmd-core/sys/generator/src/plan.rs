//! What is bound: one [`Plan`] per library, made by a package's command and read by [`crate::main`].

use bindgen::callbacks::{DeriveTrait, ImplementsTrait, ParseCallbacks};
use bindgen::{Builder, Formatter, RustEdition, RustTarget};

/// One library: which header declares it and what of it is taken. Regular expressions are matched against whole names;
/// empty ones match nothing.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// File under `src/bindings`.
    pub file: &'static str,
    /// Folder of the header: `/usr/include` where Debian installs them. A relative one is looked for from where the
    /// command runs.
    pub include: &'static str,
    /// Header under `include`.
    pub header: &'static str,
    /// Whose headers they are and of which version, for the first line of the file.
    pub source: &'static str,
    /// Debian's packages that hold the header.
    pub packages: &'static str,
    /// Further arguments for clang, definitions for instance.
    pub arguments: &'static [&'static str],
    /// Name of the generated struct of function pointers.
    pub table: &'static str,
    /// Lines at the top of the file.
    pub imports: &'static [&'static str],
    /// Functions that are taken.
    pub functions: &'static str,
    /// Functions that are not, though `functions` matches them.
    pub without_functions: &'static str,
    /// Types that are taken, beside those that functions name.
    pub types: &'static str,
    /// Types that are left out.
    pub without_types: &'static str,
    /// Types that keep their size and lose their inside.
    pub opaque_types: &'static str,
    /// Constants that are taken.
    pub constants: &'static str,
    /// Headers whose items another file already has.
    pub elsewhere: &'static [&'static str],
}

/// Headers that the crate libc covers: their types differ between architectures.
const FROM_LIBC: &[&str] = &[".*/bits/.*", ".*/sys/.*", ".*/netinet/.*", ".*/linux/socket\\.h"];

impl Plan {
    /// Nothing of no header: what a plan need not say.
    pub const NOTHING: Self = Self {
        file: "",
        include: "/usr/include",
        header: "",
        source: "",
        packages: "",
        arguments: &[],
        table: "",
        imports: &[],
        functions: "",
        without_functions: "",
        types: "",
        without_types: "",
        opaque_types: "",
        constants: "",
        elsewhere: &[],
    };

    /// bindgen, set up for this library.
    pub(crate) fn builder(&self) -> Builder {
        let builder = Builder::default()
            .header(format!("{}/{}", self.include, self.header))
            // Fixed, so that the output is the same on every machine.
            .clang_args(["--target=x86_64-unknown-linux-gnu", "-I/usr/include/x86_64-linux-gnu"])
            .clang_args(self.arguments)
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
            .allowlist_function(self.functions)
            .parse_callbacks(Box::new(ElsewhereIsPlain));
        self.select(builder)
    }

    /// An empty expression is not given: bindgen would match every name of no letters, and say so.
    fn select(&self, mut builder: Builder) -> Builder {
        let choices: [(fn(Builder, &'static str) -> Builder, &'static str); 5] = [
            (|builder, names| builder.allowlist_type(names), self.types),
            (|builder, names| builder.allowlist_var(names), self.constants),
            (|builder, names| builder.blocklist_function(names), self.without_functions),
            (|builder, names| builder.opaque_type(names), self.opaque_types),
            (|builder, names| builder.blocklist_type(names), self.without_types),
        ];
        for (choose, names) in choices.into_iter().filter(|(_, names)| !names.is_empty()) {
            builder = choose(builder, names);
        }
        FROM_LIBC.iter().chain(self.elsewhere).fold(builder, |builder, header| builder.blocklist_file(header))
    }
}

/// Types that come from another file or from libc are plain data: copying and printing them is fine.
#[derive(Debug)]
struct ElsewhereIsPlain;

impl ParseCallbacks for ElsewhereIsPlain {
    fn blocklisted_type_implements_trait(&self, _name: &str, wanted: DeriveTrait) -> Option<ImplementsTrait> {
        matches!(wanted, DeriveTrait::Copy).then_some(ImplementsTrait::Yes)
    }
}
