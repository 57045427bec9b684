//! Runs `ip` under a bound on its time. Called by the network for everything that it asks of the kernel.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::NetworkError;

/// Longest that one command may take; it waits for a lock of the kernel's.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `ip` with these arguments says.
pub(super) fn ip(arguments: &[&str]) -> Result<String, NetworkError> {
    let command = format!("ip {}", arguments.join(" "));
    let failed = |source| NetworkError::NoProgram { program: "ip", source };
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    // It says less than a pipe holds.
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() > deadline {
            // Both fail only for one that has just ended.
            let _ = child.kill();
            let _ = child.wait();
            return Err(NetworkError::Slow { command, patience: PATIENCE });
        }
        thread::sleep(Duration::from_micros(500));
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NetworkError::Refused { command, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ip_refuses_is_told_with_the_command() {
        let refused = ip(&["link", "show", "dev", "no-such-dev"]).expect_err("there is no such device");
        let said = refused.to_string();
        assert!(
            said.starts_with("ip link show dev no-such-dev: ") && said.contains("does not exist"),
            "{said}"
        );
    }
}
