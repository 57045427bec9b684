//! Processes that find each other through etcd, which is killed and started again in the middle.
//!
//! ```text
//!  cases ---> server::Server      etcd on loopback, its data in a temporary folder; killed, started again, emptied
//!    |    ---> pmd_etcd, kv_api, af_api
//!    '------> this program again, as a process that publishes and is killed; the `kv` and `af` commands beside it
//! ```
//! The suite `membership` runs it. The output is that of libtest; etcd must be installed (Debian's `etcd-server`).

mod cases;
mod server;

use std::{process::ExitCode, thread};

use libtest_mimic::{Arguments, Trial};
use pmd_etcd::{Etcd, Options};
use pmd_host::metadata::Metadata;

/// The first argument of a process that publishes a name until it is killed.
const PUBLISH: &str = "publish";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(PUBLISH) {
        return publish(&arguments.collect::<Vec<_>>());
    }
    let trials = cases::ALL.iter().map(|(name, case)| {
        Trial::test(*name, || {
            case();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Publishes the second argument in the directory that the first one names.
fn publish(arguments: &[String]) -> ExitCode {
    let [url, name] = arguments else { return ExitCode::from(2) };
    let options = Options { lease: cases::LEASE, ..Options::default() };
    let Ok(etcd) = Etcd::open(url.parse().expect("a URL"), options) else { return ExitCode::FAILURE };
    let _held = etcd.publish(name, "a process").expect("a free name");
    println!("published");
    loop {
        thread::park();
    }
}
