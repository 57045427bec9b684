//! A strict parser of Prometheus' text format, version 0.0.4: what is not as the format and its conventions say is an
//! error, although a scraper would take much of it.

use std::collections::{BTreeMap, BTreeSet};

/// Labels in the order of their names.
pub(super) type Labels = BTreeMap<String, String>;

/// A family as it was read.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) help: String,
    pub(super) kind: String,
    /// Name, labels, value.
    pub(super) samples: Vec<(String, Labels, f64)>,
}

/// A page as it was read.
#[derive(Debug, Default)]
pub(super) struct Parsed(pub(super) BTreeMap<String, Family>);

impl Parsed {
    /// The value of the one sample of this name that has these labels among its own.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has =
            |of: &Labels| labels.iter().all(|(name, value)| of.get(*name).is_some_and(|of| of == value));
        let all = self.0.values().flat_map(|family| &family.samples);
        let found: Vec<f64> =
            all.filter(|(of, with, _)| of == name && has(with)).map(|(.., value)| *value).collect();
        assert_eq!(found.len(), 1, "samples of {name} with {labels:?}");
        found[0]
    }
}

/// Reads a page.
pub(super) fn parse(text: &str) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut current = None;
    let lines = text.strip_suffix('\n').ok_or("the last line does not end")?;
    for line in lines.split('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("help without a text")?;
            check_name(name)?;
            let family = Family { help: unescape(help, false)?, kind: String::new(), samples: Vec::new() };
            if parsed.0.insert(name.to_owned(), family).is_some() {
                return Err(format!("{name} is there twice"));
            }
            current = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("type without a kind")?;
            let family = parsed.0.get_mut(name).filter(|_| current.as_deref() == Some(name));
            let family = family.filter(|family| family.kind.is_empty() && family.samples.is_empty());
            family.ok_or("a type that does not follow its help")?.kind = kind.to_owned();
        } else {
            let (name, labels, value) = sample(line)?;
            let family_name = current.as_deref().ok_or("a sample without a family")?;
            let family = parsed.0.get_mut(family_name).ok_or("a sample without a family")?;
            belongs(family_name, &family.kind, &name)?;
            family.samples.push((name, labels, value));
        }
    }
    parsed.0.iter().try_for_each(|(name, family)| check(name, family))?;
    Ok(parsed)
}

fn belongs(family: &str, kind: &str, sample: &str) -> Result<(), String> {
    let right = match (kind, sample.strip_prefix(family)) {
        ("histogram", Some(suffix)) => ["_bucket", "_sum", "_count"].contains(&suffix),
        ("counter" | "gauge", Some(suffix)) => suffix.is_empty(),
        _ => false,
    };
    if right { Ok(()) } else { Err(format!("{sample} is not of the {kind} {family}")) }
}

/// `name{label="value",...} value`, with nothing optional but the labels.
fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let end = line.find(['{', ' ']).ok_or_else(|| format!("no sample: {line:?}"))?;
    let (name, mut rest) = line.split_at(end);
    check_name(name)?;
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value, after) = one_label(rest)?;
            if labels.insert(label.clone(), value).is_some() {
                return Err(format!("label {label} is there twice"));
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}').ok_or("labels do not end")?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    Ok((name.to_owned(), labels, number(value)?))
}

fn one_label(text: &str) -> Result<(String, String, &str), String> {
    let (name, rest) = text.split_once("=\"").ok_or("a label without a value")?;
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !name.chars().all(plain) {
        return Err(format!("{name:?} is no name of a label"));
    }
    let mut escaped = false;
    for (index, character) in rest.char_indices() {
        match character {
            '"' if !escaped => {
                return Ok((name.to_owned(), unescape(&rest[..index], true)?, &rest[index + 1..]));
            }
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    Err("the value of a label does not end".into())
}

fn unescape(text: &str, quoted: bool) -> Result<String, String> {
    let (mut plain, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        plain.push(match (character, quoted) {
            ('\\', _) => match characters.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quoted => '"',
                other => return Err(format!("{other:?} is not escaped in {text:?}")),
            },
            ('"', true) | ('\r', _) => return Err(format!("a bare {character:?} in {text:?}")),
            _ => character,
        });
    }
    Ok(plain)
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte)) => {
            text.parse().map_err(|_| format!("{text:?} is no number"))
        }
        _ => Err(format!("{text:?} is no number")),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let right = !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit());
    if right && name.chars().all(plain) { Ok(()) } else { Err(format!("{name:?} is no name")) }
}

/// What the conventions ask of a whole family.
fn check(name: &str, family: &Family) -> Result<(), String> {
    if family.help.is_empty() {
        return Err(format!("{name} has no help"));
    }
    let mut seen = BTreeSet::new();
    for (sample, labels, value) in &family.samples {
        if !seen.insert((sample, labels)) {
            return Err(format!("{sample} with {labels:?} is there twice"));
        }
        if family.kind != "gauge" && (*value < 0.0 || value.is_nan()) {
            return Err(format!("{sample} is {value}"));
        }
    }
    match family.kind.as_str() {
        "counter" if name.ends_with("_total") => Ok(()),
        "gauge" if !name.ends_with("_total") => Ok(()),
        "histogram" => check_histogram(name, family),
        kind => Err(format!("{name} is a {kind}")),
    }
}

/// Buckets rise, the last one is `+Inf` and has the count.
fn check_histogram(name: &str, family: &Family) -> Result<(), String> {
    let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for (sample, labels, value) in &family.samples {
        let mut labels = labels.clone();
        match sample.strip_prefix(name) {
            Some("_bucket") => {
                let bound = number(&labels.remove("le").ok_or("a bucket without a bound")?)?;
                buckets.entry(labels).or_default().push((bound, *value));
            }
            Some("_count") => drop(counts.insert(labels, *value)),
            _ => {}
        }
    }
    if buckets.len() != counts.len() {
        return Err(format!("{name} has buckets or counts alone"));
    }
    for (labels, buckets) in &buckets {
        let rises = buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let last = buckets.last().map(|(bound, count)| (bound.is_infinite(), Some(count)));
        if !rises || last != Some((true, counts.get(labels))) {
            return Err(format!("buckets of {name} with {labels:?}: {buckets:?}"));
        }
    }
    Ok(())
}

#[test]
fn what_the_format_forbids_is_refused() {
    let wrong = [
        "# HELP a_total b\n# TYPE a_total counter\na_total 1",
        "a_total 1\n",
        "# HELP a b\n# TYPE a counter\na 1\n",
        "# HELP a_total b\n# TYPE a_total counter\na_total -1\n",
        "# HELP a b\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a b\n# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n",
        "# HELP a b\n# TYPE a gauge\na{x=\"1\"\"} 1\n",
        "# HELP a b\n# TYPE a gauge\na{x=\"\\t\"} 1\n",
        "# HELP a b\n# TYPE a gauge\na{1x=\"\"} 1\n",
        "# HELP a b\n# TYPE a gauge\na inf\n",
        "# HELP a b\n# TYPE a gauge\nb 1\n",
        "# HELP a b\n# TYPE a gauge\na  1\n",
        "# HELP a b\n# HELP c d\n# TYPE a gauge\n",
        "# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
        "# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
        "# HELP a b\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n",
    ];
    for text in wrong {
        assert!(parse(text).is_err(), "{text:?}");
    }
}
