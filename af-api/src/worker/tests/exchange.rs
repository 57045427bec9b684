//! What goes where: pushes, pulls, sizes, servers.

use super::support::*;
use crate::{
    tensor::{DataType, Layout},
    worker::{PushPull, Results},
};

#[test]
fn a_push_and_a_pull_move_straight_between_the_tensors() {
    let server = server(3);
    let worker = worker(5, &[&server]);
    let push =
        ours(&worker, 100_000, 7).viewed_as(Layout::new(DataType::Float32, &[100, 250]).unwrap()).unwrap();
    let pull = ours(&worker, 200_000, 0);
    let handle = worker.push_pull(&PushPull::new().push(1, &push).pull(2, &pull).tag(9), soon()).unwrap();
    assert!(handle.poll().is_none(), "nobody has answered");

    let request = next(&server);
    assert_eq!((request.worker(), request.tag()), (node(5), 9));
    assert_eq!(pushed(&request), [(1, vec![7; 100_000])]);
    let layout = request.pushes().next().map(|push| *push.layout());
    assert_eq!(layout, Some(*push.layout()), "type and shape come with it");
    let wanted: Vec<_> = request.pulls().map(|pull| (pull.key, pull.bytes, pull.up_to)).collect();
    assert_eq!(wanted, [(2, 200_000, false)]);
    let response = request.respond(&[theirs(&server, 200_000, 8)]).unwrap();

    assert_eq!(handle.wait(soon()), Ok(Results { lengths: vec![200_000] }));
    response.wait(soon()).unwrap();
    assert!(is_filled(&pull, 8) && is_filled(&push, 7));
}

#[test]
fn small_tensors_travel_inside_the_messages() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let (push, pull) = (ours(&worker, 100, 1), ours(&worker, 200, 0));
    for round in 0..5 {
        filled(&push, round);
        let handle = worker.push_pull(&PushPull::new().push(1, &push).pull(2, &pull), soon()).unwrap();
        let request = next(&server);
        assert_eq!(pushed(&request), [(1, vec![round; 100])]);
        request.respond(&[theirs(&server, 200, round + 10)]).unwrap();
        handle.wait(soon()).unwrap();
        assert!(is_filled(&pull, round + 10));
    }
    let counters = worker.endpoint().counters(worker.peer(0).unwrap().transport()).unwrap();
    assert_eq!(counters.bytes, 0, "nothing was written");
}

#[test]
fn routed_rows_go_to_each_server_in_their_order() {
    let servers = [server(0), server(1)];
    let worker = worker(0, &[&servers[0], &servers[1]]);
    let tokens = rows(&worker, 64, 1000);
    let request = PushPull::new().push_rows(0, 1, &tokens, [63, 0, 1, 7]).unwrap();
    let request = request.push_rows(1, 1, &tokens, []).unwrap();
    let handle = worker.push_pull(&request, soon()).unwrap();
    let (first, second) = (next(&servers[0]), next(&servers[1]));
    let expected: Vec<u8> = [64, 1, 2, 8].into_iter().flat_map(|row| vec![row; 1000]).collect();
    assert_eq!(pushed(&first), [(1, expected)]);
    assert_eq!(pushed(&second), [(1, Vec::new())], "no rows for it");
    assert_eq!(second.pushes().next().map(|push| push.layout().shape().to_vec()), Some(vec![0, 1000]));
    first.respond(&[]).unwrap();
    second.respond(&[]).unwrap();
    assert_eq!(handle.wait(soon()), Ok(Results { lengths: vec![] }));
}
