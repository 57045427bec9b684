//! Names, links, and what happens when either end goes.

use super::*;
use crate::hixl::{name::EngineName, options::LinkPool};

const SHORT: Duration = Duration::from_millis(30);

#[test]
fn names_are_servers_clients_or_nothing() {
    let listening =
        |given: &str| EngineName::parse(given).map(|name| name.listening().map(|at| at.to_string()));
    let servers = ["127.0.0.1:1", "0.0.0.0:65535", "[::1]:26000", "[fe80::1:2]:80"];
    for name in servers {
        assert_eq!(listening(name).expect(name).as_deref(), Some(name));
    }
    for name in ["10.0.0.1", "10.0.0.1:0", "10.0.0.1:-1", "[::1]", "[::1]:0", "[::1]:-7"] {
        assert_eq!(listening(name).expect(name), None, "{name}");
        assert!(matches!(EngineName::reachable(name), Err(HixlError::IsClient { .. })), "{name}");
    }
    let none = [
        "",
        "host:1",
        "1.2.3:4",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:65536",
        "1.2.3.4:5:6",
        "::1",
        "::1:80",
        "[::1",
        "[::1]80",
        "[1.2.3.4]:5",
        "[]:5",
        " 1.2.3.4:5",
    ];
    for name in none {
        assert_eq!(status(EngineName::parse(name)), Status::ParamInvalid, "{name:?}");
    }
}

#[test]
fn links_are_made_once_and_unmade_once() {
    let (client, server, name) = pair(&direct());
    assert_eq!(status(client.connect(&name, PATIENCE)), Status::AlreadyConnected);
    client.disconnect(&name, PATIENCE).expect("disconnected");
    assert_eq!(status(client.disconnect(&name, PATIENCE)), Status::NotConnected);
    assert_eq!(status(transfer(&client, &name, TransferOp::Read, &[], PATIENCE)), Status::NotConnected);
    client.connect(&name, PATIENCE).expect("connected again");
    for wrong in ["nonsense", "127.0.0.1", "127.0.0.1:-1"] {
        assert_eq!(status(client.connect(wrong, PATIENCE)), Status::ParamInvalid, "{wrong}");
        assert_eq!(status(client.disconnect(wrong, PATIENCE)), Status::ParamInvalid, "{wrong}");
    }
    assert_eq!(status(server.connect(&name, PATIENCE)), Status::ParamInvalid, "to itself");
}

#[test]
fn time_outs_of_nothing_are_refused() {
    let (client, _server, name) = pair(&direct());
    let nothing = timeout(-5);
    assert_eq!(
        (nothing, timeout(0), timeout(1500)),
        (Duration::ZERO, Duration::ZERO, DEFAULT_TIMEOUT * 3 / 2)
    );
    assert_eq!(status(client.connect(&name, nothing)), Status::ParamInvalid);
    assert_eq!(status(client.disconnect(&name, nothing)), Status::ParamInvalid);
    assert_eq!(status(client.connect_async(&name, nothing)), Status::ParamInvalid);
    assert_eq!(status(client.disconnect_async(&name, nothing)), Status::ParamInvalid);
    assert_eq!(status(transfer(&client, &name, TransferOp::Read, &[], nothing)), Status::ParamInvalid);
    assert_eq!(status(client.send_notify(&name, &NotifyDesc::default(), nothing)), Status::ParamInvalid);
}

#[test]
fn somebody_who_does_not_answer_is_a_time_out_and_nobody_a_failure() {
    let client = client(&direct());
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let name = silent.local_addr().expect("an address").to_string();
    assert_eq!(status(client.connect(&name, SHORT)), Status::Timeout);
    drop(silent);
    assert_eq!(status(client.connect(&name, PATIENCE)), Status::Failed);
}

#[test]
fn a_port_that_is_taken_is_a_failure() {
    let (_server, name) = server(&direct());
    let second = Hixl::new();
    assert_eq!(status(second.initialize(&name, &direct())), Status::Failed);
    assert_eq!(status(second.take_notifies()), Status::Failed, "it is not initialised");
}

