//! etcd's calls, as its gateway takes them: keys and values in base64, numbers of 64 bits as text.
//!
//! etcd's manual, "API reference" and "gRPC gateway": `KV.Range`, `KV.Txn`, `Lease.LeaseGrant`, `Lease.LeaseKeepAlive`,
//! `Lease.LeaseRevoke`, `Watch.Watch`. Fields that have their default value are left out of answers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use pmd_host::metadata::Entry;
use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    http::{self, Answer, HttpError},
    url::{EtcdUrl, Member},
};

/// Calls etcd's members, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    url: EtcdUrl,
    patience: Duration,
    /// Number of the member that answered last.
    last: Mutex<usize>,
}

/// All entries below a prefix at one time.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) entries: Vec<Entry>,
    /// etcd's count of changes then.
    pub(crate) revision: i64,
}

/// What became of an attempt to make a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// It is there, with the lease asked for.
    Created,
    /// It was there, of another lease.
    Taken { value: String },
}

impl Client {
    pub(crate) fn new(url: EtcdUrl, patience: Duration) -> Self {
        Self { shared: Arc::new(Shared { url, patience, last: Mutex::new(0) }) }
    }

    pub(crate) fn url(&self) -> &EtcdUrl {
        &self.shared.url
    }

    pub(crate) fn patience(&self) -> Duration {
        self.shared.patience
    }

    /// What is under a name.
    pub(crate) fn find(&self, name: &str) -> Result<Option<String>, CallError> {
        let answer = self.call("/v3/kv/range", &json!({ "key": self.key(name) }))?;
        entries(&answer)?.first().map(|entry| text(entry, "value")).transpose()
    }

    /// What is below a prefix, by name.
    pub(crate) fn list(&self, prefix: &str) -> Result<Picture, CallError> {
        let (key, range_end) = self.range(prefix);
        let request =
            json!({ "key": key, "range_end": range_end, "sort_target": "KEY", "sort_order": "ASCEND" });
        let answer = self.call("/v3/kv/range", &request)?;
        let revision =
            number(&answer["header"]["revision"]).ok_or(CallError::Malformed { what: "its revision" })?;
        let entries = entries(&answer)?.iter().map(|entry| self.entry(entry)).collect::<Result<_, _>>()?;
        Ok(Picture { entries, revision })
    }

    /// A lease of so many seconds.
    pub(crate) fn grant(&self, seconds: u64) -> Result<i64, CallError> {
        let answer = self.call("/v3/lease/grant", &json!({ "TTL": seconds.to_string() }))?;
        number(&answer["ID"]).ok_or(CallError::Malformed { what: "the number of the lease" })
    }

    /// Gives a lease its whole time again; whether it lives.
    pub(crate) fn keep_alive(&self, lease: i64) -> Result<bool, CallError> {
        let answer = self.call("/v3/lease/keepalive", &json!({ "ID": lease.to_string() }))?;
        refusal(&answer)?;
        Ok(number(&answer["result"]["TTL"]).is_some_and(|seconds| seconds > 0))
    }

    /// Ends a lease, and every entry of it.
    pub(crate) fn revoke(&self, lease: i64) -> Result<(), CallError> {
        self.call("/v3/lease/revoke", &json!({ "ID": lease.to_string() })).map(drop)
    }

    /// Makes a key that is not there. One of the same lease and value counts as made: an answer may have been lost.
    pub(crate) fn create(&self, name: &str, value: &str, lease: i64) -> Result<Creation, CallError> {
        let key = self.key(name);
        let put = json!({ "key": key, "value": STANDARD.encode(value), "lease": lease.to_string() });
        let request = json!({
            "compare": [{ "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0" }],
            "success": [{ "request_put": put }],
            "failure": [{ "request_range": { "key": key } }],
        });
        let answer = self.call("/v3/kv/txn", &request)?;
        if answer["succeeded"].as_bool().unwrap_or_default() {
            return Ok(Creation::Created);
        }
        let found = entries(&answer["responses"][0]["response_range"])?;
        let holder = found.first().ok_or(CallError::Malformed { what: "who has the name" })?;
        if number(&holder["lease"]) == Some(lease) {
            return Ok(Creation::Created);
        }
        Ok(Creation::Taken { value: text(holder, "value")? })
    }

