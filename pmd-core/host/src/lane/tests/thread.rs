//! A lane on its own thread: waiting, sleeping, waking, awaiting, ending.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Wake},
    thread::{self, Thread},
};

use super::*;
use crate::{
    lane::{Attention, Idle, LaneError},
    transfer::{CancelOutcome, LaneFault, RouteFault, TransferError},
};

fn spawn(idle: Idle) -> (Net, Lane, Route) {
    let net = Net::default();
    let lane = Lane::spawn(net.device(sleep), LaneConfig { idle, ..short_grace() }).unwrap();
    let route = lane.open_route(RouteConfig::default()).unwrap();
    route.connect(route.addresses(), &ConnectOptions::default()).unwrap();
    (net, lane, route)
}

#[test]
fn submissions_from_many_threads_are_all_done() {
    for idle in [Idle::Yield, Idle::Park] {
        let (net, lane, route) = spawn(idle);
        thread::scope(|scope| {
            for base in 0..4 {
                let route = route.clone();
                scope.spawn(move || {
                    let work = list_at(base << 32, 10, 16);
                    for _ in 0..100 {
                        let mut transfer =
                            route.submit_waiting(&work, TransferOptions::default(), soon()).unwrap();
                        assert_eq!(transfer.wait(soon()), Ok(Outcome { bytes: 160 }));
                    }
                });
            }
        });
        assert_eq!(lane.counters().transfers, 400);
        assert_eq!(net.posts(0).len(), 4000);
    }
}

/// Without the longest sleep to help: a lost wake-up would be a time-out.
#[test]
fn no_wake_up_is_lost_between_short_sleeps() {
    let net = Net::default();
    let config = LaneConfig { longest_park: Duration::from_secs(600), ..LaneConfig::default() };
    let lane = Lane::spawn(net.device(sleep), config).unwrap();
    let route = lane.open_route(RouteConfig::default()).unwrap();
    route.connect(route.addresses(), &ConnectOptions::default()).unwrap();
    let work = list(1);
    for round in 0..10_000_u32 {
        let mut transfer = submit(&route, &work);
        assert_eq!(transfer.wait(soon()), Ok(Outcome { bytes: 16 }), "round {round}");
        for _ in 0..round % 64 {
            std::hint::spin_loop();
        }
    }
    assert_eq!(lane.counters().transfers, 10_000);
}

#[test]
fn a_command_that_came_before_keeps_the_lane_awake() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    // The lane is awake when this is pushed, so that nobody wakes it.
    let transfer = submit(&route, &list(1));
    rig.driver.park(Duration::from_millis(1));
    assert_eq!(rig.lane.counters().parks, 0);
    assert!(rig.finish(&transfer).is_ok());
    rig.driver.park(Duration::from_millis(1));
    assert_eq!(rig.lane.counters().parks, 1);
}

#[test]
fn a_flag_wakes_a_lane_that_sleeps_and_keeps_one_that_is_about_to() {
    let waker = Waker::new().unwrap();
    let attention = Attention::new(waker.clone());
    attention.raise();
    assert!(attention.is_raised() && waker.0.read().is_err(), "awake: nothing to wake");
    assert!(attention.take() && !attention.take());
    attention.parking().announce();
    attention.raise();
    assert_eq!(waker.0.read(), Ok(1));
    attention.parking().resume();
    assert!(attention.take());
}

#[test]
fn an_idle_lane_sleeps_and_a_cancel_wakes_it() {
    let (net, lane, route) = spawn(Idle::Park);
    net.script(0, |script| script.frozen = true);
    let mut transfer = submit(&route, &list(5));
    let parks = lane.counters().parks;
    while lane.counters().parks < parks + 2 {
        thread::yield_now();
    }
    assert_eq!(transfer.cancel(), CancelOutcome::Cancelled);
    assert_eq!(route.fault(), Some(RouteFault::Unresponsive));
}

#[test]
fn a_transfer_can_be_awaited() {
    let (_, _lane, route) = spawn(Idle::Park);
    let work = list(100);
    for _ in 0..100 {
        assert_eq!(block_on(submit(&route, &work)), Ok(Outcome { bytes: 1600 }));
    }
}

