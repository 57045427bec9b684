//! What each planned step came to: its own exit code, and for faults the proof that they happened.
//! Called by `softroce` with a plan and the transcript of its run.

use super::evidence::{NoProof, Proof};
use super::plan::Step;
use super::transcript::{Ended, Transcript};
use crate::count::Tally;

/// What a step came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    /// The step's name.
    pub(super) name: String,
    /// How long it took; proof, if its plan asks for it.
    pub(super) outcome: Result<(f64, Option<Proof>), Reason>,
}

/// Why a step did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    /// A command of the step failed, or took too long.
    #[error("a command failed or took too long")]
    Failed,
    /// The step passed, and shows nothing.
    #[error("no proof of its faults: {0}")]
    NoProof(#[from] NoProof),
    /// The guest ended while the step ran.
    #[error("the guest ended while it ran")]
    Interrupted,
    /// The guest ended before the step began.
    #[error("the guest ended before it began")]
    NotReached,
}

/// The verdicts on all steps of a plan.
pub(super) fn judge(plan: &[Step], transcript: &Transcript) -> Vec<Verdict> {
    let outcome = |step: &Step| match transcript.ended.iter().find(|ended| ended.name == step.name) {
        Some(ended) => judge_step(step, ended),
        None if transcript.running.as_ref() == Some(&step.name) => Err(Reason::Interrupted),
        None => Err(Reason::NotReached),
    };
    plan.iter().map(|step| Verdict { name: step.name.clone(), outcome: outcome(step) }).collect()
}

fn judge_step(step: &Step, ended: &Ended) -> Result<(f64, Option<Proof>), Reason> {
    if !ended.succeeded {
        return Err(Reason::Failed);
    }
    let proof = step.fault.map(|fault| ended.evidence.prove(fault)).transpose()?;
    Ok((ended.seconds, proof))
}

/// The verdicts on steps that two guests took together: both must have passed.
pub(super) fn join(first: Vec<Verdict>, second: Vec<Verdict>) -> Vec<Verdict> {
    let both = |(first, second): (Verdict, Verdict)| match first.outcome {
        Ok(_) => second,
        Err(_) => first,
    };
    first.into_iter().zip(second).map(both).collect()
}

/// Counts verdicts.
pub(super) fn tally(verdicts: &[Verdict]) -> Tally {
    let passed = verdicts.iter().filter(|verdict| verdict.outcome.is_ok()).count();
    Tally { passed, failed: verdicts.len() - passed, ignored: 0 }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.outcome {
            Ok((seconds, None)) => write!(formatter, "ok      {} ({seconds:.1} s)", self.name),
            Ok((seconds, Some(proof))) => {
                write!(formatter, "ok      {} ({seconds:.1} s): {proof}", self.name)
            }
            Err(reason) => write!(formatter, "FAILED  {}: {reason}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::evidence::Fault;
    use super::*;

    fn step(name: &str, fault: Option<Fault>) -> Step {
        Step { name: name.to_owned(), limit: Duration::from_secs(1), script: String::new(), fault }
    }

    #[test]
    fn every_planned_step_gets_a_verdict() {
        let plan = [step("a", None), step("b", None), step("c", None), step("d", None)];
        let transcript = Transcript::read("START a\nSTEP a ok 1.50\nSTART b\nSTEP b FAILED 0.10\nSTART c\n");
        let verdicts = judge(&plan, &transcript);
        let outcomes: Vec<_> = verdicts.iter().map(|verdict| verdict.outcome.clone()).collect();
        assert_eq!(
            outcomes,
            [Ok((1.5, None)), Err(Reason::Failed), Err(Reason::Interrupted), Err(Reason::NotReached)]
        );
        assert_eq!(tally(&verdicts), Tally { passed: 1, failed: 3, ignored: 0 });
    }

    #[test]
    fn a_step_that_was_not_planned_counts_for_nothing() {
        assert_eq!(judge(&[], &Transcript::read("START a\nSTEP a ok 1.50\n")), []);
    }

    #[test]
    fn a_step_under_faults_needs_proof() {
        let verdicts = judge(&[step("a", Some(Fault::Loss))], &Transcript::read("START a\nSTEP a ok 1.50\n"));
        assert_eq!(verdicts[0].outcome, Err(Reason::NoProof(NoProof::NotApplied)));
        assert_eq!(verdicts[0].to_string(), "FAILED  a: no proof of its faults: netem was not on both links");
    }

    #[test]
    fn two_guests_pass_together() {
        let verdict = |outcome| vec![Verdict { name: "a".to_owned(), outcome }];
        let (passed, failed) = (verdict(Ok((1.0, None))), verdict(Err(Reason::Failed)));
        assert_eq!(join(passed.clone(), passed.clone()), passed);
        assert_eq!(join(passed.clone(), failed.clone()), failed);
        assert_eq!(join(failed.clone(), passed), failed);
    }
}
