//! Reads what the guest tells in lines of their own (see `verification/softroce/main`) out of all that it wrote.
//! Called by `softroce` with the output of a guest, or of the scripts on this machine.

use super::evidence::Evidence;

/// What was told of the work.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Transcript {
    /// The steps that ended, in order.
    pub(super) ended: Vec<Ended>,
    /// The step that had begun and not ended.
    pub(super) running: Option<String>,
    /// The exit code of the whole work.
    pub(super) exit: Option<u8>,
    /// Whether there were no devices to work with.
    pub(super) no_devices: bool,
}

/// A step that ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ended {
    /// Its name.
    pub(super) name: String,
    /// Whether its commands succeeded.
    pub(super) succeeded: bool,
    /// How long they took.
    pub(super) seconds: f64,
    /// What it saw of its faults.
    pub(super) evidence: Evidence,
}

/// A line that means something.
#[derive(Debug, Clone, PartialEq)]
enum Line<'a> {
    Start { name: &'a str },
    Evidence { statement: &'a str },
    Step { name: &'a str, succeeded: bool, seconds: f64 },
    Exit { code: u8 },
    NoDevices,
}

impl Transcript {
    /// Reads the output; lines that say nothing are what commands wrote.
    pub(super) fn read(output: &str) -> Self {
        let mut transcript = Self::default();
        let mut evidence = Evidence::default();
        for line in output.lines().filter_map(Line::parse) {
            match line {
                Line::Start { name } => {
                    transcript.running = Some(name.to_owned());
                    evidence = Evidence::default();
                }
                Line::Evidence { statement } => evidence.take(statement),
                Line::Step { name, succeeded, seconds } => {
                    transcript.running = None;
                    let (name, evidence) = (name.to_owned(), std::mem::take(&mut evidence));
                    transcript.ended.push(Ended { name, succeeded, seconds, evidence });
                }
                Line::Exit { code } => transcript.exit = Some(code),
                Line::NoDevices => transcript.no_devices = true,
            }
        }
        transcript
    }
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line == "NO DEVICES" {
            return Some(Self::NoDevices);
        }
        match line.split_once(' ')? {
            ("START", name) => Some(Self::Start { name }),
            ("EVIDENCE", statement) => Some(Self::Evidence { statement }),
            ("STEP", rest) => Self::parse_step(rest),
            ("EXIT", code) => Some(Self::Exit { code: code.parse().ok()? }),
            _ => None,
        }
    }

    fn parse_step(rest: &'a str) -> Option<Self> {
        let mut words = rest.split(' ');
        let name = words.next().filter(|name| !name.is_empty())?;
        let succeeded = match words.next()? {
            "ok" => true,
            "FAILED" => false,
            _ => return None,
        };
        let seconds = words.next()?.parse().ok()?;
        words.next().is_none().then_some(Self::Step { name, succeeded, seconds })
    }
}

/// Whether a line is for this reader rather than for people.
pub(super) fn is_told(line: &str) -> bool {
    Line::parse(line).is_some()
}

/// Whether the step succeeded whose end this line tells.
pub(super) fn succeeded(line: &str) -> Option<bool> {
    match Line::parse(line)? {
        Line::Step { succeeded, .. } => Some(succeeded),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_between_other_lines() {
        let transcript = Transcript::read(
            "noise\nSTART devices\nhca_id: rxe0\nSTEP devices ok 0.32\r\nSTART pingpong/rc\nSTEP pingpong/rc FAILED 10.05\n\
             EXIT 1\n",
        );
        let ended: Vec<_> =
            transcript.ended.iter().map(|step| (step.name.as_str(), step.succeeded, step.seconds)).collect();
        assert_eq!(ended, [("devices", true, 0.32), ("pingpong/rc", false, 10.05)]);
        assert_eq!((transcript.running, transcript.exit), (None, Some(1)));
    }

    #[test]
    fn a_step_that_did_not_end_is_known() {
        let transcript = Transcript::read("START a\nSTEP a ok 1.00\nSTART b\nsome output\n");
        assert_eq!(
            (transcript.ended.len(), transcript.running.as_deref(), transcript.exit),
            (1, Some("b"), None)
        );
    }

    #[test]
    fn evidence_belongs_to_its_step() {
        let transcript = Transcript::read(
            "START a\nEVIDENCE before counter rxe0 sent_pkts 1\nSTEP a ok 1.00\nSTART b\nSTEP b ok 1.00\n",
        );
        assert_ne!(transcript.ended[0].evidence, Evidence::default());
        assert_eq!(transcript.ended[1].evidence, Evidence::default());
    }

    #[test]
    fn mangled_lines_are_no_verdicts() {
        for line in [
            "STEP",
            "STEP a",
            "STEP a ok",
            "STEP a fine 1.00",
            "STEP a ok soon",
            "STEP a ok 1.00 more",
            "EXIT 256",
        ] {
            assert!(!is_told(line), "{line}");
        }
        assert_eq!(Transcript::read("STEP  ok 1.00\nEXIT \nxSTEP a ok 1.00\n"), Transcript::default());
    }

    #[test]
    fn missing_devices_are_told() {
        assert!(Transcript::read("RTNETLINK answers: Operation not permitted\nNO DEVICES\n").no_devices);
    }
}