#[test]
fn ipv6_works() {
    let (server, name) = match free_ipv6() {
        Some(found) => found,
        None => return eprintln!("no IPv6 here"),
    };
    let client = Hixl::new();
    client.initialize("[::1]", &direct()).expect("a client");
    client.connect(&name, PATIENCE).expect("connected");
    // The same address, written differently.
    let longer = name.replace("[::1]", "[0:0:0:0:0:0:0:1]");
    assert_eq!(status(client.connect(&longer, PATIENCE)), Status::AlreadyConnected);
    client.send_notify(&longer, &NotifyDesc::new("over", "six"), PATIENCE).expect("sent");
    assert_eq!(server.take_notifies().expect("taken"), [NotifyDesc::new("over", "six")]);
}

fn free_ipv6() -> Option<(Hixl, String)> {
    for _ in 0..16 {
        let name = TcpListener::bind(("::1", 0)).ok()?.local_addr().ok()?.to_string();
        let engine = Hixl::new();
        if engine.initialize(&name, &direct()).is_ok() {
            return Some((engine, name));
        }
    }
    None
}

/// Initialises a server under the name that it had. Another test may have its port for a moment.
fn restart(engine: &Hixl, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = engine.initialize(name, &direct()) {
        assert!(Instant::now() < deadline, "{error}");
        thread::yield_now();
    }
}

#[test]
fn a_server_that_restarts_is_connected_to_anew() {
    let (client, server, name) = pair(&direct());
    let (mut near, mut far) = (Memory::zeroed(64), Memory::new(64, |_| 4));
    near.register(&client);
    far.register(&server);
    let whole = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 64 };
    let read = || transfer(&client, &name, TransferOp::Read, &[whole], PATIENCE);
    read().expect("read");
    server.finalize();
    let deadline = Instant::now() + PATIENCE;
    // Until the goodbye has arrived, the memory is not there any more.
    loop {
        match status(read()) {
            Status::NotConnected => break,
            early => assert_eq!(early, Status::Failed),
        }
        assert!(Instant::now() < deadline);
    }
    restart(&server, &name);
    assert_eq!(status(read()), Status::NotConnected, "the old link is no link to the new server");
    client.connect(&name, PATIENCE).expect("connected anew");
    assert_eq!(status(read()), Status::ParamInvalid, "the new server has registered nothing");
    far.register(&server);
    read().expect("read");
    assert_eq!(near.bytes(), [4; 64]);
}

#[test]
fn what_is_finalised_fails_and_can_be_initialised_again() {
    let (client, _server, name) = pair(&direct());
    let mut memory = Memory::zeroed(64);
    let handle = memory.register(&client);
    client.initialize("nonsense", &direct()).expect("it is initialised already");
    client.finalize();
    client.finalize();
    let failed = [
        client.connect(&name, PATIENCE),
        client.disconnect(&name, PATIENCE),
        client.connect_async(&name, PATIENCE),
        client.disconnect_async(&name, PATIENCE),
        client.async_connect_status(&name).map(drop),
        client.async_connect_statuses().map(drop),
        client.deregister_mem(handle),
        register(&client, memory.describe(), MemType::Host).map(drop),
        transfer(&client, &name, TransferOp::Read, &[], PATIENCE),
        transfer_async(&client, &name, TransferOp::Read, &[], TransferArgs::default()).map(drop),
        client.transfer_status(TransferReq(1)).map(drop),
        client.transfer_statuses(TransferStatusArgs::default()).map(drop),
        client.send_notify(&name, &NotifyDesc::default(), PATIENCE),
        client.take_notifies().map(drop),
    ];
    for result in failed {
        assert_eq!(status(result), Status::Failed);
    }
    client.initialize("127.0.0.1", &direct()).expect("again");
    client.connect(&name, PATIENCE).expect("connected");
}

