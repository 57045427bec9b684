//! What goes to which of several servers, and what many tensors, batches and empty requests become.

use super::support::*;
use crate::{
    server::Server,
    tensor::{DataType, Layout, Tensor},
    worker::{Part, PushPull, PushPullError, Results, Worker},
};

fn cluster(count: u32) -> (Vec<Server>, Worker) {
    let servers: Vec<_> = (0..count).map(server).collect();
    let worker = worker(0, &servers.iter().collect::<Vec<_>>());
    (servers, worker)
}

#[test]
fn broadcasts_go_to_all_and_pulls_come_server_major() {
    let (servers, worker) = cluster(3);
    let push = ours(&worker, 5000, 4);
    let pulls: Vec<Tensor> = (0..6).map(|_| ours(&worker, 3000, 0)).collect();
    let request = PushPull::new().push(1, &push);
    let request = pulls.iter().zip(10..).fold(request, |request, (pull, key)| request.pull(key, pull));
    let handle = worker.push_pull(&request, soon()).unwrap();
    for (rank, server) in (0..).zip(&servers) {
        let request = next(server);
        assert_eq!(pushed(&request), [(1, vec![4; 5000])]);
        assert_eq!(request.pulls().map(|pull| pull.key).collect::<Vec<_>>(), [10 + 2 * rank, 11 + 2 * rank]);
        let answers = [1, 2].map(|second| theirs(server, 3000, 10 * rank as u8 + second));
        request.respond(&answers).unwrap();
    }
    assert_eq!(handle.wait(soon()), Ok(Results { lengths: vec![3000; 6] }));
    for (place, pull) in pulls.iter().enumerate() {
        assert!(is_filled(pull, (10 * (place / 2) + place % 2 + 1) as u8), "pull {place}");
    }
    assert!(handle.parts().iter().all(|(_, end)| *end == Some(Ok(()))));
}

#[test]
fn a_pull_without_a_push_works_with_several_servers() {
    let (servers, worker) = cluster(2);
    let pulls = [ours(&worker, 40_000, 0), ours(&worker, 40_000, 0)];
    let request = PushPull::new().pull(1, &pulls[0]).pull(1, &pulls[1]);
    let handle = worker.push_pull(&request, soon()).unwrap();
    for (server, byte) in servers.iter().zip([8, 9]) {
        next(server).respond(&[theirs(server, 40_000, byte)]).unwrap();
    }
    handle.wait(soon()).unwrap();
    assert!(is_filled(&pulls[0], 8) && is_filled(&pulls[1], 9));
}

#[test]
fn subsets_and_slices_reach_their_servers_only() {
    let (servers, worker) = cluster(3);
    let all = rows(&worker, 4, 2000);
    let pull = ours(&worker, 1000, 0);
    let request = PushPull::new()
        .servers([2, 0])
        .push(1, &all)
        .push_to(0, 2, &all.rows(1, 1).unwrap())
        .push_to(2, 2, &all.rows(2, 2).unwrap())
        .pull_from(2, 3, &pull);
    let handle = worker.push_pull(&request, soon()).unwrap();
    let (first, last) = (next(&servers[0]), next(&servers[2]));
    assert_eq!(pushed(&first), [(1, read(&all)), (2, vec![2; 2000])]);
    assert_eq!(pushed(&last), [(1, read(&all)), (2, [vec![3; 2000], vec![4; 2000]].concat())]);
    assert_eq!(servers[1].try_batch(crate::server::Gather::Any).unwrap().map(|batch| batch.len()), None);
    first.respond(&[]).unwrap();
    last.respond(&[theirs(&servers[2], 1000, 6)]).unwrap();
    handle.wait(soon()).unwrap();
    assert!(is_filled(&pull, 6));

    // To one server alone, the others hear nothing.
    let handle = worker.push_pull(&PushPull::new().push_to(1, 1, &all), soon()).unwrap();
    next(&servers[1]).respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
    assert_eq!(handle.parts().len(), 1);
}

