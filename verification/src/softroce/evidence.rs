//! Proof that faults happened: what soft-RoCE's counters (`hw_counters`) and netem's queues showed around a step.
//! Filled by `transcript`, judged by `verdict`.
//!
//! A step under netem that passes shows nothing if its packets took another way, or if too few were sent.

use std::collections::BTreeMap;

use serde_json::Value;

/// What netem does to packets, and what that must leave in the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Packets vanish.
    Loss,
    /// Packets overtake others.
    Reorder,
    /// Packets arrive twice.
    Duplicate,
    /// A bit changes; the receiver's checksum makes a loss of it, which no queue counts.
    Corrupt,
}

impl Fault {
    /// Whether some packets never arrive.
    pub(super) fn loses(self) -> bool {
        matches!(self, Self::Loss | Self::Corrupt)
    }

    /// Counters of which at least one must have risen, on one of the devices.
    fn traces(self) -> &'static [&'static str] {
        match self {
            Self::Loss | Self::Corrupt => &["out_of_seq_request", "rcvd_seq_err", "completer_retry_err"],
            Self::Reorder => &["out_of_seq_request"],
            Self::Duplicate => &["duplicate_request"],
        }
    }

    /// Whether the queues themselves drop packets; none if they may.
    fn drops(self) -> Option<bool> {
        match self {
            Self::Loss => Some(true),
            Self::Duplicate | Self::Corrupt => Some(false),
            Self::Reorder => None,
        }
    }
}

/// What a step reported of its faults.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Evidence {
    before: BTreeMap<String, u64>,
    after: BTreeMap<String, u64>,
    queues: BTreeMap<String, Queue>,
    undone: BTreeMap<String, Queue>,
}

/// A link's queue, as `tc -s -j qdisc show` describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Queue {
    is_netem: bool,
    packets: u64,
    drops: u64,
}

/// What the faults did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proof {
    /// Packets that went through netem.
    pub(super) packets: u64,
    /// Packets that netem dropped.
    pub(super) drops: u64,
    /// How far each trace of the fault rose, over both devices.
    pub(super) risen: Vec<(&'static str, u64)>,
}

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoProof {
    /// Links without netem, or no report of them.
    #[error("netem was not on both links")]
    NotApplied,
    /// Nothing went over the links.
    #[error("no packet went through netem")]
    NoPackets,
    /// netem should have dropped packets.
    #[error("netem dropped none of {packets} packets")]
    NoDrops {
        /// Packets that went through it.
        packets: u64,
    },
    /// netem should not have dropped packets.
    #[error("netem dropped {drops} packets that it should only have harmed")]
    Drops {
        /// The packets.
        drops: u64,
    },
    /// The devices noticed nothing.
    #[error("none of {} rose", traces.join(", "))]
    NoTrace {
        /// The counters.
        traces: &'static [&'static str],
    },
    /// netem is still there, or nobody looked.
    #[error("netem was not taken off both links")]
    NotUndone,
}

impl Evidence {
    /// Takes a statement: `PHASE counter DEVICE NAME VALUE` or `PHASE queue LINK JSON`. What is no statement is lost,
    /// and missed when proof is asked for.
    pub(super) fn take(&mut self, statement: &str) {
        let mut words = statement.splitn(4, ' ');
        let (Some(phase), Some(what), Some(place), Some(rest)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return;
        };
        match (phase, what) {
            ("before", "counter") => take_counter(&mut self.before, place, rest),
            ("after", "counter") => take_counter(&mut self.after, place, rest),
            ("after", "queue") => take_queue(&mut self.queues, place, rest),
            ("undone", "queue") => take_queue(&mut self.undone, place, rest),
            _ => {}
        }
    }

    /// Whether the fault happened to both links' packets, was noticed, and is over.
    pub(super) fn prove(&self, fault: Fault) -> Result<Proof, NoProof> {
        if self.queues.len() != 2 || !self.queues.values().all(|queue| queue.is_netem) {
            return Err(NoProof::NotApplied);
        }
        if self.undone.len() != 2 || self.undone.values().any(|queue| queue.is_netem) {
            return Err(NoProof::NotUndone);
        }
        let packets = self.queues.values().map(|queue| queue.packets).sum();
        let drops = self.queues.values().map(|queue| queue.drops).sum();
        let risen: Vec<_> = fault.traces().iter().map(|counter| (*counter, self.rise(counter))).collect();
        if packets == 0 {
            return Err(NoProof::NoPackets);
        }
        match fault.drops() {
            Some(true) if drops == 0 => return Err(NoProof::NoDrops { packets }),
            Some(false) if drops > 0 => return Err(NoProof::Drops { drops }),
            _ => {}
        }
        if risen.iter().all(|(_, by)| *by == 0) {
            return Err(NoProof::NoTrace { traces: fault.traces() });
        }
        Ok(Proof { packets, drops, risen })
    }

    /// How far a counter rose, over all devices.
    fn rise(&self, counter: &str) -> u64 {
        let of_counter = |name: &str| name.split_once(' ').is_some_and(|(_, name)| name == counter);
        let rise = |(name, after): (&String, &u64)| Some(after.saturating_sub(*self.before.get(name)?));
        self.after.iter().filter(|(name, _)| of_counter(name)).filter_map(rise).sum()
    }
}