/// Calls are under way in other threads when the engine is finalised: each of them returns.
#[test]
fn finalising_ends_calls_of_other_threads() {
    let (client, server, name) = pair(&direct());
    let mut near = Memory::zeroed(1 << 20);
    let mut far = Memory::zeroed(1 << 20);
    near.register(&client);
    far.register(&server);
    let list = permuted(near.address(), far.address(), 1 << 8, 1 << 12);
    thread::scope(|scope| {
        let busy: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0_u32;
                    while transfer(&client, &name, TransferOp::Write, &list, PATIENCE).is_ok() {
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        while transfer(&client, &name, TransferOp::Read, &list, PATIENCE).is_err() {}
        client.finalize();
        for thread in busy {
            thread.join().expect("no panic");
        }
    });
    assert_eq!(status(client.take_notifies()), Status::Failed);
}

/// Asks until the link stands so.
fn stands(engine: &Hixl, name: &str, wanted: AsyncConnectStatus) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = engine.async_connect_status(name).expect("asked");
        if status == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{status:?} instead of {wanted:?}");
        thread::yield_now();
    }
}

#[test]
fn links_are_made_and_unmade_by_threads() {
    let (server_engine, name) = server(&direct());
    let client = client(&direct());
    assert_eq!(client.async_connect_status(&name).expect("asked"), AsyncConnectStatus::NotConnect);
    client.connect_async(&name, PATIENCE).expect("queued");
    stands(&client, &name, AsyncConnectStatus::Connected);
    client.connect_async(&name, PATIENCE).expect("queued");
    stands(&client, &name, AsyncConnectStatus::Connected);
    client.send_notify(&name, &NotifyDesc::new("a", "b"), PATIENCE).expect("sent");
    let all = client.async_connect_statuses().expect("asked");
    assert_eq!(all, [(name.clone(), AsyncConnectStatus::Connected)].into());
    client.disconnect_async(&name, PATIENCE).expect("queued");
    stands(&client, &name, AsyncConnectStatus::NotConnect);
    assert_eq!(status(client.send_notify(&name, &NotifyDesc::default(), PATIENCE)), Status::NotConnected);
    drop(server_engine);
    client.connect_async(&name, PATIENCE).expect("queued");
    stands(&client, &name, AsyncConnectStatus::ConnectFailed);
    assert_eq!(status(client.connect_async("127.0.0.1", PATIENCE)), Status::ParamInvalid);
    assert!(client.async_connect_statuses().expect("asked").contains_key(&name));
}

/// One thread that is kept busy by somebody who does not answer; the others wait, each in its state.
#[test]
fn tasks_wait_in_order_until_there_are_too_many() {
    let resources = r#"{"connect_pool.thread_num": "1", "connect_pool.task_queue_capacity": 2}"#;
    let given = options(&[(OPTION_BUFFER_POOL, "0:0"), (OPTION_GLOBAL_RESOURCE_CONFIG, resources)]);
    let client = client(&given);
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let name = silent.local_addr().expect("an address").to_string();
    let (server_engine, other) = server(&direct());
    let some = Duration::from_millis(300);
    client.connect_async(&name, some).expect("begun");
    stands(&client, &name, AsyncConnectStatus::Connecting);
    client.connect_async(&other, PATIENCE).expect("waits");
    client.disconnect_async(&name, some).expect("waits");
    let states = client.async_connect_statuses().expect("asked");
    assert_eq!(states.get(&other), Some(&AsyncConnectStatus::ConnectPending));
    assert_eq!(states.get(&name), Some(&AsyncConnectStatus::DisconnectPending), "the latest task counts");
    assert_eq!(status(client.connect_async(&other, PATIENCE)), Status::ResourceExhausted);
    stands(&client, &other, AsyncConnectStatus::Connected);
    stands(&client, &name, AsyncConnectStatus::NotConnect);
    drop((server_engine, silent));
}

