//! Lanes on a back end in memory.
mod fake;
mod fault;
mod message;
mod post;
mod priority;
mod rider;
mod stop;
mod thread;
mod trace;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};

use self::fake::{Fake, Net};
use super::{Lane, LaneConfig, LaneDriver, Route, RouteConfig};
use crate as host;
use crate::{
    backend::{ConnectOptions, QueuePairConfig, Waker},
    transfer::{
        Direction, LocalPiece, Outcome, Transfer, TransferOptions, WaitError, WorkList, WorkListBuilder,
        WorkListLimits,
    },
};

/// A lane that the test drives.
struct Rig {
    net: Net,
    driver: LaneDriver<Fake>,
    lane: Lane,
}

/// Long enough for anything that is going to happen.
fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(20))
}

/// Sleeps on the waker's descriptor, as a back end does.
fn sleep(waker: &Waker, timeout: Duration) {
    use std::os::fd::AsFd;
    let timeout = nix::poll::PollTimeout::try_from(timeout).unwrap_or(nix::poll::PollTimeout::MAX);
    let mut descriptors = [nix::poll::PollFd::new(waker.0.as_fd(), nix::poll::PollFlags::POLLIN)];
    let _ = nix::poll::poll(&mut descriptors, timeout);
    let _ = waker.0.read();
}

/// A list of `count` pieces of `length` bytes that do not merge; piece `i` is at remote address `base + 2 * i * length`.
fn list_at(base: u64, count: u64, length: u64) -> Arc<WorkList> {
    let mut builder = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
    for piece in 0..count {
        let local = LocalPiece { address: 0x10_0000 + 2 * piece * length, length, key: LocalKey(1) };
        builder.push(local, RemoteAddress { address: base + 2 * piece * length, key: RemoteKey(2) });
    }
    Arc::new(builder.finish())
}

fn list(count: u64) -> Arc<WorkList> {
    list_at(0x100, count, 16)
}

fn short_grace() -> LaneConfig {
    LaneConfig { grace: Duration::from_millis(20), ..LaneConfig::default() }
}

impl Rig {
    fn new(config: LaneConfig) -> Self {
        let net = Net::default();
        let (driver, lane) = LaneDriver::new(net.device(sleep), config);
        Self { net, driver, lane }
    }

    /// A route to itself: enough for one-sided work.
    fn route(&mut self, queue_pairs: usize) -> Route {
        self.route_with(RouteConfig { queue_pairs, ..RouteConfig::default() })
    }

    fn route_with_slots(&mut self, send_slots: u32) -> Route {
        let config = QueuePairConfig { send_slots, ..QueuePairConfig::default() };
        self.route_with(RouteConfig { config, ..RouteConfig::default() })
    }

    fn route_with(&mut self, config: RouteConfig) -> Route {
        let route = self.driver.open_route(&self.lane, config).unwrap();
        let addresses = route.addresses().to_vec();
        self.driver.connect(&route, &addresses, &ConnectOptions::default()).unwrap();
        route
    }

    fn finish(&mut self, transfer: &Transfer) -> Result<Outcome, WaitError> {
        self.driver.run_until(transfer, soon())
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.driver.turn();
        }
    }
}

fn submit(route: &Route, work: &Arc<WorkList>) -> Transfer {
    route.submit(work, TransferOptions::default()).unwrap()
}
