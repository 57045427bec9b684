//! This program as another process: it plays a part that its environment names, and is told what to do line by line.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child as Process, ChildStdin, Command, ExitCode, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use pmd_core::accelerator::{AcceleratorKind, ShareHandle};

use crate::{bench::Name, cases, context::Context, way::Way};

/// Names the part, the accelerator, the patience and the NIC's way of a process.
const PART: &str = "ACCELERATORS_PART";

/// Names the device, where it is not the first.
pub(crate) const DEVICE: &str = "ACCELERATORS_DEVICE";

/// Another process of this program; killed when it is dropped.
pub(crate) struct Child {
    process: Process,
    orders: ChildStdin,
    answers: mpsc::Receiver<String>,
    patience: Duration,
}

impl Child {
    /// Starts one that plays a part, with these variables more.
    pub(crate) fn start(context: &Context, part: &str, variables: &[(&str, String)]) -> Self {
        let program = env::current_exe().expect("this program");
        let way = context.nic.map_or("none", Way::text);
        let part = format!("{part} {} {} {way}", context.name.text(), context.patience.as_secs());
        let mut command = Command::new(program);
        command.env(PART, part).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut process = command.spawn().expect("starting a process");
        let (orders, output) =
            (process.stdin.take().expect("orders"), process.stdout.take().expect("answers"));
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        Self { process, orders, answers, patience: context.patience }
    }

    /// Tells it a line.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.orders, "{line}")
            .and_then(|()| self.orders.flush())
            .expect("telling the other process");
    }

    /// Its next line.
    pub(crate) fn hear(&self) -> String {
        self.answers.recv_timeout(self.patience).expect("hanging: the other process says nothing")
    }

    /// SIGKILL, and waits until nothing is left of it.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Waits until it has ended well.
    pub(crate) fn succeeds(mut self) {
        self.tell("end");
        let (ended, end) = mpsc::channel();
        thread::scope(|scope| {
            let process = &mut self.process;
            scope.spawn(move || drop(ended.send(process.wait())));
            let status = end.recv_timeout(self.patience).expect("hanging: the other process does not end");
            assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{status:?}");
        });
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Plays a part if this process was started to.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let part = env::var(PART).ok()?;
    let words: Vec<&str> = part.split(' ').collect();
    let [part, name, patience, way] = words[..] else {
        panic!("a part, an accelerator, seconds and a NIC's way: {part:?}")
    };
    let name = Name::of_text(name).expect("an accelerator");
    let patience = Duration::from_secs(patience.parse().expect("seconds"));
    let device = env::var(DEVICE).ok().and_then(|device| device.parse().ok()).unwrap_or(0);
    let accelerator = name.open(device).expect("the accelerator of the process that started this one");
    let nic = Way::of_text(way);
    let context = Context { name, accelerator: Arc::clone(&accelerator), patience, nic };
    cases::processes::play(&context, part);
    Some(ExitCode::SUCCESS)
}

/// The next order, in the other process; none once the one that started it is gone.
pub(crate) fn order() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

/// Tells the process that started this one.
pub(crate) fn answer(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("answering");
}

/// A handle as a line. The kind is the accelerator's on both sides.
pub(crate) fn line_of(handle: &ShareHandle) -> String {
    format!("{} {} {} {}", hex(&handle.device), hex(&handle.opaque), handle.offset, handle.length)
}

/// The handle of a line.
pub(crate) fn handle_of(line: &str, kind: AcceleratorKind) -> ShareHandle {
    let words: Vec<&str> = line.split(' ').collect();
    let [device, opaque, offset, length] = words[..] else { panic!("not a handle: {line:?}") };
    ShareHandle {
        kind,
        device: bytes_of(device).try_into().expect("sixteen bytes"),
        opaque: bytes_of(opaque),
        offset: offset.parse().expect("an offset"),
        length: length.parse().expect("a length"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(text: &str) -> Vec<u8> {
    let pair = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("a byte");
    text.as_bytes().chunks(2).map(pair).collect()
}
