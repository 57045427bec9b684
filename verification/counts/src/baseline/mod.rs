//! The committed counts, and whether new ones are as good. Called by the command.
//!
//! A text file, one count a line, in hundredths of an instruction for one operation:
//! ```text
//! # comment
//! compiler rustc 1.95.0 (59807616e 2026-04-14)
//! valgrind valgrind-3.19.0
//! library glibc 2.36
//! processor x86_64
//! post-1 35.00
//! ```
//! With the toolchain of the baseline a count repeats; what is left are a compiler's other choices after unrelated changes
//! of the source ([`SAME`]). Another compiler or C library makes other instructions of the same source ([`OTHER`]), another
//! family of processors other ones altogether: then nothing is compared. Fewer instructions than in the baseline never
//! fail; they are told, so that somebody keeps them.

use std::{collections::BTreeMap, fmt};

/// What made the program that is counted, and counted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// As `rustc --version` says it.
    pub compiler: String,
    /// As `valgrind --version` says it.
    pub valgrind: String,
    /// As `getconf GNU_LIBC_VERSION` says it.
    pub library: String,
    /// As Rust calls the family of processors.
    pub processor: String,
}

/// Counts in hundredths of an instruction for one operation, by name.
pub type Counts = BTreeMap<String, u64>;

/// A baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// Whose counts they are.
    pub toolchain: Toolchain,
    /// The counts.
    pub counts: Counts,
}

/// Why a file is no baseline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A line that is neither a count nor of the toolchain.
    #[error("line {line} is {text:?}: a count is a name and a number with two decimals, `post-1 35.00`")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// The file does not say whose counts they are.
    #[error("no line `{key} ...`")]
    Missing {
        /// Which line.
        key: &'static str,
    },
}

/// How far above the baseline a count may be: a share of it, or a few instructions where that is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Percent of the baseline.
    pub percent: u64,
    /// Hundredths of an instruction.
    pub hundredths: u64,
}

/// With the toolchain of the baseline.
pub const SAME: Tolerance = Tolerance { percent: 10, hundredths: 500 };

/// With another compiler, C library or valgrind, on the same family of processors.
pub const OTHER: Tolerance = Tolerance { percent: 30, hundredths: 1000 };

/// A count beside its baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Name of the count.
    pub name: String,
    /// The count, where there is one.
    pub count: Option<u64>,
    /// The baseline's, where it has one.
    pub baseline: Option<u64>,
    /// What it comes to.
    pub verdict: Verdict,
}

/// What a count comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the tolerance, or not to be compared.
    Good,
    /// Below what the tolerance explains: worth a new baseline.
    Better,
    /// Above the tolerance.
    Worse,
    /// The baseline has no such count.
    New,
    /// The baseline has it, and it was not counted.
    Gone,
}

impl Verdict {
    /// Whether the check fails.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Worse | Self::New | Self::Gone)
    }
}

impl Baseline {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (mut toolchain, mut counts) = (BTreeMap::new(), Counts::new());
        for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !is_comment(text)) {
            let wrong = || ParseError::Line { line, text: text.to_owned() };
            let (key, value) = text.split_once(' ').ok_or_else(wrong)?;
            if Toolchain::KEYS.contains(&key) {
                toolchain.insert(key, value.to_owned());
            } else {
                counts.insert(key.to_owned(), hundredths(value).ok_or_else(wrong)?);
            }
        }
        let [compiler, valgrind, library, processor] =
            Toolchain::KEYS.map(|key| toolchain.remove(key).ok_or(ParseError::Missing { key }));
        let (compiler, valgrind) = (compiler?, valgrind?);
        let toolchain = Toolchain { compiler, valgrind, library: library?, processor: processor? };
        Ok(Self { toolchain, counts })
    }

    /// How far counts of this toolchain may be above; nothing where they cannot be compared.
    #[must_use]
    pub fn tolerance(&self, toolchain: &Toolchain) -> Option<Tolerance> {
        let same = self.toolchain == *toolchain;
        let comparable = self.toolchain.processor == toolchain.processor;
        comparable.then_some(if same { SAME } else { OTHER })
    }

    /// Every count of the baseline and every other one, in order of name.
    #[must_use]
    pub fn compare(&self, counts: &Counts, toolchain: &Toolchain) -> Vec<Compared> {
        let tolerance = self.tolerance(toolchain);
        let mut names: Vec<&String> = self.counts.keys().chain(counts.keys()).collect();
        names.sort();
        names.dedup();
        let compared = |name: &String| {
            let (count, baseline) = (counts.get(name).copied(), self.counts.get(name).copied());
            let verdict = match (count, baseline) {
                (Some(count), Some(baseline)) => {
                    tolerance.map_or(Verdict::Good, |tolerance| tolerance.judge(count, baseline))
                }
                (Some(_), None) => Verdict::New,
                (None, _) => Verdict::Gone,
            };
            Compared { name: name.clone(), count, baseline, verdict }
        };
        names.into_iter().map(compared).collect()
    }
}

impl Toolchain {
    const KEYS: [&str; 4] = ["compiler", "valgrind", "library", "processor"];

    const fn values(&self) -> [&String; 4] {
        [&self.compiler, &self.valgrind, &self.library, &self.processor]
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [compiler, valgrind, library, processor] = self.values();
        write!(formatter, "{compiler}, {valgrind}, {library}, {processor}")
    }
}

impl Tolerance {
    const fn judge(self, count: u64, baseline: u64) -> Verdict {
        let share = baseline * self.percent / 100;
        let allowed = if share > self.hundredths { share } else { self.hundredths };
        if count > baseline + allowed {
            Verdict::Worse
        } else if count + allowed < baseline {
            Verdict::Better
        } else {
            Verdict::Good
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} % or {} instructions", self.percent, Hundredths(self.hundredths))
    }
}

/// The file that [`Baseline::parse`] reads.
impl fmt::Display for Baseline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "# Instructions of one operation, as callgrind counts them. Checked by the suite `counts`, or"
        )?;
        writeln!(formatter, "# `cargo run --release -p counts -- check`; written anew by `... -- bless`.")?;
        for (key, value) in Toolchain::KEYS.into_iter().zip(self.toolchain.values()) {
            writeln!(formatter, "{key} {value}")?;
        }
        self.counts.iter().try_for_each(|(name, count)| writeln!(formatter, "{name} {}", Hundredths(*count)))
    }
}

/// A count as people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hundredths(pub u64);

impl fmt::Display for Hundredths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

fn is_comment(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// `35.00` as 3500.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, parts) = text.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if parts.len() != 2 || !digits(parts) || !digits(whole) {
        return None;
    }
    let (whole, parts): (u64, u64) = (whole.parse().ok()?, parts.parse().ok()?);
    whole.checked_mul(100)?.checked_add(parts)
}

#[cfg(test)]
mod tests;
