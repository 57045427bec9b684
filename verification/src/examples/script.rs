//! An example as a script for the shell: the same here, on a simulated device, and in the guest. Pure.

use super::{Device, Runnable};

/// Runs both processes at once; both must end well, and write between them what they should.
///
/// The first process is ended where the second fails, since it may wait for what will not come.
pub(crate) fn script(runnable: &Runnable, device: Device, port: u16) -> String {
    let calls = runnable.commands.iter().zip(runnable.example.calls);
    let calls: Vec<String> = calls.map(|(command, call)| format!("{command} {}", fill(call, port))).collect();
    // Within the host the stand-in's streams move its memory. A NIC would by a dma-buf, which it has not: there the memory
    // is registered as if it were the host's, which a stand-in's can be.
    let memory = match device {
        Device::SharedMemory => ("PMD_ACCELERATORS", "fake-ascend:0"),
        _ => ("FAKE_DEVICE_TOUCH", "allow"),
    };
    let memory = runnable.is_on_accelerator().then_some(memory);
    let mut lines: Vec<String> = device
        .environment()
        .iter()
        .chain(&memory)
        .map(|(name, value)| format!("export {name}={value}"))
        .chain(["written=$(mktemp -d)", "trap 'rm -r \"$written\"' EXIT", "code=0"].map(str::to_owned))
        .collect();
    match &calls[..] {
        [first, second] => lines.extend([
            format!("{first} >\"$written/output\" 2>&1 &"),
            "other=$!".to_owned(),
            format!("{second} >\"$written/second\" 2>&1 || code=$?"),
            "[ $code -eq 0 ] || kill $other 2>/dev/null || :".to_owned(),
            "wait $other || code=$?".to_owned(),
            "cat \"$written/second\" >>\"$written/output\"".to_owned(),
        ]),
        calls => {
            lines.extend(calls.iter().map(|call| format!("{call} >\"$written/output\" 2>&1 || code=$?")))
        }
    }
    lines.push("cat \"$written/output\"".to_owned());
    lines.extend(runnable.example.writes.iter().map(|text| {
        format!("grep -qF '{text}' \"$written/output\" || {{ echo 'nothing says: {text}'; code=1; }}")
    }));
    lines.push("exit $code".to_owned());
    lines.join("\n") + "\n"
}

/// Arguments with their ports and folder.
fn fill(call: &str, first: u16) -> String {
    let ports = (0..super::PORTS).map(|index| (format!("{{{index}}}"), (first + index).to_string()));
    let filled = ports.fold(call.to_owned(), |call, (name, port)| call.replace(&name, &port));
    filled.replace("{folder}", "\"$written\"")
}