#[test]
fn the_lane_ends_with_its_last_handle() {
    let (net, lane, route) = spawn(Idle::Park);
    drop(lane);
    let mut transfer = submit(&route, &list(1));
    assert!(transfer.wait(soon()).is_ok());
    drop(transfer);
    assert!(!net.with(0, |device| device.dropped));
    drop(route);
    assert!(net.with(0, |device| device.dropped), "joined, and the back end is gone");
}

#[test]
fn shutdown_fails_what_is_outstanding() {
    let (net, lane, route) = spawn(Idle::Park);
    net.script(0, |script| script.frozen = true);
    let mut transfer = submit(&route, &list(10));
    lane.shutdown();
    let error = TransferError::LaneEnded { fault: LaneFault::Shutdown };
    assert_eq!(transfer.wait(soon()), Err(WaitError::Failed(error)));
    assert_eq!(lane.fault(), Some(LaneFault::Shutdown));
    assert!(matches!(
        route.connect(&[], &ConnectOptions::default()),
        Err(crate::lane::RouteError::LaneEnded(_))
    ));
    assert!(route.close().is_ok());
}

/// Threads that submit while the lane ends get an outcome or a refusal, never silence.
#[test]
fn nobody_waits_for_ever_when_the_lane_ends() {
    for _ in 0..20 {
        let (_, lane, route) = spawn(Idle::Park);
        thread::scope(|scope| {
            for _ in 0..3 {
                let route = route.clone();
                scope.spawn(move || {
                    let work = list(3);
                    while let Ok(mut transfer) =
                        route.submit_waiting(&work, TransferOptions::default(), soon())
                    {
                        assert_ne!(transfer.wait(soon()), Err(WaitError::Timeout));
                    }
                });
            }
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(1));
                lane.shutdown();
            });
        });
    }
}

#[test]
fn a_core_that_does_not_exist_is_an_error() {
    let net = Net::default();
    let config = LaneConfig { core: Some(1023), ..LaneConfig::default() };
    let error = Lane::spawn(net.device(sleep), config).unwrap_err();
    assert!(matches!(error, LaneError::Pin { core: 1023, .. }), "{error}");
}

#[test]
fn a_lane_keeps_to_the_cores_that_it_is_given() {
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let core = (0..1024).find(|core| allowed.is_set(*core).unwrap()).unwrap();
    let spawn = |name: &str, core, cores: &[usize]| {
        let config = LaneConfig { name: name.to_owned(), core, ..LaneConfig::default() };
        Lane::spawn_on(Net::default().device(sleep), config, cores)
    };
    let _kept = spawn("kept-lane", None, &[core]).unwrap();
    let _named = spawn("named-lane", Some(core), &[1023]).unwrap();
    for lane in ["kept-lane", "named-lane"] {
        assert_eq!(allowed_list(lane), core.to_string());
    }
    for cores in [[1023], [1 << 20]] {
        let error = spawn("lost-lane", None, &cores).unwrap_err();
        assert!(matches!(error, LaneError::Pin { core, .. } if core == cores[0]), "{error}");
    }
}

/// Cores that the thread of this name may run on, as the kernel lists them.
fn allowed_list(thread: &str) -> String {
    let task = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == thread)
    };
    let path = task.into_iter().find(named).expect("a thread of this name");
    let status = std::fs::read_to_string(path.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    line.trim().to_owned()
}

#[test]
fn a_panic_in_the_back_end_fails_waiters_on_other_threads() {
    let (net, _lane, route) = spawn(Idle::Park);
    net.script(0, |script| script.frozen = true);
    let mut transfer = submit(&route, &list(10));
    net.script(0, |script| script.panic_in_poll = true);
    let error = TransferError::LaneEnded { fault: LaneFault::Panicked };
    assert_eq!(transfer.wait(soon()), Err(WaitError::Failed(error)));
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park_timeout(Duration::from_secs(20));
    }
}
