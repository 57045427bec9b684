//! Asynchronous transfers, from their start until the program has heard how they ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pmd_host::transfer::{CancelOutcome, Transfer, TransferError};

use super::{
    HixlError, Status, TransferReq, TransferResult, TransferStatus, TransferStatusArgs,
    staging::StagedTransfer,
};

/// Most transfers whose end nobody has asked for.
pub(super) const LIMIT: usize = 1 << 16;

/// The asynchronous transfers of an engine.
#[derive(Default)]
pub(super) struct Requests(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: u64,
    requests: BTreeMap<TransferReq, Request>,
}

struct Request {
    work: Work,
    user_data: u64,
    /// Number of the control connection of its link.
    link: u64,
}

/// What carries a transfer out.
pub(super) enum Work {
    /// The lane.
    Direct(Transfer),
    /// The staging thread.
    Staged(Arc<StagedTransfer>),
    /// Being stopped by a thread that takes the link down.
    Stopping,
    /// Nothing any more.
    Ended(TransferStatus),
}

/// How a request stands, and over which link it went.
pub(super) struct Standing {
    pub(super) status: TransferStatus,
    pub(super) link: u64,
}

impl Requests {
    /// Starts a transfer and gives it a number.
    pub(super) fn start(
        &self,
        link: u64,
        user_data: u64,
        start: impl FnOnce() -> Result<Work, HixlError>,
    ) -> Result<TransferReq, HixlError> {
        if self.table().requests.len() >= LIMIT {
            return Err(HixlError::TooManyRequests { limit: LIMIT });
        }
        let work = start()?;
        let mut table = self.table();
        table.last += 1;
        let req = TransferReq(table.last);
        table.requests.insert(req, Request { work, user_data, link });
        Ok(req)
    }

    /// How one stands; after its end it is forgotten.
    pub(super) fn standing(&self, req: TransferReq) -> Result<Standing, HixlError> {
        let mut table = self.table();
        let request = table.requests.get(&req).ok_or(HixlError::UnknownRequest { req })?;
        let standing = Standing { status: request.work.status(), link: request.link };
        if standing.status != TransferStatus::Waiting {
            table.requests.remove(&req);
        }
        Ok(standing)
    }

    /// How all stand, oldest first; those that have ended are forgotten. With each the number of its link.
    pub(super) fn standings(&self, args: TransferStatusArgs) -> Vec<(TransferResult, u64)> {
        let mut table = self.table();
        let most = usize::try_from(args.max_query_count).unwrap_or(usize::MAX);
        let standings: Vec<_> = table
            .requests
            .iter()
            .map(|(req, Request { work, user_data, link })| {
                (TransferResult { req: *req, user_data: *user_data, status: work.status() }, *link)
            })
            .filter(|(result, _)| !(args.skip_waiting && result.status == TransferStatus::Waiting))
            .take(most)
            .collect();
        for (result, _) in standings.iter().filter(|(result, _)| result.status != TransferStatus::Waiting) {
            table.requests.remove(&result.req);
        }
        standings
    }

    /// Whether a transfer over the link is in flight.
    pub(super) fn uses(&self, link: u64) -> bool {
        let table = self.table();
        let mut of_link = table.requests.values().filter(|request| request.link == link);
        of_link.any(|request| request.work.status() == TransferStatus::Waiting)
    }

    /// Stops what is in flight over the link. When this returns, nothing of it is outstanding.
    pub(super) fn end_all_of(&self, link: u64) {
        // Without the table's lock: others may ask how theirs stand meanwhile.
        let stopping = self.table().stop(link);
        for (req, work) in stopping {
            let ended = work.stop();
            if let Some(request) = self.table().requests.get_mut(&req) {
                request.work = Work::Ended(ended);
            }
        }
    }

    /// Forgets all of them. They have been stopped.
    pub(super) fn clear(&self) {
        self.table().requests.clear();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes the work of a link's transfers in flight.
    fn stop(&mut self, link: u64) -> Vec<(TransferReq, Work)> {
        let of_link = self.requests.iter_mut().filter(|(_, request)| request.link == link);
        let taken =
            of_link.map(|(req, request)| (*req, std::mem::replace(&mut request.work, Work::Stopping)));
        taken.collect()
    }
}

impl Work {
    fn status(&self) -> TransferStatus {
        match self {
            Self::Direct(transfer) => {
                transfer.poll().map_or(TransferStatus::Waiting, |outcome| match outcome {
                    Ok(_) => TransferStatus::Completed,
                    Err(error) => failed(error),
                })
            }
            Self::Staged(staged) => staged.outcome().map_or(TransferStatus::Waiting, of_status),
            Self::Stopping => TransferStatus::Waiting,
            Self::Ended(status) => *status,
        }
    }

    fn stop(self) -> TransferStatus {
        match self {
            Self::Direct(mut transfer) => match transfer.cancel() {
                CancelOutcome::Completed(_) => TransferStatus::Completed,
                CancelOutcome::Cancelled => TransferStatus::Failed,
                CancelOutcome::Failed(error) => failed(error),
            },
            Self::Staged(staged) => of_status(staged.stop()),
            Self::Stopping => TransferStatus::Failed,
            Self::Ended(status) => status,
        }
    }
}

fn failed(error: TransferError) -> TransferStatus {
    of_status(HixlError::Transfer(error).status())
}

fn of_status(status: Status) -> TransferStatus {
    match status {
        Status::Success => TransferStatus::Completed,
        Status::Timeout => TransferStatus::Timeout,
        _ => TransferStatus::Failed,
    }
}
