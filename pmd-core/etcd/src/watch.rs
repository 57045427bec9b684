//! A watch: a picture of everything below a prefix, then etcd's lines of changes; from the start again after an
//! interruption, of which only what has changed is told.

use std::{
    thread,
    time::{Duration, Instant},
};

use pmd_host::metadata::{Change, MetadataError, Told, Watch};
use serde_json::Value;

use crate::{
    client::{CallError, Client, refusal},
    http::{Answer, HttpError},
    unreachable,
};

/// Silence after which a watch begins again: a host that is gone says nothing.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Pause before another attempt while etcd is away.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Watching {
    client: Client,
    prefix: String,
    told: Told,
    /// What tells of changes, and when it last did.
    lines: Option<(Answer, Instant)>,
}

impl Watching {
    pub(crate) fn new(client: Client, prefix: &str) -> Self {
        Self { client, prefix: prefix.to_owned(), told: Told::default(), lines: None }
    }

    /// Looks at everything, and asks for what changes from there on.
    fn begin(&mut self) -> Result<(), CallError> {
        let picture = self.client.list(&self.prefix)?;
        self.told.picture(picture.entries);
        let answer = self.client.watch(&self.prefix, picture.revision.saturating_add(1))?;
        if !answer.is_success() {
            return Err(CallError::Malformed { what: "it does not take watches" });
        }
        self.lines = Some((answer, Instant::now()));
        Ok(())
    }

    /// Hears one line, if there is one in time. An end of the lines is no news: the watch begins again.
    fn hear(&mut self, deadline: Instant) -> Result<(), CallError> {
        let Some((answer, heard)) = &mut self.lines else { return self.begin() };
        let silent = *heard + LONGEST_SILENCE;
        match answer.line(deadline.min(silent)) {
            Ok(Some(line)) => {
                *heard = Instant::now();
                let line: Value =
                    serde_json::from_slice(&line).map_err(|_| CallError::Malformed { what: "no JSON" })?;
                self.apply(&line)
            }
            Ok(None) if Instant::now() < silent => Ok(()),
            Ok(None) | Err(HttpError::Cut | HttpError::Io(_)) => {
                self.lines = None;
                Ok(())
            }
            Err(_) => Err(CallError::Malformed { what: "the lines of a watch" }),
        }
    }

    fn apply(&mut self, line: &Value) -> Result<(), CallError> {
        refusal(line)?;
        let result = &line["result"];
        if result["canceled"].as_bool().unwrap_or_default() {
            // What was asked for has been compacted away, for instance.
            self.lines = None;
            return Ok(());
        }
        for event in result["events"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let object = &event["kv"];
            // A put is the default, and left out.
            match event["type"].as_str() {
                Some("DELETE") => self.told.gone(self.client.name(object)?),
                _ => self.told.set(self.client.entry(object)?),
            }
        }
        Ok(())
    }
}

impl Watch for Watching {
    fn next(&mut self, timeout: Duration) -> Result<Option<Change>, MetadataError> {
        // What has come by now is read in no time, but not in none.
        let deadline = Instant::now() + timeout.max(Duration::from_millis(1));
        loop {
            if let Some(change) = self.told.take() {
                return Ok(Some(change));
            }
            // A picture is looked at even if there is no time: it says what is there.
            let is_late = Instant::now() >= deadline;
            if is_late && self.lines.is_some() {
                return Ok(None);
            }
            let Err(error) = self.hear(deadline) else { continue };
            self.lines = None;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(unreachable(&self.client, error));
            }
            thread::sleep(PAUSE.min(left));
        }
    }
}