#[test]
fn transfers_make_their_links_where_that_was_asked_for() {
    let given = options(&[(OPTION_BUFFER_POOL, "0:0"), (OPTION_AUTO_CONNECT, "1")]);
    let client = client(&given);
    let (server_engine, name) = server(&direct());
    let (mut near, mut far) = (Memory::zeroed(64), Memory::new(64, |_| 8));
    near.register(&client);
    far.register(&server_engine);
    let whole = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 64 };
    let notification = NotifyDesc::default();
    assert_eq!(status(client.send_notify(&name, &notification, PATIENCE)), Status::NotConnected);
    transfer(&client, &name, TransferOp::Read, &[whole], PATIENCE).expect("connects and reads");
    assert_eq!(near.bytes(), [8; 64]);
    client.send_notify(&name, &notification, PATIENCE).expect("there is a link now");
    // One that fails takes the link with it, and the next makes another.
    let wrong = TransferOpDesc { remote_addr: 4096, ..whole };
    assert_eq!(status(transfer(&client, &name, TransferOp::Read, &[wrong], PATIENCE)), Status::ParamInvalid);
    assert_eq!(status(client.send_notify(&name, &notification, PATIENCE)), Status::NotConnected);
    let begun = transfer_async(&client, &name, TransferOp::Read, &[whole], TransferArgs::default());
    assert_eq!(ended(&client, begun.expect("connects")), TransferStatus::Completed);
    server_engine.finalize();
    restart(&server_engine, &name);
    far.register(&server_engine);
    let deadline = Instant::now() + PATIENCE;
    // Until the goodbye has arrived the old link is taken, which fails.
    while let Err(error) = transfer(&client, &name, TransferOp::Read, &[whole], PATIENCE) {
        assert!(Instant::now() < deadline, "never connects to the new one: {error}");
    }
    assert_eq!(status(transfer(&client, "127.0.0.1", TransferOp::Read, &[], PATIENCE)), Status::ParamInvalid);
}

#[test]
fn idle_links_make_room_for_others() {
    let resources = r#"{"channel_pool.max_channel": 4, "channel_pool.high_waterline": 0.75, "channel_pool.low_waterline": "0.3"}"#;
    let given = options(&[(OPTION_BUFFER_POOL, "0:0"), (OPTION_GLOBAL_RESOURCE_CONFIG, resources)]);
    let client = client(&given);
    let servers: Vec<_> = (0..5).map(|_| server(&direct())).collect();
    let links = || client.engine().expect("initialised").links_up();
    let counts: Vec<usize> = servers
        .iter()
        .map(|(_, name)| {
            transfer(&client, name, TransferOp::Read, &[], PATIENCE).expect("connects");
            links()
        })
        .collect();
    // With three there is one left before the next is made.
    assert_eq!(counts, [1, 2, 3, 2, 3]);
    assert_eq!(LinkPool { high: 3, low: 1 }, parsed(resources));
}

fn parsed(resources: &str) -> LinkPool {
    let given = options(&[(OPTION_GLOBAL_RESOURCE_CONFIG, resources)]);
    crate::hixl::options::Options::read(&given, |_| None).expect("options").link_pool.expect("a pool")
}

#[test]
fn many_links_at_once() {
    let servers: Vec<_> = (0..8).map(|_| server(&direct())).collect();
    let client = client(&direct());
    thread::scope(|scope| {
        for (_, name) in &servers {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        match client.connect(name, PATIENCE).map_err(|error| error.status()) {
                            Ok(()) | Err(Status::AlreadyConnected) => {}
                            Err(other) => panic!("connecting: {other:?}"),
                        }
                        match client.disconnect(name, PATIENCE).map_err(|error| error.status()) {
                            Ok(()) | Err(Status::NotConnected) => {}
                            Err(other) => panic!("disconnecting: {other:?}"),
                        }
                    }
                });
            }
        }
    });
    assert_eq!(client.engine().expect("initialised").links_up(), 0);
}