impl std::fmt::Display for Proof {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} packets, {} dropped", self.packets, self.drops)?;
        self.risen.iter().try_for_each(|(counter, by)| write!(formatter, ", {counter} +{by}"))
    }
}

fn take_counter(counters: &mut BTreeMap<String, u64>, device: &str, rest: &str) {
    if let Some((name, Ok(value))) = rest.split_once(' ').map(|(name, value)| (name, value.parse())) {
        counters.insert(format!("{device} {name}"), value);
    }
}

fn take_queue(queues: &mut BTreeMap<String, Queue>, link: &str, json: &str) {
    let Ok(Value::Array(found)) = serde_json::from_str(json) else { return };
    // A link without a queue of its own has none, or one of kind noqueue.
    let queue = found.first().map(|queue| Queue {
        is_netem: queue["kind"] == "netem",
        packets: queue["packets"].as_u64().unwrap_or(0),
        drops: queue["drops"].as_u64().unwrap_or(0),
    });
    queues.insert(link.to_owned(), queue.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTS: [Fault; 4] = [Fault::Loss, Fault::Reorder, Fault::Duplicate, Fault::Corrupt];

    /// Evidence of two links with netem and these figures; the counter rises by `rise` on the second device.
    fn evidence(packets: u64, drops: u64, counter: &str, rise: u64) -> Evidence {
        let mut evidence = Evidence::default();
        for (phase, value) in [("before", 5), ("after", 5 + rise)] {
            evidence.take(&format!("{phase} counter rxe0 {counter} 7"));
            evidence.take(&format!("{phase} counter rxe1 {counter} {value}"));
        }
        for link in ["roce0", "roce1"] {
            let figures = format!("\"packets\":{packets},\"drops\":{drops}");
            evidence.take(&format!(
                "after queue {link} [{{\"kind\":\"netem\",\"root\":true,\"options\":{{\"limit\":1000}},{figures}}}]"
            ));
            evidence
                .take(&format!("undone queue {link} [{{\"kind\":\"noqueue\",\"packets\":0,\"drops\":0}}]"));
        }
        evidence
    }

    #[test]
    fn each_fault_is_proven_by_its_own_traces() {
        assert_eq!(
            evidence(1000, 6, "completer_retry_err", 3).prove(Fault::Loss).map(|proof| proof.to_string()),
            Ok("2000 packets, 12 dropped, out_of_seq_request +0, rcvd_seq_err +0, completer_retry_err +3"
                .to_owned())
        );
        assert!(evidence(1000, 0, "completer_retry_err", 3).prove(Fault::Corrupt).is_ok());
        assert!(evidence(1000, 0, "out_of_seq_request", 3).prove(Fault::Reorder).is_ok());
        assert!(evidence(1000, 0, "duplicate_request", 3).prove(Fault::Duplicate).is_ok());
    }

    #[test]
    fn a_fault_of_another_kind_proves_nothing() {
        assert_eq!(
            evidence(1000, 0, "completer_retry_err", 3).prove(Fault::Loss),
            Err(NoProof::NoDrops { packets: 2000 })
        );
        assert_eq!(
            evidence(1000, 1, "completer_retry_err", 3).prove(Fault::Corrupt),
            Err(NoProof::Drops { drops: 2 })
        );
        assert!(matches!(
            evidence(1000, 0, "out_of_seq_request", 3).prove(Fault::Duplicate),
            Err(NoProof::NoTrace { .. })
        ));
    }

    #[test]
    fn counters_that_stand_still_prove_nothing() {
        for fault in FAULTS {
            let drops = u64::from(fault == Fault::Loss);
            let proof = evidence(1000, drops, "out_of_seq_request", 0).prove(fault);
            assert_eq!(proof, Err(NoProof::NoTrace { traces: fault.traces() }), "{fault:?}");
        }
    }

    #[test]
    fn packets_must_have_gone_through_netem() {
        assert_eq!(evidence(0, 0, "out_of_seq_request", 3).prove(Fault::Reorder), Err(NoProof::NoPackets));
        assert_eq!(Evidence::default().prove(Fault::Loss), Err(NoProof::NotApplied));
        let mut other = evidence(1000, 1, "out_of_seq_request", 3);
        other.take("after queue roce1 [{\"kind\":\"noqueue\",\"packets\":1000,\"drops\":0}]");
        assert_eq!(other.prove(Fault::Loss), Err(NoProof::NotApplied));
    }

    #[test]
    fn faults_must_be_undone() {
        let mut harmed = evidence(1000, 1, "out_of_seq_request", 3);
        harmed.take("undone queue roce1 [{\"kind\":\"netem\",\"packets\":1000,\"drops\":0}]");
        assert_eq!(harmed.prove(Fault::Loss), Err(NoProof::NotUndone));
    }

    #[test]
    fn statements_that_make_no_sense_are_not_evidence() {
        let mut evidence = Evidence::default();
        for statement in [
            "",
            "before",
            "before counter rxe0",
            "before counter rxe0 sent_pkts many",
            "after queue roce0 {",
            "later counter a b 1",
        ] {
            evidence.take(statement);
        }
        assert_eq!(evidence, Evidence::default());
    }
}
