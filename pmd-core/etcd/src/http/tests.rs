//! Answers as servers send them, whole and in bits, and those that no server should send.

use std::{net::TcpListener, thread};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// A server of one connection: hears the request whole, then sends these pieces.
fn served(pieces: Vec<Vec<u8>>) -> (Member, thread::JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = Vec::new();
        while !request.ends_with(b"{}") {
            let mut buffer = [0; 256];
            let length = stream.read(&mut buffer).expect("the request");
            assert!(length > 0, "the request is cut");
            request.extend_from_slice(&buffer[..length]);
        }
        for piece in pieces {
            // Who has heard enough hangs up.
            if stream.write_all(&piece).is_err() {
                break;
            }
        }
        String::from_utf8(request).expect("text")
    });
    (Member { host: "127.0.0.1".to_owned(), port }, serving)
}

fn answer(text: &str) -> Result<Vec<u8>, HttpError> {
    let bytes = text.as_bytes();
    // Every byte alone is the hardest case, and the whole at once another.
    let (member, alone) = served(bytes.chunks(1).map(<[u8]>::to_vec).collect());
    let one = post(&member, "/v3/x", "{}", Instant::now() + SOON)
        .and_then(|answer| answer.whole(Instant::now() + SOON));
    alone.join().expect("no panic");
    let (member, together) = served(vec![bytes.to_vec()]);
    let other = post(&member, "/v3/x", "{}", Instant::now() + SOON)
        .and_then(|answer| answer.whole(Instant::now() + SOON));
    let request = together.join().expect("no panic");
    let head = format!("POST /v3/x HTTP/1.1\r\nHost: {member}\r\n");
    assert!(request.starts_with(&head) && request.contains("\r\nContent-Length: 2\r\n"), "{request}");
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one, other);
            Ok(one)
        }
        (Err(one), Err(other)) => {
            assert_eq!(one.to_string(), other.to_string());
            Err(one)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn bodies_of_every_framing_are_received() {
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", "abcd"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\n\r\nabcd", "abcd"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", "abcd"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n4;x=y\r\nabcd\r\n0\r\n\r\n", "abcd"),
    ];
    for (text, body) in cases {
        assert_eq!(answer(text).expect(text), body.as_bytes(), "{text:?}");
    }
}

#[test]
fn refusals_come_with_their_text() {
    let refused = answer("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone").expect_err("a refusal");
    assert!(matches!(refused, HttpError::Status { status: 404, ref body } if body == "gone"), "{refused}");
}

#[test]
fn what_is_no_answer_is_refused() {
    let malformed = [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    ];
    for text in malformed {
        let refused = answer(text).expect_err(text);
        assert!(matches!(refused, HttpError::Malformed { .. }), "{text:?}: {refused}");
    }
    for text in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"] {
        let refused = answer(text).expect_err(text);
        assert!(matches!(refused, HttpError::Cut), "{text:?}: {refused}");
    }
    let unfinished = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab";
    assert!(matches!(answer(unfinished), Err(HttpError::Cut)));
}

#[test]
fn heads_and_answers_are_bounded() {
    let endless = vec![b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; HEAD_LIMIT + 4096]];
    let (member, serving) = served(endless);
    let refused = post(&member, "/", "{}", Instant::now() + SOON).expect_err("too long");
    assert!(matches!(refused, HttpError::TooLong { limit: HEAD_LIMIT }), "{refused}");
    serving.join().expect("no panic");
    let pieces = [vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], vec![vec![b'y'; 1 << 20]; 17]].concat();
    let (member, serving) = served(pieces);
    let answer = post(&member, "/", "{}", Instant::now() + SOON).expect("a head");
    let refused = answer.whole(Instant::now() + SOON).expect_err("too long");
    assert!(matches!(refused, HttpError::TooLong { limit: ANSWER_LIMIT }), "{refused}");
    serving.join().expect("no panic");
}

#[test]
fn lines_come_one_by_one_and_waiting_for_them_goes_on_later() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let member =
        Member { host: "127.0.0.1".to_owned(), port: listener.local_addr().expect("its address").port() };
    let (go, told) = std::sync::mpsc::channel::<&'static str>();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        for piece in told {
            stream.write_all(piece.as_bytes()).expect("the client listens");
        }
    });
    go.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n").expect("a server");
    let mut answer = post(&member, "/", "{}", Instant::now() + SOON).expect("a head");
    assert!(answer.is_success());
    let mut line = |patience| answer.line(Instant::now() + patience);
    assert_eq!(line(SOON).expect("a line").as_deref(), Some(&b"a\n"[..]));
    assert_eq!(line(Duration::from_millis(5)).expect("none yet"), None);
    go.send("2\r\nc\n\r\n").expect("a server");
    assert_eq!(line(SOON).expect("a line").as_deref(), Some(&b"bc\n"[..]));
    drop(go);
    // A server that has not read the whole request resets the connection.
    assert!(matches!(line(SOON), Err(HttpError::Cut | HttpError::Io(_))));
    serving.join().expect("no panic");
}

#[test]
fn nobody_there_and_nobody_who_answers_are_told_apart() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let member = Member { host: "127.0.0.1".to_owned(), port };
    let silent = post(&member, "/", "{}", Instant::now() + Duration::from_millis(20)).expect_err("silence");
    assert!(matches!(silent, HttpError::Late), "{silent}");
    drop(listener);
    let nobody = post(&member, "/", "{}", Instant::now() + SOON).expect_err("nobody listens");
    assert!(matches!(nobody, HttpError::Io(_)), "{nobody}");
}
