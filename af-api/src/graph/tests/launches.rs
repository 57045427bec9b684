//! What is known of launches.

use std::time::{Duration, Instant};

use crate::graph::{LaunchError, LaunchFailure, Launches};

#[test]
fn each_failure_is_told_once_and_kept_for_who_asks_by_number() {
    let launches = Launches::new();
    assert_eq!(launches.check(), Ok(0));
    for outcome in [Ok(()), Err("late"), Ok(()), Err("gone")] {
        launches.note(outcome);
    }
    assert_eq!((launches.ended(), launches.failed()), (4, 2));
    assert_eq!(launches.check(), Err(LaunchFailure { launch: 2, cause: "late" }));
    assert_eq!(launches.check().unwrap_err().to_string(), "launch 4: gone");
    assert_eq!(launches.check(), Ok(4));
    assert_eq!(launches.wait(3, None), Ok(()));
    let late = LaunchFailure { launch: 2, cause: "late" };
    assert_eq!(launches.wait(2, None), Err(LaunchError::Failed(late)));
    let soon = Some(Instant::now() + Duration::from_millis(1));
    assert_eq!(launches.wait(5, soon), Err(LaunchError::Timeout { ended: 4 }));
}

#[test]
fn a_launch_that_may_have_failed_long_ago_is_not_called_good() {
    let launches = Launches::new();
    (0..70).for_each(|_| launches.note(Err("gone")));
    assert_eq!(launches.wait(6, None), Err(LaunchError::Forgotten { launch: 6 }));
    assert_eq!(launches.wait(7, None), Err(LaunchError::Failed(LaunchFailure { launch: 7, cause: "gone" })));
    assert_eq!(launches.check().unwrap_err().launch, 7);
    assert_eq!((launches.ended(), launches.failed()), (70, 70));
    launches.note(Ok(()));
    assert_eq!(launches.wait(71, None), Ok(()));
}