    /// Takes a key away if it is of this lease.
    pub(crate) fn remove(&self, name: &str, lease: i64) -> Result<(), CallError> {
        let key = self.key(name);
        let request = json!({
            "compare": [{ "key": key, "target": "LEASE", "result": "EQUAL", "lease": lease.to_string() }],
            "success": [{ "request_delete_range": { "key": key } }],
        });
        self.call("/v3/kv/txn", &request).map(drop)
    }

    /// An answer that tells, line by line, what changes below a prefix from a revision on.
    pub(crate) fn watch(&self, prefix: &str, revision: i64) -> Result<Answer, CallError> {
        let (key, range_end) = self.range(prefix);
        let create = json!({ "key": key, "range_end": range_end, "start_revision": revision.to_string() });
        self.post("/v3/watch", &json!({ "create_request": create }), |answer, _| Ok(answer))
    }

    /// The entry that an object with key and value is.
    pub(crate) fn entry(&self, object: &Value) -> Result<Entry, CallError> {
        let name = self.name(object)?;
        // Left out where it is empty.
        Ok(Entry { name, value: text(object, "value")? })
    }

    /// The name that an object's key is.
    pub(crate) fn name(&self, object: &Value) -> Result<String, CallError> {
        let key = text(object, "key")?;
        let name = key.strip_prefix(&self.root()).map(str::to_owned);
        name.ok_or(CallError::Malformed { what: "a key that was not asked for" })
    }

    fn root(&self) -> String {
        format!("/{}/", self.url().root)
    }

    fn key(&self, name: &str) -> String {
        STANDARD.encode(self.root() + name)
    }

    /// First key that begins so, and the first behind all of them.
    fn range(&self, prefix: &str) -> (String, String) {
        let first = (self.root() + prefix).into_bytes();
        let mut behind = first.clone();
        // Text has no byte of all ones.
        if let Some(last) = behind.last_mut() {
            *last += 1;
        }
        (STANDARD.encode(first), STANDARD.encode(behind))
    }

    /// Calls, and reads the whole answer as JSON.
    fn call(&self, path: &str, request: &Value) -> Result<Value, CallError> {
        let body = self.post(path, request, Answer::whole)?;
        serde_json::from_slice(&body).map_err(|_| CallError::Malformed { what: "no JSON" })
    }

    /// Asks the member that answered last, then the others, each within its share of the time.
    fn post<T>(
        &self,
        path: &str,
        request: &Value,
        receive: impl Fn(Answer, Instant) -> Result<T, HttpError>,
    ) -> Result<T, CallError> {
        let members = &self.shared.url.members;
        let last = *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner);
        let share = self.patience() / u32::try_from(members.len()).unwrap_or(u32::MAX).max(1);
        let body = request.to_string();
        let mut refused = None;
        for turn in 0..members.len() {
            let number = (last + turn) % members.len();
            let deadline = Instant::now() + share;
            let answer = http::post(&members[number], path, &body, deadline)
                .and_then(|answer| receive(answer, deadline));
            match answer {
                Ok(answer) => {
                    *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = number;
                    return Ok(answer);
                }
                Err(source) => refused = Some(CallError::Http { member: members[number].clone(), source }),
            }
        }
        Err(refused.unwrap_or(CallError::Malformed { what: "no member of etcd was named" }))
    }
}

/// The entries of an answer; left out where there are none.
fn entries(answer: &Value) -> Result<&[Value], CallError> {
    refusal(answer)?;
    Ok(answer["kvs"].as_array().map(Vec::as_slice).unwrap_or_default())
}

/// Whether an answer that came well says that something did not.
pub(crate) fn refusal(answer: &Value) -> Result<(), CallError> {
    let said = match &answer["error"] {
        Value::Null => return Ok(()),
        Value::String(said) => said.clone(),
        object => object["message"].as_str().unwrap_or("no reason").to_owned(),
    };
    Err(CallError::Refused { said })
}

/// A number of 64 bits.
pub(crate) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// A field of bytes that are text; nothing where it is left out.
fn text(object: &Value, field: &str) -> Result<String, CallError> {
    let bytes = STANDARD.decode(object[field].as_str().unwrap_or_default());
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or(CallError::Malformed { what: "a key or a value that is no text" })
}

/// Why a call to etcd failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// No member answered; the last one's reason.
    #[error("etcd at {member}")]
    Http {
        /// The one asked last.
        member: Member,
        /// What went wrong.
        #[source]
        source: HttpError,
    },
    /// etcd refuses.
    #[error("etcd refuses: {said}")]
    Refused {
        /// Its words.
        said: String,
    },
    /// What answers is not etcd, or of another version.
    #[error("the answer is not one of etcd's: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
}