#[test]
fn empty_requests_and_empty_tensors_are_answered() {
    let (servers, worker) = cluster(2);
    let handle = worker.push_pull(&PushPull::new(), soon()).unwrap();
    for server in &servers {
        let request = next(server);
        assert_eq!((request.pushes().count(), request.pulls().count()), (0, 0));
        request.respond(&[]).unwrap().wait(soon()).unwrap();
    }
    handle.wait(soon()).unwrap();

    let memory = worker.allocate(64).unwrap();
    let none = Tensor::new(&memory, 64, Layout::new(DataType::Bfloat16, &[0, 7168]).unwrap()).unwrap();
    let request = PushPull::new().push_to(0, 1, &none).pull_from(0, 2, &none);
    let handle = worker.push_pull(&request, soon()).unwrap();
    let request = next(&servers[0]);
    assert_eq!(request.pushes().next().map(|push| push.layout().shape().to_vec()), Some(vec![0, 7168]));
    let empty = theirs(&servers[0], 0, 0);
    request.respond(&[empty]).unwrap();
    assert_eq!(handle.wait(soon()), Ok(Results { lengths: vec![0] }));
}

#[test]
fn more_tensors_than_a_header_holds_come_as_one_request() {
    let (servers, worker) = cluster(1);
    let pushes: Vec<Tensor> = (0..150).map(|index| ours(&worker, 300, index)).collect();
    let pulls: Vec<Tensor> = (0..150).map(|_| ours(&worker, 400, 0)).collect();
    let request =
        pushes.iter().zip(0..).fold(PushPull::new().tag(3), |request, (push, key)| request.push(key, push));
    let request = pulls.iter().zip(0..).fold(request, |request, (pull, key)| request.pull(key, pull));
    let handle = worker.push_pull(&request, soon()).unwrap();
    let request = next(&servers[0]);
    assert!(request.is_batch() && request.tag() == 3);
    let expected: Vec<_> = (0..150).map(|index| (index, vec![index as u8; 300])).collect();
    assert_eq!(pushed(&request), expected);
    let answers: Vec<Tensor> = (0..150).map(|index| theirs(&servers[0], 400, 200 - index)).collect();
    request.respond(&answers).unwrap();
    assert_eq!(handle.wait(soon()), Ok(Results { lengths: vec![400; 150] }));
    assert!(pulls.iter().zip(0..).all(|(pull, index)| is_filled(pull, 200 - index)));
}

#[test]
fn the_parts_of_a_batch_come_together() {
    let (servers, worker) = cluster(1);
    let tensors = [ours(&worker, 10, 1), ours(&worker, 5000, 2), ours(&worker, 10, 3)];
    let pulls = [ours(&worker, 20, 0), ours(&worker, 4000, 0), ours(&worker, 20, 0)];
    for _ in 0..3 {
        let mut handles = Vec::new();
        for (index, part) in [Part::Start, Part::Middle, Part::End].into_iter().enumerate() {
            assert!(servers[0].try_batch(crate::server::Gather::Any).unwrap().is_none(), "parts are missing");
            let request = PushPull::new().push(index as u64, &tensors[index]).pull(9, &pulls[index]);
            handles.push(worker.push_pull(&request.part(part), soon()).unwrap());
        }
        let request = next(&servers[0]);
        assert_eq!(pushed(&request), [(0, vec![1; 10]), (1, vec![2; 5000]), (2, vec![3; 10])]);
        let answers = [(20, 4), (4000, 5), (20, 6)].map(|(bytes, fill)| theirs(&servers[0], bytes, fill));
        request.respond(&answers).unwrap();
        for (handle, (pull, fill)) in handles.iter().zip(pulls.iter().zip(4..)) {
            handle.wait(soon()).unwrap();
            assert!(is_filled(pull, fill));
            filled(pull, 0);
        }
    }
}

#[test]
fn what_does_not_go_round_or_names_nobody_is_refused() {
    let (_servers, worker) = cluster(2);
    let tensor = ours(&worker, 8, 0);
    let odd = PushPull::new().pull(1, &tensor);
    assert_eq!(
        worker.push_pull(&odd, soon()).unwrap_err(),
        PushPullError::PullCount { given: 1, servers: 2 }
    );
    let unknown = PushPull::new().push_to(7, 1, &tensor);
    assert_eq!(worker.push_pull(&unknown, soon()).unwrap_err(), PushPullError::UnknownServer { server: 7 });
    let nobody = PushPull::new().servers([]).push(1, &tensor);
    assert_eq!(worker.push_pull(&nobody, soon()).unwrap_err(), PushPullError::NoServers);
    assert!(PushPull::new().push_rows(0, 1, &tensor, [8]).is_err());
    let other = super::support::worker(1, &[]);
    let foreign = PushPull::new().push(1, &ours(&other, 8, 0));
    assert_eq!(worker.push_pull(&foreign, soon()).unwrap_err(), PushPullError::ForeignMemory { key: 1 });
}
