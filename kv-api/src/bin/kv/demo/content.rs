//! What the prefill process's cache holds: a model's geometry full of different bytes, or a file.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;
use kv_api::{geometry::Geometry, layout::CacheLayout};

use super::file_failure;
use crate::{failure::Failure, pattern::Pattern};

/// Largest block and most layers that a file's cache is cut into.
const FILE_BLOCK: u64 = 64 << 10;
const FILE_LAYERS: u64 = 16;

/// Where the cache's content comes from.
#[derive(Clone, Debug, Args)]
pub(crate) struct Source {
    /// Model whose cache geometry is used (deepseek-v3 without --input): deepseek-v3, kimi-k2, llama-3-70b,
    /// llama-3-8b, qwen-3-235b, qwen-3-32b.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Tokens in the cache.
    #[arg(long, default_value_t = 4096)]
    tokens: u32,
    /// Move the bytes of this file instead: cut into blocks, or with --model as the content of that cache.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

/// A source that was looked at: the shape it takes.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    layout: CacheLayout,
    length: u64,
    input: Option<PathBuf>,
    name: String,
}

impl Source {
    /// As arguments for a child process.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--tokens".to_owned(), self.tokens.to_string()];
        if let Some(model) = &self.model {
            arguments.extend(["--model".to_owned(), model.clone()]);
        }
        if let Some(input) = &self.input {
            arguments.extend(["--input".to_owned(), input.display().to_string()]);
        }
        arguments
    }

    /// Finds out the shape of the cache.
    pub(super) fn measure(&self) -> Result<Content, Failure> {
        let named = match (&self.model, &self.input) {
            (None, Some(path)) => return measure_file(path),
            (model, _) => Geometry::named(model.as_deref().unwrap_or("deepseek-v3"))?,
        };
        let layout = named.layout(self.tokens)?;
        let length = layout.total_bytes();
        if let Some(path) = &self.input {
            let found = file_length(path)?;
            if found < length {
                return Err(Failure::ShortInput { path: path.clone(), found, wanted: length });
            }
        }
        let name = format!("{} of {} tokens", named.name, self.tokens);
        Ok(Content { layout, length, input: self.input.clone(), name })
    }
}

impl Content {
    pub(super) const fn layout(&self) -> CacheLayout {
        self.layout
    }

    /// Bytes that mean something.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// For people.
    pub(super) fn summary(&self) -> String {
        let layout = &self.layout;
        format!(
            "{}: {} layers x {} tensors x {} blocks of {} bytes, {:.1} MB",
            self.name,
            layout.layers(),
            layout.tensors_per_layer(),
            layout.blocks(),
            layout.block_bytes(),
            layout.total_bytes() as f64 / 1e6,
        )
    }

    /// Writes the content into the cache's bytes, which are zero.
    pub(super) fn fill(&self, bytes: &mut [u8]) -> Result<(), Failure> {
        let Some(path) = &self.input else {
            Pattern::new(0x006b_765f_6465_6d6f).fill(bytes);
            return Ok(());
        };
        let meaningful = &mut bytes[..self.length as usize];
        let failed = file_failure("input file", path);
        match File::open(path).and_then(|mut file| file.read_exact(meaningful)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(Failure::ShortInput {
                path: path.clone(),
                found: file_length(path)?,
                wanted: self.length,
            }),
            Err(error) => Err(failed(error)),
        }
    }
}

/// BLAKE3 of each of `layers` equal parts.
pub(super) fn digests(bytes: &[u8], layers: u32) -> Vec<[u8; 32]> {
    let size = bytes.len() / layers as usize;
    bytes.chunks_exact(size).map(|layer| *blake3::hash(layer).as_bytes()).collect()
}

fn measure_file(path: &Path) -> Result<Content, Failure> {
    let length = file_length(path)?;
    if length == 0 {
        return Err(Failure::EmptyInput { path: path.to_owned() });
    }
    let block = length.min(FILE_BLOCK);
    let layers = length.div_ceil(block).min(FILE_LAYERS);
    let blocks = length.div_ceil(block * layers);
    let layout = CacheLayout::new(layers as u32, 1, u32::try_from(blocks).unwrap_or(u32::MAX), block)?;
    Ok(Content { layout, length, input: Some(path.to_owned()), name: path.display().to_string() })
}

fn file_length(path: &Path) -> Result<u64, Failure> {
    let failed = file_failure("input file", path);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    Err(file_failure("input file", path)(std::io::Error::other("it is not a regular file")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(length: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        fs::write(&path, vec![7; length]).unwrap();
        (folder, path)
    }

    #[test]
    fn any_file_length_fits_its_layout_with_less_than_a_block_per_layer_to_spare() {
        for length in [1_usize, 10, 65_535, 65_536, 65_537, 1 << 20, 3_000_001] {
            let (_folder, path) = file_of(length);
            let source = Source { model: None, tokens: 1, input: Some(path) };
            let content = source.measure().unwrap();
            let layout = content.layout();
            let spare = layout.total_bytes() - length as u64;
            assert!(spare < layout.block_bytes() * u64::from(layout.layers()), "{length}: {spare} to spare");
            let mut bytes = vec![0; layout.total_bytes() as usize];
            content.fill(&mut bytes).unwrap();
            assert_eq!(bytes.iter().filter(|byte| **byte == 7).count(), length);
        }
    }

    #[test]
    fn missing_empty_and_short_files_are_named() {
        let missing = Source { model: None, tokens: 1, input: Some("/no/such/file".into()) };
        assert!(matches!(missing.measure(), Err(Failure::File { .. })));
        assert_eq!(missing.measure().unwrap_err().exit_code(), 2);
        let (_folder, path) = file_of(0);
        let empty = Source { model: None, tokens: 1, input: Some(path) };
        assert!(matches!(empty.measure(), Err(Failure::EmptyInput { .. })));
        let (_folder, path) = file_of(1000);
        let short = Source { model: Some("llama-3-8b".into()), tokens: 16, input: Some(path) };
        assert!(matches!(short.measure(), Err(Failure::ShortInput { found: 1000, .. })));
        let (_folder, path) = file_of(1000);
        let content = Source { model: None, tokens: 1, input: Some(path.clone()) }.measure().unwrap();
        fs::write(&path, [7; 10]).unwrap();
        let mut bytes = vec![0; 1000];
        assert!(matches!(content.fill(&mut bytes), Err(Failure::ShortInput { found: 10, wanted: 1000, .. })));
    }
}
