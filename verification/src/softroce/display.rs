//! Shows what guests write to people at the command line. Called by `softroce` for each line.

use super::transcript::{is_told, succeeded};

/// Shows everything, or only what steps wrote that failed.
#[derive(Debug)]
pub(super) struct Display {
    all: bool,
    kept: Vec<String>,
}

impl Display {
    /// A display of everything, or of failures.
    pub(super) fn new(all: bool) -> Self {
        Self { all, kept: Vec::new() }
    }

    /// Hears a line; shows it, keeps it, or shows what was kept.
    pub(super) fn hear(&mut self, line: &str, show: &mut dyn FnMut(&str)) {
        match succeeded(line) {
            Some(true) => self.kept.clear(),
            Some(false) => self.kept.drain(..).for_each(|line| show(&line)),
            None if is_told(line) => {}
            None if self.all => show(line),
            None => self.kept.push(line.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(all: bool) -> Vec<String> {
        let mut shown = Vec::new();
        let mut display = Display::new(all);
        for line in ["START a", "fine", "STEP a ok 1.00", "START b", "broken", "STEP b FAILED 1.00", "EXIT 1"]
        {
            display.hear(line, &mut |line| shown.push(line.to_owned()));
        }
        shown
    }

    #[test]
    fn only_failed_steps_are_shown_unless_asked_to() {
        assert_eq!(shown(false), ["broken"]);
        assert_eq!(shown(true), ["fine", "broken"]);
    }
}
