//! The examples that have both of their engines in one process, as users run them.

use std::{
    env,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs an example, which cargo has built beside this test's folder, to its end, which comes in time or by force.
fn run(name: &str, variables: &[(&str, &str)]) -> Output {
    let test = env::current_exe().expect("the test's path");
    let example = test.ancestors().nth(2).expect("a target folder").join("examples").join(name);
    assert!(example.exists(), "{} is not built: cargo build -p kv-api --examples", example.display());
    let mut command = Command::new(example);
    command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("a child").is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    // It may have ended.
    let _ = child.kill();
    child.wait_with_output().expect("a child")
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn two_engines() {
    assert_eq!(lines(&run("two_engines", &[])), ["244 blocks, 17989632 bytes over shm"]);
}

#[test]
fn layer_by_layer() {
    let expected: Vec<String> = (0..8).map(|layer| format!("layer {layer} is here")).collect();
    assert_eq!(lines(&run("layer_by_layer", &[])), expected);
}

#[test]
fn examples_hear_the_environment() {
    let output = run("two_engines", &[("PMD_TRANSPORT", "carrier-pigeon")]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("PMD_TRANSPORT") && complaint.contains("carrier-pigeon"), "{complaint}");
}
