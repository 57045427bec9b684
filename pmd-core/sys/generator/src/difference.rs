//! The lines in which two texts differ, for `--check`.

/// At most this many lines are printed: a change of headers moves many.
const LIMIT: usize = 200;

/// `-` lines are committed only, `+` lines generated only, after the common beginning and before the common end.
pub(crate) fn difference(committed: &str, generated: &str) -> String {
    let committed: Vec<&str> = committed.lines().collect();
    let generated: Vec<&str> = generated.lines().collect();
    let (start, end) =
        (common(committed.iter(), generated.iter()), common(committed.iter().rev(), generated.iter().rev()));
    let end = end.min(committed.len().min(generated.len()) - start);
    let removed = &committed[start..committed.len() - end];
    let added = &generated[start..generated.len() - end];
    let mut text = format!("@@ line {} @@\n", start + 1);
    for line in changed(removed, added).take(LIMIT) {
        text.push_str(&line);
    }
    text
}

fn changed<'a>(removed: &'a [&str], added: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    let gone = removed.iter().filter(|line| !added.contains(line));
    let come = added.iter().filter(|line| !removed.contains(line));
    gone.map(|line| format!("- {line}\n")).chain(come.map(|line| format!("+ {line}\n")))
}

/// How many items two sequences share from their beginning.
fn common<'a>(left: impl Iterator<Item = &'a &'a str>, right: impl Iterator<Item = &'a &'a str>) -> usize {
    left.zip(right).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn only_changed_lines_are_shown_with_their_place() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), "@@ line 2 @@\n- b\n+ x\n");
        assert_eq!(difference("a\na\n", "a\na\na\n"), "@@ line 3 @@\n+ a\n");
        assert_eq!(difference("", "a\n"), "@@ line 1 @@\n+ a\n");
    }

    #[test]
    fn a_long_difference_is_cut() {
        let generated: String = (0..1000).map(|line| format!("{line}\n")).collect();
        assert_eq!(difference("", &generated).lines().count(), 1 + super::LIMIT);
    }
}
