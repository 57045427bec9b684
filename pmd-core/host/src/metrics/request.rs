//! One HTTP exchange: what was asked, from bytes, and what is answered. No sockets; [`super::server`] has those.
//!
//! RFC 9112 is kept to as far as a GET without a body needs it: a request line of three parts, header lines that are
//! not looked at, an empty line. Every answer closes the connection.

use super::page::CONTENT_TYPE;

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The page, or only its head.
    Page { with_body: bool },
    /// An error of this status.
    Refuse(Status),
}

/// Statuses of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    Internal,
    VersionNotSupported,
}

impl Status {
    const fn line(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::Internal => "500 Internal Server Error",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// What to answer to these bytes; `None` while the request is not whole, of at most `limit` bytes.
pub(super) fn answer(bytes: &[u8], limit: usize) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    match end {
        Some(end) if end + 4 <= limit => Some(of_line(bytes[..end].split(|byte| *byte == b'\r').next()?)),
        None if bytes.len() < limit => None,
        _ => Some(Answer::Refuse(Status::TooLarge)),
    }
}

fn of_line(line: &[u8]) -> Answer {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let parts: Vec<&str> = text.split(' ').collect();
    let [method, target, version] = parts[..] else { return Answer::Refuse(Status::BadRequest) };
    let is_token = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_token || !target.starts_with('/') || !version.starts_with("HTTP/") {
        return Answer::Refuse(Status::BadRequest);
    }
    if !version.starts_with("HTTP/1.") {
        return Answer::Refuse(Status::VersionNotSupported);
    }
    let path = target.split('?').next().unwrap_or_default();
    match (path, method) {
        ("/metrics", "GET") => Answer::Page { with_body: true },
        ("/metrics", "HEAD") => Answer::Page { with_body: false },
        ("/metrics", _) => Answer::Refuse(Status::MethodNotAllowed),
        _ => Answer::Refuse(Status::NotFound),
    }
}

/// The bytes of an answer; `page` makes the page where one is wanted, and has none if it failed.
pub(super) fn response(answer: Answer, page: impl FnOnce() -> Option<String>) -> Vec<u8> {
    match answer {
        Answer::Page { with_body } => match page() {
            Some(page) => bytes("200 OK", CONTENT_TYPE, "", &page, with_body),
            None => refusal(Status::Internal),
        },
        Answer::Refuse(status) => refusal(status),
    }
}

fn refusal(status: Status) -> Vec<u8> {
    let allow = if status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
    let body = format!("{}: GET /metrics is what there is\n", status.line());
    bytes(status.line(), "text/plain; charset=utf-8", allow, &body, true)
}

fn bytes(status: &str, content_type: &str, header: &str, body: &str, with_body: bool) -> Vec<u8> {
    let length = body.len();
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{header}\
         Connection: close\r\n\r\n"
    );
    text.push_str(if with_body { body } else { "" });
    text.into_bytes()
}
