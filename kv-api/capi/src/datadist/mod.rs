//! LLM-DataDist in C. Called by `llm_datadist/llm_datadist.h`; stands on [`kv_api::datadist`].
//!
//! Functions give LLM-DataDist's own codes: 0 is done, 0x5010B001 and up as in `llm_datadist/llm_datadist.h`. What is
//! wrong with a pointer or a handle is `LLM_PARAM_INVALID`.
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

mod caches;
mod task;
mod types;

use std::sync::Arc;

use kv_api::datadist::{ClusterResults, DataDistError, LlmDataDist, LlmRole, Status};
use pmd_capi::BadCall;

pub use caches::*;
pub use task::*;
pub use types::*;

use crate::{
    boundary::{Place, Table, guard_code},
    options::{options_at, pmd_kv_option},
    status::{Failure, chain},
};

/// One end of the transfers of a process: a cluster.
pub struct pmd_datadist {
    _opaque: [u8; 0],
}

static CLUSTERS: Table<pmd_datadist, LlmDataDist> = Table::new("LLM-DataDist object");

/// Why a call failed.
enum Fault {
    /// At the boundary.
    Boundary(Failure),
    /// In LLM-DataDist.
    DataDist(DataDistError),
    /// For one of several clusters.
    Cluster(Status, String),
}

impl From<BadCall> for Fault {
    fn from(error: BadCall) -> Self {
        Self::Boundary(error.into())
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Boundary(failure)
    }
}

impl From<DataDistError> for Fault {
    fn from(error: DataDistError) -> Self {
        Self::DataDist(error)
    }
}

/// Runs a call, and gives its code.
fn run(call: impl FnOnce() -> Result<(), Fault>) -> u32 {
    guard_code(Status::Success.code(), Status::Failed.code(), || {
        call().map_err(|fault| match fault {
            Fault::Boundary(failure) => (Status::ParamInvalid.code(), failure.text),
            Fault::DataDist(error) => (error.status().code(), chain(&error)),
            Fault::Cluster(status, text) => (status.code(), text),
        })
    })
}

/// Makes an object for cluster `cluster_id`; `role` is 1 for prompt, 2 for decoder, 3 for both. It is to be initialised.
/// Destroy it with `pmd_datadist_destroy`.
///
/// # Safety
/// `cluster` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_create(
    cluster_id: u64,
    role: i32,
    cluster: *mut *mut pmd_datadist,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(cluster, "the place for the object")? };
        place.put(CLUSTERS.insert(LlmDataDist::new(cluster_id, role_of(role)?)));
        Ok(())
    })
}

/// Finalises an object, and forgets it.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_datadist_destroy(cluster: *mut pmd_datadist) -> u32 {
    run(|| {
        CLUSTERS.remove(cluster)?.finalize();
        Ok(())
    })
}

/// `Initialize`.
///
/// # Safety
/// The texts of `count` options end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_initialize(
    cluster: *const pmd_datadist,
    options: *const pmd_kv_option,
    count: usize,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { options_at(options, count)? };
        Ok(find(cluster)?.initialize(&options)?)
    })
}

/// `Finalize`: when it returns, nothing touches the program's memory any more.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_datadist_finalize(cluster: *const pmd_datadist) -> u32 {
    run(|| {
        find(cluster)?.finalize();
        Ok(())
    })
}

/// `SetRole`.
///
/// # Safety
/// The texts of `count` options end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_set_role(
    cluster: *const pmd_datadist,
    role: i32,
    options: *const pmd_kv_option,
    count: usize,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { options_at(options, count)? };
        Ok(find(cluster)?.set_role(role_of(role)?, &options)?)
    })
}

/// `LinkLlmClusters`. `statuses` has one code for each cluster afterwards, if the call as a whole could be.
///
/// # Safety
/// `clusters` has its count, and its arrays theirs; `statuses` has room for `count` codes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_link(
    cluster: *const pmd_datadist,
    clusters: *const pmd_datadist_cluster,
    count: usize,
    statuses: *mut u32,
    timeout_ms: i32,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let clusters = unsafe { clusters_at(clusters, count)? };
        let results = find(cluster)?.link_llm_clusters(&clusters, timeout_ms)?;
        // SAFETY: the caller's promise.
        unsafe { report(&results, statuses) }
    })
}

/// `UnlinkLlmClusters`. As `pmd_datadist_link`; with `force` only this side's end goes.
///
/// # Safety
/// As `pmd_datadist_link`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_unlink(
    cluster: *const pmd_datadist,
    clusters: *const pmd_datadist_cluster,
    count: usize,
    statuses: *mut u32,
    timeout_ms: i32,
    force: bool,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let clusters = unsafe { clusters_at(clusters, count)? };
        let results = find(cluster)?.unlink_llm_clusters(&clusters, timeout_ms, force)?;
        // SAFETY: the caller's promise.
        unsafe { report(&results, statuses) }
    })
}

/// Whether the link to a cluster is up: 0, or `LLM_NOT_YET_LINK`.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_datadist_check_link(cluster: *const pmd_datadist, remote_cluster_id: u64) -> u32 {
    run(|| Ok(find(cluster)?.check_link_status(remote_cluster_id)?))
}

fn find(cluster: *const pmd_datadist) -> Result<Arc<LlmDataDist>, Failure> {
    Ok(CLUSTERS.find(cluster)?)
}

fn role_of(number: i32) -> Result<LlmRole, Failure> {
    let unknown = || Failure::argument(format!("there is no role {number}: give 1, 2 or 3"));
    LlmRole::from_number(number).ok_or_else(unknown)
}

/// Writes the status of each cluster; the call's is the last failure's.
///
/// # Safety
/// `statuses` is null or has room for as many codes as there are results.
unsafe fn report(results: &ClusterResults, statuses: *mut u32) -> Result<(), Fault> {
    for (index, status) in results.statuses().iter().enumerate() {
        // SAFETY: null, or the caller's promise.
        unsafe { Place::optional(if statuses.is_null() { statuses } else { statuses.add(index) }) }
            .put(status.code());
    }
    match results.0.iter().rev().find_map(|result| result.as_ref().err()) {
        None => Ok(()),
        Some(error) => Err(Fault::Cluster(results.status(), chain(error))),
    }
}
