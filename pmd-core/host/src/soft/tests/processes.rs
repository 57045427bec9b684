//! Other processes: this test executable runs itself again, as a test that plays the part which the environment
//! names.

use std::{
    env, fs,
    io::{BufRead, BufReader, IoSlice, IoSliceMut, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev},
    unistd::Pid,
};

use super::*;
use crate::identity::DeviceId;

const PART: &str = "PMD_TEST_PART";
const PARENT: &str = "PMD_TEST_PARENT";
/// Length of the child's regions.
const LENGTH: usize = 3 * 4096;

/// A child process that plays a part, killed at the end at the latest.
struct Actor {
    child: Child,
    orders: ChildStdin,
    says: Receiver<String>,
}

impl Actor {
    fn start(part: &str, parent: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "soft::tests::processes::part", "--nocapture", "--test-threads=1"])
            .env(PART, part)
            .env(PARENT, parent)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, says) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((_, said)) = line.split_once("says: ") {
                    let _ = sender.send(said.to_owned());
                }
            }
        });
        Self { child, orders, says }
    }

    fn said(&self) -> String {
        self.says.recv_timeout(PATIENCE).expect("the child says something in time")
    }

    fn told(&self) -> Vec<u64> {
        self.said().split(' ').map(|number| number.parse().unwrap()).collect()
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// Waits for a regular end.
    fn finish(mut self) {
        self.order("end");
        let status = within(|| self.child.try_wait().unwrap());
        assert!(status.success());
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what the child processes run.
#[test]
fn part() {
    match env::var(PART).as_deref() {
        Ok("peer") => peer(),
        Ok("descriptors") => descriptors(),
        Ok("shortage") => shortage(),
        Ok("parent") => parent(),
        _ => {}
    }
}

fn say(text: &str) {
    println!("says: {text}");
    std::io::stdout().flush().unwrap();
}

fn parse(text: &str) -> DeviceId {
    let digits: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect();
    DeviceId(digits.try_into().unwrap())
}

fn fill(start: *mut u8, value: u8) {
    // SAFETY: the caller's region, of this length.
    unsafe { start.write_bytes(value, LENGTH) };
}

/// The part of a peer: offers an arena and heap memory, then does as it is told.
fn peer() {
    let device = open();
    let parent = SoftAddress { device: parse(&env::var(PARENT).unwrap()), ..address(&device, 1) };
    let arena = device.allocate(LENGTH, ArenaOptions::default()).unwrap();
    fill(arena.as_ptr(), 1);
    let shared = device.register_source(&arena, Access::READ_WRITE, ProtectionDomain(0)).unwrap();
    let heap = leak(&device, LENGTH, Access::READ_WRITE);
    fill(heap.address() as *mut u8, 2);
    say(&device.id().to_string());
    let mut pending = device.connect(&endpoint(2), &parent).unwrap();
    let link = within(|| pending.poll().unwrap());
    let [first, second] = [&shared, &heap].map(|region| (region.address(), region.remote_key().0));
    say(&format!("{} {} {} {}", first.0, first.1, second.0, second.1));
    let seat = device.seat(Waker::new().unwrap()).unwrap();
    let mut round = None;
    for order in std::io::stdin().lines() {
        match order.unwrap().split_once(' ').unwrap_or(("end", "")) {
            ("show", at) => {
                // SAFETY: the test asks for addresses in the regions only.
                let value = unsafe { (at.parse::<u64>().unwrap() as *const u8).read_volatile() };
                say(&value.to_string());
            }
            ("fork", _) => {
                // SAFETY: the child makes two system calls and ends.
                if unsafe { libc::fork() } == 0 {
                    wait_for_the_end();
                }
                say("1");
            }
            ("enter", _) => {
                round = Some(seat.enter());
                say("1");
            }
            _ => break,
        }
    }
    drop((round, link));
}

/// Ends the process when the test closes its end of the pipe.
fn wait_for_the_end() -> ! {
    let mut byte = 0_u8;
    // SAFETY: one byte of the stack is read into; only calls that a forked child may make.
    unsafe {
        while libc::read(0, (&raw mut byte).cast(), 1) > 0 {}
        libc::_exit(0)
    }
}

struct Scene {
    device: Device,
    actor: Actor,
    link: Link,
    /// Address and key.
    arena: (u64, u32),
    heap: (u64, u32),
}

fn scene(config: DeviceConfig) -> Scene {
    let device = Device::open(config).unwrap();
    let actor = Actor::start("peer", &device.id().to_string());
    let child = SoftAddress { device: parse(&actor.said()), ..address(&device, 2) };
    let mut pending = device.connect(&endpoint(1), &child).unwrap();
    let link = within(|| pending.poll().unwrap());
    let told = actor.told();
    Scene { device, actor, link, arena: (told[0], told[1] as u32), heap: (told[2], told[3] as u32) }
}

impl Scene {
    fn reach(&self, mappings: &mut MappingCache, (at, key): (u64, u32)) -> Reach {
        let seat = self.device.seat(Waker::new().unwrap()).unwrap();
        let active = seat.enter();
        let (access, domain) = (Access::REMOTE_WRITE | Access::REMOTE_READ, self.link.peer_domain());
        let length = LENGTH as u64;
        self.link.peer().reach(mappings, &active, key, at, length, access, domain).unwrap()
    }
}

#[test]
fn an_arena_is_mapped_and_other_memory_is_copied_by_the_kernel() {
    let mut scene = scene(DeviceConfig::default());
    let mut mappings = MappingCache::new(&scene.device);
    let pid = scene.actor.child.id() as i32;
    assert_eq!((scene.link.peer().pid(), scene.link.peer().is_same_process()), (pid, false));
    let Reach::Direct(mapped) = scene.reach(&mut mappings, scene.arena) else { panic!("not mapped") };
    // SAFETY: the child's arena is mapped and nobody writes it now.
    unsafe {
        assert!((0..LENGTH).all(|at| mapped.add(at).read() == 1));
        mapped.add(LENGTH - 1).write_volatile(77);
    }
    scene.actor.order(&format!("show {}", scene.arena.0 + LENGTH as u64 - 1));
    assert_eq!(scene.actor.told(), [77]);

    let reach = scene.reach(&mut mappings, scene.heap);
    assert_eq!(reach, Reach::Process { pid, address: scene.heap.0 });
    assert!(scene.link.peer().confirm_alive());
    let mut found = [0; LENGTH];
    let there = [RemoteIoVec { base: scene.heap.0 as usize, len: LENGTH }];
    let read = process_vm_readv(Pid::from_raw(pid), &mut [IoSliceMut::new(&mut found)], &there);
    assert_eq!((read, found), (Ok(LENGTH), [2; LENGTH]));
    let written = process_vm_writev(Pid::from_raw(pid), &[IoSlice::new(&[88; LENGTH])], &there);
    assert_eq!(written, Ok(LENGTH));
    scene.actor.order(&format!("show {}", scene.heap.0));
    assert_eq!(scene.actor.told(), [88]);
    scene.actor.finish();
}

#[test]
fn other_processes_are_reached_by_packets_when_nothing_else_is_allowed() {
    let kernel_only = DeviceConfig { mapping: false, ..DeviceConfig::default() };
    let packets_only = DeviceConfig { process_memory: false, ..kernel_only.clone() };
    for (config, packets) in [(kernel_only, false), (packets_only, true)] {
        let scene = scene(config);
        let mut mappings = MappingCache::new(&scene.device);
        for at in [scene.arena, scene.heap] {
            let reach = scene.reach(&mut mappings, at);
            assert_eq!(matches!(reach, Reach::Packets), packets, "{reach:?}");
            assert!(!matches!(reach, Reach::Direct(_)));
        }
        scene.actor.finish();
    }
}

/// Lines of this process's list of mappings that contain the address.
fn maps(address: *mut u8) -> usize {
    let text = fs::read_to_string("/proc/self/maps").unwrap();
    let address = address as u64;
    let holds = |line: &str| {
        let range = line.split(' ').next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(number(range.0)? <= address && address < number(range.1)? && line.contains("pmd-arena"))
    };
    text.lines().filter(|line| holds(line) == Some(true)).count()
}

#[test]
fn a_killed_peer_is_noticed_and_its_memory_given_back() {
    let mut scene = scene(DeviceConfig::default());
    let mut mappings = MappingCache::new(&scene.device);
    let Reach::Direct(mapped) = scene.reach(&mut mappings, scene.arena) else { panic!("not mapped") };
    assert_eq!(maps(mapped), 1);
    let region = leak(&scene.device, 64, Access::READ_WRITE);
    scene.actor.order("enter now");
    assert_eq!(scene.actor.told(), [1]);
    // The peer is in a round for good: taking back the key has to wait for it, or for its end.
    let revoker = thread::spawn(move || region.deregister());
    thread::sleep(LINGER);
    assert!(!revoker.is_finished());
    assert!(scene.link.peer().confirm_alive());
    scene.actor.kill();
    within(|| revoker.is_finished().then_some(()));
    within(|| {
        scene.device.service();
        (!scene.link.peer().alive()).then_some(())
    });
    assert!(!scene.link.peer().confirm_alive());
    let refused = scene
        .device
        .connect(&endpoint(3), &SoftAddress { device: scene.link.peer().id(), ..address(&scene.device, 4) });
    assert!(matches!(refused, Err(crate::backend::SetupError::PeerGone { .. })));
    drop(scene.link);
    mappings.trim();
    assert_eq!(maps(mapped), 0);
    leak(&scene.device, 64, Access::READ_WRITE).deregister();
}

#[test]
fn a_killed_peer_is_noticed_without_its_socket() {
    let mut scene = scene(DeviceConfig::default());
    scene.actor.kill();
    assert!(scene.link.peer().alive(), "nothing was asked yet");
    assert!(!scene.link.peer().confirm_alive());
}

#[test]
fn a_killed_peer_is_noticed_although_its_child_keeps_the_sockets() {
    let mut scene = scene(DeviceConfig::default());
    scene.actor.order("fork now");
    assert_eq!(scene.actor.told(), [1]);
    scene.actor.kill();
    within(|| {
        scene.device.service();
        (!scene.link.peer().alive()).then_some(())
    });
    leak(&scene.device, 64, Access::READ_WRITE).deregister();
}

#[test]
fn a_forked_child_takes_nothing_from_its_parent() {
    assert_eq!(Actor::start("parent", "").said(), "kept");
}

/// The part of a process that forks a child, which drops all that it inherited.
fn parent() {
    let (one, other) = (open(), open());
    let links = connected(&one, &other);
    let arena = one.allocate(LENGTH, ArenaOptions::default()).unwrap();
    let region = one.register_source(&arena, Access::READ_WRITE, ProtectionDomain(0)).unwrap();
    // SAFETY: glibc keeps its allocator usable in the child, which drops some values and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop((region, arena, links, one, other));
        // SAFETY: ends the child without the test harness.
        unsafe { libc::_exit(0) }
    }
    let mut status = 0;
    // SAFETY: waits for the child above.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    one.service();
    other.service();
    let (mut first, mut second) = links;
    exchange_packets(&mut first, &mut second);
    assert!(!first.closed_by_peer() && first.peer().alive() && !first.peer().is_gone());
    let seat = other.seat(Waker::new().unwrap()).unwrap();
    let active = seat.enter();
    assert!(first.is_open(&active));
    let (key, at) = (region.remote_key().0, region.address());
    let allowed = one.regions().check(&active, key, at, 8, Access::REMOTE_READ, ProtectionDomain(0));
    assert_eq!(allowed, Ok(None));
    say("kept");
}

#[test]
fn a_shortage_of_descriptors_passes() {
    assert_eq!(Actor::start("shortage", "").said(), "passed");
}

/// The part of a process that has no descriptor left when a peer knocks.
fn shortage() {
    let (one, other) = (open(), open());
    let mut first = one.connect(&endpoint(1), &address(&other, 2)).unwrap();
    let mut second = other.connect(&endpoint(2), &address(&one, 1)).unwrap();
    let limit = |most| {
        let limits = libc::rlimit { rlim_cur: most, rlim_max: 1024 };
        // SAFETY: reads the structure.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) }, 0);
    };
    let readable = || {
        let mut descriptors = [PollFd::new(one.service_descriptor(), PollFlags::POLLIN)];
        poll(&mut descriptors, PollTimeout::ZERO).unwrap() == 1
    };
    assert!(readable());
    limit(3);
    one.service();
    assert!(!readable(), "a parked engine would not sleep");
    limit(1024);
    let (mut first, mut second) = complete(&mut first, &mut second);
    exchange_packets(&mut first, &mut second);
    say("passed");
}

#[test]
fn arenas_that_go_are_unmapped_in_the_peer() {
    let device = open();
    let config = DeviceConfig { same_process: false, ..DeviceConfig::default() };
    let reader = Device::open(config).unwrap();
    let (link, _kept) = connected(&reader, &device);
    let seat = reader.seat(Waker::new().unwrap()).unwrap();
    let mut mappings = MappingCache::new(&reader);
    for _ in 0..10 {
        let arena = device.allocate(4096, ArenaOptions::default()).unwrap();
        let region = device.register_source(&arena, Access::READ_WRITE, ProtectionDomain(0)).unwrap();
        let (key, at) = (region.remote_key().0, region.address());
        let (read, domain) = (Access::REMOTE_READ, ProtectionDomain(0));
        // Found at once, though nobody served the reader's sockets since the arena was made.
        let reach = link.peer().reach(&mut mappings, &seat.enter(), key, at, 8, read, domain);
        let Ok(Reach::Direct(mapped)) = reach else { panic!("{reach:?}") };
        assert_eq!(maps(mapped), 1);
        drop((region, arena));
        reader.service();
        mappings.trim();
        assert_eq!(maps(mapped), 0);
    }
}

#[test]
fn no_descriptor_or_mapping_is_left_behind() {
    let actor = Actor::start("descriptors", "");
    assert_eq!(actor.said(), "same");
}

/// In a process of its own, where no other test opens anything.
fn descriptors() {
    let count = || {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
        (descriptors, fs::read_to_string("/proc/self/maps").unwrap().matches("pmd-").count())
    };
    // Only what devices say in their segments tells this one that they are gone in order.
    let config = DeviceConfig { process_memory: false, ..DeviceConfig::default() };
    let (one, other) = (Device::open(config).unwrap(), open());
    drop(connected(&one, &other));
    let before = count();
    for _ in 0..100 {
        drop(connected(&one, &other));
        drop(one.connect(&endpoint(1), &address(&other, 2)).unwrap());
        drop(other.connect(&endpoint(2), &address(&one, 1)).unwrap());
    }
    drop(connected(&one, &other));
    assert_eq!(count(), before, "links");
    for _ in 0..100 {
        let visitor = open();
        let arena = visitor.allocate(4096, ArenaOptions::default()).unwrap();
        let region = visitor.register_source(&arena, Access::READ_WRITE, ProtectionDomain(0)).unwrap();
        let links = connected(&one, &visitor);
        drop(visitor);
        drop((links, region, arena));
        one.service();
    }
    one.exchange().known_peers();
    assert_eq!(count(), before, "devices");
    drop((one, other));
    say("same");
}
