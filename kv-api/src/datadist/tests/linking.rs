//! Links: made, taken down, lost, and made again.

use std::{
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use pmd_host::{control::Refusal, endpoint::EndpointConfig, endpoint::Peer};

use super::*;
use crate::fabric::{Fabric, Handler};

fn only(result: Result<ClusterResults, DataDistError>) -> Result<(), DataDistError> {
    let mut results = result.expect("taken").0;
    assert_eq!(results.len(), 1);
    results.remove(0)
}

fn unlink(from: &LlmDataDist, to: &LlmDataDist, force: bool) -> Result<(), DataDistError> {
    only(from.unlink_llm_clusters(&[cluster(to)], TIMEOUT, force))
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn pull(from: &LlmDataDist, cluster_id: u64) -> Status {
    status(from.pull_kv_cache(index(cluster_id, 1, 0), 1, 0, -1, &KvCacheExtParam::default()))
}

#[test]
fn unlinking_takes_down_both_sides_and_linking_again_works() {
    let (prompt, decoder) = pair();
    let caches = (cache(&prompt, 2, 2, 0), cache(&decoder, 2, 2, 500));
    for _ in 0..3 {
        assert!(prompt.check_link_status(1).is_ok() && decoder.check_link_status(0).is_ok());
        assert_eq!((pull(&decoder, 0), pull(&prompt, 1)), (Status::Success, Status::Success));
        let again = only(decoder.link_llm_clusters(&[cluster(&prompt)], TIMEOUT)).expect_err("linked");
        assert!(matches!(again, DataDistError::AlreadyLinked { cluster_id: 0 }), "{again}");
        assert_eq!(again.status(), Status::AlreadyLink);
        unlink(&decoder, &prompt, false).expect("unlinked");
        for (side, other) in [(&prompt, 1), (&decoder, 0)] {
            let status = side.check_link_status(other).expect_err("no link");
            assert!(matches!(status, DataDistError::NotLinked { .. }), "{status}");
            assert_eq!(pull(side, other), Status::NotYetLink);
        }
        link(&decoder, &prompt);
    }
    drop((prompt, decoder));
    drop(caches);
}

#[test]
fn an_unforced_unlink_works_from_the_side_that_listened() {
    let (prompt, decoder) = pair();
    let at_decoder = cluster_at(1, address(&prompt));
    only(prompt.unlink_llm_clusters(&[at_decoder], TIMEOUT, false)).expect("unlinked");
    assert_eq!(status(prompt.check_link_status(1)), Status::NotYetLink);
    assert_eq!(status(decoder.check_link_status(0)), Status::NotYetLink);
    link(&decoder, &prompt);
}

#[test]
fn a_forced_unlink_is_local_and_the_other_side_can_link_again() {
    let (prompt, decoder) = pair();
    // Without an address, which only the other side's consent needs.
    let nowhere = ClusterInfo { remote_cluster_id: 0, ..ClusterInfo::default() };
    only(decoder.unlink_llm_clusters(std::slice::from_ref(&nowhere), TIMEOUT, true)).expect("unlinked");
    assert!(matches!(decoder.check_link_status(0), Err(DataDistError::NotLinked { .. })));
    until("the other side sees the goodbye", || prompt.check_link_status(1).is_err());
    only(decoder.unlink_llm_clusters(&[nowhere], TIMEOUT, true)).expect("nothing there is no error");
    link(&decoder, &prompt);
    assert!(prompt.check_link_status(1).is_ok());

    // From the side that listened: the one that linked keeps its end, which is down.
    only(prompt.unlink_llm_clusters(&[cluster_at(1, address(&prompt))], TIMEOUT, true)).expect("unlinked");
    until("the other side sees the goodbye", || decoder.check_link_status(0).is_err());
    let down = decoder.check_link_status(0).expect_err("down");
    assert!(matches!(down, DataDistError::LinkDown { cluster_id: 0, .. }), "{down}");
    assert_eq!(down.status(), Status::NotYetLink);
    link(&decoder, &prompt);
    assert!(prompt.check_link_status(1).is_ok() && decoder.check_link_status(0).is_ok());
}

#[test]
fn unlinking_what_is_not_linked_tells_the_other_side_where_it_can() {
    let (prompt, decoder) = (start(0, &server()), start(1, &client()));
    let address = address(&prompt);
    unlink(&decoder, &prompt, false).expect("there is none on either side");
    prompt.finalize();
    let error =
        only(decoder.unlink_llm_clusters(&[cluster_at(0, address)], TIMEOUT, false)).expect_err("gone");
    assert!(matches!(error, DataDistError::Unreachable { cluster_id: 0, .. }), "{error}");
    assert_eq!(error.status(), Status::UnlinkFailed);
}

#[test]
fn a_link_whose_other_side_is_gone_is_unlinked_but_not_confirmed() {
    let (prompt, decoder) = pair();
    let gone = cluster(&prompt);
    prompt.finalize();
    until("the goodbye", || decoder.check_link_status(0).is_err());
    let error = only(decoder.unlink_llm_clusters(&[gone], TIMEOUT, false)).expect_err("nobody confirms");
    assert!(matches!(error, DataDistError::NotConfirmed { cluster_id: 0, .. }), "{error}");
    assert_eq!(error.status(), Status::NotifyPromptUnlinkFailed);
    assert!(
        matches!(decoder.check_link_status(0), Err(DataDistError::NotLinked { .. })),
        "gone all the same"
    );
}

#[test]
fn a_restarted_cluster_is_another_and_linking_again_works() {
    let (prompt, decoder) = pair();
    let ours = cache(&decoder, 2, 2, 500);
    let before = cache(&prompt, 2, 2, 0);
    assert_eq!(pull(&decoder, 0), Status::Success);
    let listen = address(&prompt).to_string();
    drop((prompt, before));
    let prompt = start(0, &with(server(), OPTION_LISTEN_IP_INFO, &listen));
    let after = cache(&prompt, 2, 2, 7000);
    until("the goodbye", || decoder.check_link_status(0).is_err());
    assert_eq!(pull(&decoder, 0), Status::NotYetLink, "the one linked with is gone");
    assert_eq!(ours.row(1, 0), filled(0, 1, 0), "nothing of the new one came");
    link(&decoder, &prompt);
    assert_eq!(pull(&decoder, 0), Status::Success);
    assert_eq!(ours.row(1, 0), filled(7000, 1, 0));

    // The other way round: the listening side replaces what is left of an earlier incarnation.
    let number = decoder.cluster_id();
    drop(decoder);
    let decoder = start(number, &client());
    link(&decoder, &prompt);
    assert!(prompt.check_link_status(number).is_ok());
    drop((prompt, decoder));
    drop((ours, after));
}

#[test]
fn a_finalized_side_can_start_again_at_the_same_address() {
    let (prompt, decoder) = pair();
    let listen = with(server(), OPTION_LISTEN_IP_INFO, &address(&prompt).to_string());
    for _ in 0..5 {
        prompt.finalize();
        prompt.initialize(&listen).expect("the address is free at once");
        until("the goodbye", || decoder.check_link_status(0).is_err());
        link(&decoder, &prompt);
    }
    let taken = LlmDataDist::new(5, LlmRole::Mix).initialize(&listen).expect_err("taken");
    assert_eq!(taken.status(), Status::Failed, "{taken}");
}

#[test]
fn links_that_cannot_be_are_refused() {
    let (prompt, decoder) = (start(0, &server()), start(1, &client()));
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let refuse =
        |cluster: ClusterInfo| only(decoder.link_llm_clusters(&[cluster], TIMEOUT)).expect_err("refused");
    let nobody = refuse(cluster_at(0, free));
    assert!(matches!(nobody, DataDistError::Connect { cluster_id: 0, .. }), "{nobody}");
    let other = refuse(cluster_at(8, address(&prompt)));
    assert!(matches!(other, DataDistError::WrongCluster { wanted: 8, found: 0 }), "{other}");
    assert_eq!((nobody.status(), other.status()), (Status::LinkFailed, Status::LinkFailed));
    let own = refuse(cluster_at(1, address(&prompt)));
    assert!(matches!(own, DataDistError::Argument(ArgumentError::OwnCluster { cluster_id: 1 })), "{own}");
    let at = IpInfo::parse("127.0.0.1", 1).expect("an address");
    for remote_ip_infos in [vec![], vec![at, at]] {
        let given = remote_ip_infos.len();
        let cluster = ClusterInfo { remote_cluster_id: 0, remote_ip_infos, ..ClusterInfo::default() };
        let unlinked = only(decoder.unlink_llm_clusters(std::slice::from_ref(&cluster), TIMEOUT, false));
        for error in [refuse(cluster), unlinked.expect_err("refused")] {
            let wanted = ArgumentError::RemoteAddresses { cluster_id: 0, given };
            assert!(matches!(&error, DataDistError::Argument(found) if *found == wanted), "{error}");
        }
    }
    let text = IpInfo::parse("127.0.0.256", 1).expect_err("no address");
    assert_eq!(text.status(), Status::ParamInvalid, "{text}");
    for millis in [0, -1] {
        let error = decoder.link_llm_clusters(&[cluster(&prompt)], millis).expect_err("no time");
        assert!(matches!(error, DataDistError::Argument(ArgumentError::Timeout { .. })), "{error}");
    }
    let none = decoder.unlink_llm_clusters(&[], TIMEOUT, true).expect_err("no cluster");
    assert!(matches!(none, DataDistError::Argument(ArgumentError::NoClusters)), "{none}");
    assert!(matches!(decoder.check_link_status(0), Err(DataDistError::NotLinked { .. })), "none was made");
}

#[test]
fn many_clusters_in_one_call_have_each_their_own_result() {
    let servers: Vec<LlmDataDist> = (0..20).map(|number| start(number, &server())).collect();
    let decoder = start(100, &client());
    let mut clusters: Vec<ClusterInfo> = servers.iter().map(cluster).collect();
    clusters[13].remote_cluster_id = 50;
    let results = decoder.link_llm_clusters(&clusters, TIMEOUT).expect("no limit unless set");
    assert_eq!(results.0.len(), 20);
    assert_eq!(results.status(), Status::LinkFailed);
    for (number, status) in results.statuses().into_iter().enumerate() {
        let wanted = if number == 13 { Status::LinkFailed } else { Status::Success };
        assert_eq!((number, status), (number, wanted));
        assert_eq!(decoder.check_link_status(number as u64).is_ok(), number != 13);
    }
    let results = decoder.unlink_llm_clusters(&clusters, TIMEOUT, true).expect("taken");
    assert_eq!((results.0.len(), results.status()), (20, Status::Success));

    let limited = start(101, &with(client(), OPTION_CLUSTER_LIMIT, "16"));
    for error in [
        limited.link_llm_clusters(&clusters[..17], TIMEOUT).expect_err("too many"),
        limited.unlink_llm_clusters(&clusters[..17], TIMEOUT, true).expect_err("too many"),
    ] {
        assert!(matches!(error, DataDistError::TooManyClusters { given: 17, limit: 16 }), "{error}");
        assert_eq!(error.status(), Status::ClusterNumberExceedsLimit);
    }
    clusters.remove(13);
    let results = limited.link_llm_clusters(&clusters[..16], TIMEOUT).expect("taken");
    assert_eq!(results.status(), Status::Success);
}

#[test]
fn a_link_that_is_being_made_is_not_made_twice() {
    // Accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = silent.local_addr().expect("an address");
    let (accepted, connections) = mpsc::channel::<TcpStream>();
    let listening = thread::spawn(move || accepted.send(silent.accept().expect("a connection").0));
    let decoder = start(1, &client());
    let slow = decoder.clone();
    let linking = thread::spawn(move || only(slow.link_llm_clusters(&[cluster_at(0, at)], TIMEOUT)));
    let connection = connections.recv_timeout(PATIENCE).expect("it tries");
    let errors = [
        only(decoder.link_llm_clusters(&[cluster_at(0, at)], TIMEOUT)).expect_err("busy"),
        only(decoder.unlink_llm_clusters(&[cluster_at(0, at)], TIMEOUT, true)).expect_err("busy"),
    ];
    for error in errors {
        assert!(matches!(error, DataDistError::Linking { cluster_id: 0 }), "{error}");
        assert_eq!(error.status(), Status::ProcessingLink);
    }
    assert_eq!(status(decoder.set_role(LlmRole::Prompt, &Options::new())), Status::ExistLink);
    assert_eq!(status(decoder.check_link_status(0)), Status::NotYetLink);
    drop(connection);
    let failed = linking.join().expect("no panic").expect_err("nobody there");
    assert_eq!(failed.status(), Status::LinkFailed, "{failed}");
    listening.join().expect("no panic").expect("sent");
}

#[test]
fn a_silent_address_fails_within_the_time_given() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = silent.local_addr().expect("an address");
    let decoder = start(1, &client());
    let error = only(decoder.link_llm_clusters(&[cluster_at(0, at)], 50)).expect_err("nobody speaks");
    assert!(matches!(error, DataDistError::Connect { .. }), "{error}");
    let error =
        only(decoder.unlink_llm_clusters(&[cluster_at(0, at)], 50, false)).expect_err("nobody speaks");
    assert!(matches!(error, DataDistError::Unreachable { .. }), "{error}");
}

#[test]
fn clusters_that_link_each_other_at_once_have_one_link() {
    for round in 0..20 {
        let sides = [start(0, &server()), start(1, &server())];
        let threads = [0, 1].map(|side| {
            let (from, to) = (sides[side].clone(), cluster(&sides[1 - side]));
            thread::spawn(move || only(from.link_llm_clusters(&[to], TIMEOUT)))
        });
        let outcomes = threads.map(|thread| thread.join().expect("no panic"));
        let worked = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(worked >= 1, "round {round}: {outcomes:?}");
        for outcome in outcomes {
            let status = status(outcome);
            let allowed = [Status::Success, Status::AlreadyLink, Status::ProcessingLink];
            assert!(allowed.contains(&status), "round {round}: {status}");
        }
        let caches = (cache(&sides[0], 2, 2, 0), cache(&sides[1], 2, 2, 500));
        assert_eq!(
            (pull(&sides[0], 1), pull(&sides[1], 0)),
            (Status::Success, Status::Success),
            "round {round}"
        );
        drop(sides);
        drop(caches);
    }
}

#[test]
fn the_role_changes_where_a_process_listens() {
    let (prompt, decoder) = pair();
    let listen = |port: u16| with(Options::new(), OPTION_LISTEN_IP_INFO, &format!("127.0.0.1:{port}"));
    for side in [&prompt, &decoder] {
        let error = side.set_role(LlmRole::Mix, &listen(0)).expect_err("there is a link");
        assert!(matches!(error, DataDistError::LinksExist { links: 1 }), "{error}");
        assert_eq!(error.status(), Status::ExistLink);
    }
    let before = address(&prompt);
    unlink(&decoder, &prompt, false).expect("unlinked");
    let wrong = prompt.set_role(LlmRole::Decoder, &with(Options::new(), OPTION_LISTEN_IP_INFO, "nowhere"));
    assert_eq!(status(wrong), Status::ParamInvalid);
    assert_eq!((prompt.role(), address(&prompt)), (LlmRole::Mix, before), "nothing has changed");

    // They change places.
    prompt.set_role(LlmRole::Decoder, &Options::new()).expect("set");
    decoder.set_role(LlmRole::Prompt, &listen(0)).expect("set");
    assert_eq!((prompt.role(), decoder.role()), (LlmRole::Decoder, LlmRole::Prompt));
    assert!(TcpStream::connect(before).is_err(), "nobody listens there any more");
    link(&prompt, &decoder);
    let caches = (cache(&prompt, 2, 2, 0), cache(&decoder, 2, 2, 500));
    assert_eq!((pull(&prompt, 1), pull(&decoder, 0)), (Status::Success, Status::Success));
    let taken = start(9, &client()).set_role(LlmRole::Prompt, &listen(address(&decoder).port()));
    assert_eq!(status(taken), Status::Failed, "the port is taken");

    let fixed = start(10, &with(client(), OPTION_ENABLE_SET_ROLE, "0"));
    let error = fixed.set_role(LlmRole::Prompt, &Options::new()).expect_err("turned off");
    assert!(matches!(error, DataDistError::Disabled { option: OPTION_ENABLE_SET_ROLE }), "{error}");
    assert_eq!(error.status(), Status::FeatureNotEnabled);
    drop((prompt, decoder));
    drop(caches);
}

/// A cluster that links, and then behaves as the test says.
struct Odd {
    answer: fn(u16) -> Result<Vec<u8>, Refusal>,
}

impl Handler for Odd {
    fn request(&self, _: &Peer, kind: u16, _: &[u8]) -> Result<Vec<u8>, Refusal> {
        (self.answer)(kind)
    }
}

fn odd(answer: fn(u16) -> Result<Vec<u8>, Refusal>) -> (Fabric, ClusterInfo) {
    let config = EndpointConfig { listen: Some(([127, 0, 0, 1], 0).into()), ..EndpointConfig::default() };
    let fabric = Fabric::open(config, Arc::new(Odd { answer })).expect("a fabric");
    let cluster = cluster_at(0, fabric.local_address().expect("it listens"));
    (fabric, cluster)
}

#[test]
fn a_cluster_that_does_not_answer_in_time_is_told_from_one_that_is_gone() {
    let (_odd, cluster) = odd(|kind| {
        if kind != protocol::LINK {
            thread::sleep(Duration::from_millis(400));
        }
        Ok(Vec::new())
    });
    let decoder = start(1, &with(client(), OPTION_SYNC_CACHE_WAIT_TIME, "20"));
    let ours = cache(&decoder, 2, 2, 0);
    only(decoder.link_llm_clusters(std::slice::from_ref(&cluster), TIMEOUT)).expect("linked");
    let all = KvCacheExtParam::default();
    let error = decoder.pull_kv_cache(index(0, 1, 0), 1, 0, -1, &all).expect_err("no answer");
    assert!(matches!(error, DataDistError::NoAnswer { cluster_id: 0, millis: 20 }), "{error}");
    assert_eq!(error.status(), Status::WaitProcessTimeout);
    let error = only(decoder.unlink_llm_clusters(&[cluster], 20, false)).expect_err("no answer");
    assert!(matches!(error, DataDistError::NotConfirmed { .. }), "{error}");
    drop(decoder);
    drop(ours);
}

#[test]
fn a_cluster_that_talks_nonsense_is_an_error() {
    let (_odd, cluster) = odd(|kind| match kind {
        protocol::LINK => Ok(Vec::new()),
        protocol::LOOK_UP => {
            // Two tensors are promised, one address is given; rows that overrun their tensor.
            let kind = CacheKind::Mixed;
            let shape = CacheShape { tensors: 2, tensor_bytes: 64, rows: u64::MAX, stride: 64, kind };
            let (placement, accessible) = (CachePlacement::Host, true);
            let description = protocol::Description { shape, placement, accessible, addresses: vec![8] };
            Ok(protocol::encode(&protocol::Found { cache_id: 1, batch_index: 9, description }))
        }
        kind => Err(Refusal { code: 77, detail: format!("no {kind}") }),
    });
    let decoder = start(1, &client());
    let ours = cache(&decoder, 2, 2, 0);
    only(decoder.link_llm_clusters(std::slice::from_ref(&cluster), TIMEOUT)).expect("linked");
    assert_eq!(pull(&decoder, 0), Status::Failed);
    assert_eq!(ours.row(0, 0), filled(0, 0, 0));
    let error = only(decoder.unlink_llm_clusters(&[cluster], TIMEOUT, false)).expect_err("refused");
    assert_eq!(error.status(), Status::NotifyPromptUnlinkFailed, "{error}");

    let (_odd, cluster) = odd(|kind| Err(Refusal { code: 77, detail: format!("no {kind}") }));
    let error = only(decoder.link_llm_clusters(&[cluster], TIMEOUT)).expect_err("refused");
    assert!(matches!(error, DataDistError::Handshake { cluster_id: 0, .. }), "{error}");
    assert_eq!(error.status(), Status::LinkFailed);
    drop(decoder);
    drop(ours);
}

#[test]
fn nonsense_from_a_peer_is_refused_and_harms_nobody() {
    let (prompt, decoder) = pair();
    let fabric = Fabric::open(EndpointConfig::default(), Arc::new(Odd { answer: |_| Ok(Vec::new()) }))
        .expect("a fabric");
    let peer = fabric.connect(address(&prompt)).expect("connected");
    for kind in [protocol::LINK, protocol::UNLINK, protocol::LOOK_UP, protocol::CONSUMED, protocol::GONE, 99]
    {
        for body in [vec![], vec![0xff; 40]] {
            let answer = peer.request(kind, body, PATIENCE);
            assert!(matches!(answer, Err(pmd_host::control::RequestError::Refused(_))), "{kind}: {answer:?}");
        }
    }
    assert!(prompt.check_link_status(1).is_ok() && decoder.check_link_status(0).is_ok());
}
