//! `pmd info`: what is on this machine. Absence is information, so this command does not fail.
//!
//! ```text
//!  rdma          devices, ports, GIDs          pmd-sys lists, sysfs tells the rest
//!  libraries     found or missing, package     pmd-sys and the accelerators' probes
//!  soft          what the soft HCA may use     memfd, huge pages, process_vm_readv, cores
//!  accelerators  CUDA, ROCm, Ascend            the accelerators' probes
//!  topology      what is near what             pmd-host reads sysfs
//! ```

use clap::Args;
use serde::Serialize;

use crate::outcome::{self, Outcome};

mod accelerators;
mod human;
mod libraries;
mod rdma;
mod soft;
mod topology;

/// Arguments of `pmd info`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Everything that is known; also the JSON object.
#[derive(Debug, Serialize)]
struct Report {
    op: &'static str,
    version: &'static str,
    rdma: rdma::Rdma,
    libraries: Vec<libraries::Library>,
    soft: soft::Soft,
    accelerators: Vec<accelerators::Accelerator>,
    topology: topology::Report,
}

/// Looks and prints.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let accelerators = accelerators::probe();
    let report = Report {
        op: "info",
        version: env!("CARGO_PKG_VERSION"),
        rdma: rdma::probe(),
        libraries: libraries::probe(&accelerators),
        soft: soft::probe(),
        topology: topology::describe(&pmd_host::topology::Topology::of_host(), &accelerators),
        accelerators,
    };
    if arguments.json {
        outcome::print_json(&report);
    } else {
        outcome::print(&human::table(&report));
    }
    Outcome::Done
}
