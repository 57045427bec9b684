//! Rust sources as the checks see them: which files there are, and their tokens.
//!
//! Called by `style`, which reads rules off the tokens, and by `weaken`, which edits single ones.

mod files;
mod lexer;

pub(crate) use files::{is_test_file, is_test_name, rust_files};
pub(crate) use lexer::{Kind, Token, tokens};
