//! Every status, produced: what is refused, and that nothing moves then.

use super::*;

#[test]
fn nothing_works_before_initialize_and_after_finalize() {
    let datadist = LlmDataDist::new(7, LlmRole::Prompt);
    let all = KvCacheExtParam::default();
    let check = |datadist: &LlmDataDist| {
        let failures = [
            datadist.set_role(LlmRole::Mix, &Options::new()),
            datadist.link_llm_clusters(&[], 1).map(drop),
            datadist.unlink_llm_clusters(&[], 1, true).map(drop),
            datadist.check_link_status(1),
            // SAFETY: it is refused.
            unsafe { datadist.register_kv_cache(&desc(1, 1), &[8], &CacheKeys::None) }.map(drop),
            datadist.unregister_kv_cache(1),
            datadist.allocate_cache(&desc(1, 1), &CacheKeys::None).map(drop),
            datadist.deallocate_cache(1),
            datadist.remove_cache_key(&CacheKey::of_request(0, 1, 0)),
            datadist.pull_kv_cache(index(0, 1, 0), 1, 0, -1, &all),
            datadist.pull_kv_blocks(index(0, 1, 0), 1, &[0], &[0], &all),
            datadist.push_kv_cache(1, index(0, 1, 0), 0, -1, &all),
            datadist.push_kv_blocks(1, index(0, 1, 0), &[0], &[0], &all),
            datadist.copy_kv_cache(1, 1, 0, 0, 0, -1),
            datadist.copy_kv_blocks(1, 1, &[0], &[vec![0]]),
            datadist.transfer_cache_async(1, |_, _| true, &[], TransferBlocks::default()).map(drop),
        ];
        for failure in failures {
            assert!(matches!(failure, Err(DataDistError::NotInitialised)), "{failure:?}");
        }
    };
    check(&datadist);
    datadist.finalize();
    datadist.initialize(&client()).expect("initialised");
    datadist.initialize(&Options::new()).expect("once is enough");
    assert!(datadist.is_initialized());
    let cache = cache(&datadist, 1, 2, 0);
    assert_eq!(cache.cache_id, 1);
    datadist.finalize();
    datadist.finalize();
    check(&datadist);
    assert_eq!(status(datadist.unregister_kv_cache(1)), Status::Failed);
}
