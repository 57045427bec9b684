"""Caches of this process, and what moves between them and those of others."""

from llm_datadist.status import handle_llm_status, raise_if_false, raise_if_true
from llm_datadist.utils import log
from llm_datadist.utils.utils import (
    check_dict,
    check_int64,
    check_isinstance,
    check_list_uint64,
    check_uint32,
    check_uint64,
)
from llm_datadist.v2.llm_types import (
    BlocksCacheKey,
    Cache,
    CacheDesc,
    CacheKey,
    CacheKeyByIdAndIndex,
    CacheTask,
    LayerSynchronizer,
    MemInfo,
    Memtype,
    Placement,
    TransferConfig,
    TransferWithCacheKeyConfig,
    check_layer_range,
)
from llm_datadist.v2.llm_utils import is_invalid_id, is_valid_id, pack_cache_desc, pack_layers

_NUM_TENSORS_PER_LAYER = 2


def _done(answer, func_name, other_info):
    """The result of a call of the driver; LLMException, with its reason, when it failed."""
    status, result, reason = answer
    handle_llm_status(status, func_name, other_info if reason is None else f"{other_info}: {reason}")
    log.info("%s success, %s", func_name, other_info)
    return result


def _check_tensor_num(func_name, tensor_num_per_layer, num_tensors):
    check_uint32("tensor_num_per_layer", tensor_num_per_layer)
    raise_if_false(
        tensor_num_per_layer > 0,
        f"[{func_name}] param check failed, tensor_num_per_layer ({tensor_num_per_layer}) is invalid, "
        f"should [1, {num_tensors}]",
    )


class CacheManager:
    """The caches of an LLMDataDist, which gives it out."""

    def __init__(self, llm_datadist, options):
        self._llm_datadist = llm_datadist
        self._initialized = True
        self._is_call_linked = False
        self._enable_remote_cache_accessible = options.get("llm.EnableRemoteCacheAccessible", "0") == "1"

    def is_initialized(self):
        return self._initialized

    def set_is_call_linked(self):
        self._is_call_linked = True

    @staticmethod
    def check_cache_key(cache_key):
        """Checks that a key names either a request or a prefix."""
        named = f"req id:{cache_key.req_id}, prefix id:{cache_key.prefix_id}."
        wanted = "should contain valid value:[0, 2**64-1),"
        raise_if_true(
            is_invalid_id(cache_key.req_id) and is_invalid_id(cache_key.prefix_id),
            f"one of req id and prefix id {wanted} {named}",
        )
        raise_if_true(
            is_valid_id(cache_key.req_id) and is_valid_id(cache_key.prefix_id),
            f"only one of req id and prefix id {wanted} {named}",
        )

    # Caches.

    def register_cache(self, cache_desc, addrs, cache_keys=(), remote_accessible=None):
        """Makes a cache of rows of the tensors at these addresses. Peers find each row under its key."""
        check_isinstance("cache_keys", cache_keys, [tuple, list], CacheKey)
        raise_if_false(len(addrs) == cache_desc.num_tensors, "addrs length should be equal to num_tensors.")
        for addr in addrs:
            raise_if_false(addr != 0, "addr can not be zero.")
        return self._register("register_cache", cache_desc, addrs, list(cache_keys), remote_accessible, False)

    def register_blocks_cache(self, cache_desc, addrs, blocks_cache_key=None, remote_accessible=None):
        """Makes a cache of blocks of the tensors at these addresses."""
        check_isinstance("blocks_cache_key", blocks_cache_key, BlocksCacheKey)
        keys = [] if blocks_cache_key is None else [blocks_cache_key]
        return self._register("register_blocks_cache", cache_desc, addrs, keys, remote_accessible, True)

    def _register(self, func_name, cache_desc, addrs, keys, remote_accessible, is_blocks):
        check_isinstance("cache_desc", cache_desc, CacheDesc)
        check_isinstance("addrs", addrs, list, int)
        check_isinstance("remote_accessible", remote_accessible, bool)
        raise_if_false(len(addrs) > 0, "addrs can not be empty.")
        cache_desc._is_blocks = cache_desc._is_blocks or is_blocks
        # Peers see what is registered after linking, on the host and on the device.
        packed = pack_cache_desc(cache_desc, remote_accessible is not False)
        answer = self._llm_datadist.register_cache(packed, addrs, keys)
        cache_id = _done(answer, f"[{func_name}]", f"cache_desc = {cache_desc}")
        return Cache(cache_id, cache_desc, list(addrs), self, True, is_blocks)

    def unregister_cache(self, cache_id):
        """Ends a cache; when this returns nothing reaches its memory."""
        check_isinstance("cache_id", cache_id, int)
        check_int64("cache_id", cache_id)
        _done(self._llm_datadist.unregister_cache(cache_id), "[unregister_cache]", f"cache_id = {cache_id}")

    def allocate_cache(self, cache_desc, cache_keys=()):
        """Allocates a cache of rows; it goes when it is deallocated and every row with a key was pulled or removed."""
        check_isinstance("cache_keys", cache_keys, [list, tuple], CacheKey)
        return self._allocate("allocate_cache", cache_desc, list(cache_keys), False)

    def allocate_blocks_cache(self, cache_desc, blocks_cache_key=None):
        """Allocates a cache of blocks."""
        check_isinstance("blocks_cache_key", blocks_cache_key, BlocksCacheKey)
        keys = [] if blocks_cache_key is None else [blocks_cache_key]
        return self._allocate("allocate_blocks_cache", cache_desc, keys, True)

    def _allocate(self, func_name, cache_desc, keys, is_blocks):
        check_isinstance("cache_desc", cache_desc, CacheDesc)
        raise_if_false(cache_desc.num_tensors > 0, "num_tensors should be bigger than zero.")
        cache_desc._is_blocks = is_blocks
        answer = self._llm_datadist.allocate_cache(pack_cache_desc(cache_desc), keys)
        cache_id, addrs = _done(answer, f"[{func_name}]", f"cache_desc = {cache_desc}")
        return self._allocated(cache_id, cache_desc, addrs, is_blocks)

    def _allocated(self, cache_id, cache_desc, addrs, is_blocks):
        return Cache(cache_id, cache_desc, addrs, self, False, is_blocks)

    def deallocate_cache(self, cache):
        """Gives an allocated cache of rows back."""
        check_isinstance("cache", cache, Cache)
        raise_if_true(cache.is_blocks_cache, "param check failed, cache can not be blocks cache.")
        self._deallocate("deallocate_cache", cache)

    def deallocate_blocks_cache(self, cache):
        """Gives an allocated cache of blocks back."""
        check_isinstance("cache", cache, Cache)
        raise_if_false(cache.is_blocks_cache, "param check failed, cache should be blocks cache.")
        self._deallocate("deallocate_blocks_cache", cache)

    def _deallocate(self, func_name, cache):
        answer = self._llm_datadist.deallocate_cache(cache.cache_id)
        _done(answer, f"[{func_name}]", f"cache_id = {cache.cache_id}")
        cache._tensor_addrs = []
        cache._valid = False

    def remove_cache_key(self, cache_key):
        """Takes a key away: nobody finds the row by it any more."""
        check_isinstance("cache_key", cache_key, CacheKey)
        _done(self._llm_datadist.remove_cache_key(cache_key), "[remove_cache_key]", f"cache_key = {cache_key}")

    def remap_registered_memory(self, mem_infos):
        """Checks its arguments and does nothing else: memory of this machine is never mapped anew."""
        raise_if_false(
            isinstance(mem_infos, (list, MemInfo)),
            f"mem_infos type only support list of MemInfo or MemInfo, but got {type(mem_infos)}.",
        )
        for index, info in enumerate(mem_infos if isinstance(mem_infos, list) else [mem_infos]):
            raise_if_false(isinstance(info, MemInfo), f"mem_infos[{index}] type only support MemInfo.")
            raise_if_false(
                info.mem_type == Memtype.MEM_TYPE_DEVICE,
                f"check mem_info.mem_type failed, only support Memtype.MEM_TYPE_DEVICE, index={index}.",
            )
            raise_if_false(info.addr != 0, f"check mem_info.addr failed, addr can not be zero, index={index}.")
            raise_if_false(info.size > 0, f"check mem_info.size failed, size must be > 0, index={index}.")

    # Between processes.

    def pull_cache(self, cache_key, cache, batch_index=0, size=-1, **kwargs):
        """Reads a row of another process's cache into a row of ours: `size` bytes of every tensor, or all.

        Keywords: src_layer_range, dst_layer_range, tensor_num_per_layer.
        """
        classes = [CacheKeyByIdAndIndex] if self._enable_remote_cache_accessible else [CacheKey, CacheKeyByIdAndIndex]
        check_isinstance("cache_key", cache_key, classes)
        check_isinstance("cache", cache, Cache)
        check_uint32("batch_index", batch_index)
        check_int64("size", size)
        raise_if_true(cache.is_blocks_cache, "param check failed, cache can not be blocks cache.")
        raise_if_false(
            size == -1 or size > 0,
            f"[pull_cache] param check failed, size ({size}) is invalid, should be = -1 or > 0",
        )
        layers = self._layers("pull_cache", cache, kwargs)
        if isinstance(cache_key, CacheKey):
            self.check_cache_key(cache_key)
        answer = self._llm_datadist.pull_cache(cache_key, cache.cache_id, batch_index, size, layers)
        _done(answer, "[pull_cache]", f"cache_key = {cache_key}")

    def pull_blocks(self, src_cache_key, dst_cache, src_blocks=(), dst_blocks=(), **kwargs):
        """Reads blocks, or a row, of another process's cache into blocks of ours. Keywords as for pull_cache."""
        check_isinstance("src_cache_key", src_cache_key, [CacheKey, CacheKeyByIdAndIndex, BlocksCacheKey])
        check_isinstance("dst_cache", dst_cache, Cache)
        check_isinstance("src_blocks", src_blocks, [list, tuple], int)
        check_isinstance("dst_blocks", dst_blocks, [list, tuple], int)
        raise_if_false(dst_cache.is_blocks_cache, "param check failed, dst_cache should be blocks cache.")
        raise_if_false(len(dst_blocks) > 0, "dst_blocks can not be empty.")
        layers = self._layers("pull_blocks", dst_cache, kwargs)
        if isinstance(src_cache_key, BlocksCacheKey):
            raise_if_false(len(src_blocks) > 0, "src_blocks can not be empty.")
        else:
            if isinstance(src_cache_key, CacheKey):
                self.check_cache_key(src_cache_key)
            raise_if_false(
                len(src_blocks) == 0,
                "src_blocks should be empty when src_cache_key is not instance of BlocksCacheKey.",
            )
        check_list_uint64("src_blocks", src_blocks)
        check_list_uint64("dst_blocks", dst_blocks)
        answer = self._llm_datadist.pull_blocks(
            src_cache_key, dst_cache.cache_id, list(src_blocks), list(dst_blocks), layers
        )
        _done(answer, "[pull_blocks]", f"src_cache_key = {src_cache_key}")

    @staticmethod
    def _layers(func_name, cache, kwargs):
        tensor_num_per_layer = kwargs.get("tensor_num_per_layer", _NUM_TENSORS_PER_LAYER)
        _check_tensor_num(func_name, tensor_num_per_layer, cache.cache_desc.num_tensors)
        return pack_layers(kwargs.get("src_layer_range"), kwargs.get("dst_layer_range"), tensor_num_per_layer)

    def push_cache(
        self,
        dst_cache_key,
        src_cache,
        src_batch_index=0,
        src_layer_range=None,
        dst_layer_range=None,
        size=-1,
        tensor_num_per_layer=_NUM_TENSORS_PER_LAYER,
    ):
        """Writes a row of our cache into a row of another process's."""
        self._check_push("push_cache")
        check_isinstance("dst_cache_key", dst_cache_key, [CacheKeyByIdAndIndex], allow_none=False)
        check_isinstance("src_cache", src_cache, Cache, allow_none=False)
        check_uint32("src_batch_index", src_batch_index)
        raise_if_true(src_cache.is_blocks_cache, "param check failed, cache can not be blocks cache.")
        check_int64("size", size)
        raise_if_false(size == -1, f"[push_cache] param check failed, size ({size}) is invalid, should be = -1.")
        layers = self._push_layers("push_cache", src_cache, src_layer_range, dst_layer_range, tensor_num_per_layer)
        answer = self._llm_datadist.push_cache(src_cache.cache_id, dst_cache_key, src_batch_index, size, layers)
        _done(answer, "[push_cache]", f"dst_cache_key = {dst_cache_key}")

    def push_blocks(
        self,
        dst_cache_key,
        src_cache,
        src_blocks=(),
        dst_blocks=(),
        src_layer_range=None,
        dst_layer_range=None,
        tensor_num_per_layer=_NUM_TENSORS_PER_LAYER,
    ):
        """Writes blocks of our cache into blocks of another process's."""
        self._check_push("push_blocks")
        check_isinstance("dst_cache_key", dst_cache_key, [BlocksCacheKey])
        check_isinstance("src_cache", src_cache, Cache)
        check_isinstance("src_blocks", src_blocks, [list, tuple], int)
        check_isinstance("dst_blocks", dst_blocks, [list, tuple], int)
        raise_if_false(src_cache.is_blocks_cache, "param check failed, cache should be blocks cache.")
        raise_if_false(len(dst_blocks) > 0, "dst_blocks can not be empty.")
        check_list_uint64("src_blocks", src_blocks or ())
        check_list_uint64("dst_blocks", dst_blocks)
        layers = self._push_layers("push_blocks", src_cache, src_layer_range, dst_layer_range, tensor_num_per_layer)
        answer = self._llm_datadist.push_blocks(
            src_cache.cache_id, dst_cache_key, list(src_blocks or ()), list(dst_blocks), layers
        )
        _done(answer, "[push_blocks]", f"dst_cache_key = {dst_cache_key}")

    def _check_push(self, func_name):
        raise_if_false(
            self._enable_remote_cache_accessible,
            f"{func_name} is only supported while enable_remote_cache_accessible is True",
        )

    @staticmethod
    def _push_layers(func_name, cache, src_layer_range, dst_layer_range, tensor_num_per_layer):
        num_tensors = cache.cache_desc.num_tensors
        _check_tensor_num(func_name, tensor_num_per_layer, num_tensors)
        check_layer_range("src_layer_range", src_layer_range)
        check_layer_range("dst_layer_range", dst_layer_range)
        whole = range(num_tensors // tensor_num_per_layer)
        source = whole if src_layer_range is None else src_layer_range
        destination = whole if dst_layer_range is None else dst_layer_range
        raise_if_false(
            len(source) == len(destination), "src_layer_range size should be equal to size of dst_layer_range size."
        )
        return pack_layers(source, destination, tensor_num_per_layer)

    def transfer_cache_async(
        self,
        src_cache,
        layer_synchronizer,
        transfer_configs,
        src_block_indices=None,
        dst_block_indices=None,
        dst_block_memory_size=None,
    ):
        """Sends layers while they are computed: `layer_synchronizer` is asked before each of them."""
        check_isinstance("src_cache", src_cache, Cache, allow_none=False)
        raise_if_true(src_cache.cache_desc.placement == Placement.HOST, "src cache not support placement HOST")
        for name, blocks in [("dst_block_indices", dst_block_indices), ("src_block_indices", src_block_indices)]:
            check_isinstance(name, blocks, [list, tuple], int)
            check_list_uint64(name, blocks or ())
        if dst_block_memory_size is not None:
            check_uint64("dst_block_memory_size", dst_block_memory_size)
        raise_if_true(
            bool(src_block_indices) and not dst_block_indices, "transfer from blocks to cache is not supported"
        )
        raise_if_true(
            not src_block_indices and bool(dst_block_indices) and dst_block_memory_size is None,
            "dst_block_memory_size must be set when transfer from cache to blocks",
        )
        check_isinstance("layer_synchronizer", layer_synchronizer, LayerSynchronizer, allow_none=False)
        if self._enable_remote_cache_accessible:
            wanted, remark = TransferWithCacheKeyConfig, "While enable_remote_cache_accessible is True, "
        else:
            wanted, remark = TransferConfig, ""
        check_isinstance("transfer_configs", transfer_configs, [list, tuple], wanted, remark, allow_none=False)
        blocks = list(src_block_indices or ()), list(dst_block_indices or ()), dst_block_memory_size or 0
        answer = self._llm_datadist.transfer_cache_async(
            src_cache.cache_id, layer_synchronizer, [_packed_config(config) for config in transfer_configs], blocks
        )
        task = _done(answer, "[transfer_cache_async]", f"cache_id = {src_cache.cache_id}")
        return CacheTask(task, len(transfer_configs))

    # Within this process.

    def copy_cache(self, dst, src, dst_batch_index=0, src_batch_index=0, offset=0, size=-1, req_id=None):
        """Copies a row of a cache to a row of another."""
        check_isinstance("dst", dst, Cache)
        check_isinstance("src", src, Cache)
        check_uint32("dst_batch_index", dst_batch_index)
        check_uint32("src_batch_index", src_batch_index)
        check_uint64("offset", offset)
        check_int64("size", size)
        if req_id is not None:
            check_uint64("req_id", req_id)
        raise_if_true(src.is_blocks_cache, "param check failed, src cache can not be blocks cache.")
        raise_if_true(dst.is_blocks_cache, "param check failed, dst cache can not be blocks cache.")
        raise_if_false(
            size == -1 or size > 0,
            f"[copy_cache] param check failed, size ({size}) is invalid, should be = -1 or > 0",
        )
        source, destination = (src.cache_id, src_batch_index), (dst.cache_id, dst_batch_index)
        answer = self._llm_datadist.copy_cache(source, destination, offset, size)
        _done(answer, "[copy_cache]", f"src = {src}, dst = {dst}, req_id = {req_id}")

    def copy_blocks(self, cache, copy_block_info):
        """Copies blocks of a cache: {block: [blocks that it goes to]}."""
        check_isinstance("cache", cache, Cache)
        check_isinstance("copy_block_info", copy_block_info, dict)
        check_dict("copy_block_info", copy_block_info, int, list, int)
        raise_if_false(cache.is_blocks_cache, "param check failed, cache should be blocks cache.")
        pairs = [(source, target) for source, targets in copy_block_info.items() for target in targets]
        check_list_uint64("copy_block_info", [block for pair in pairs for block in pair])
        answer = self._llm_datadist.copy_blocks(cache.cache_id, pairs)
        _done(answer, "[copy_blocks]", f"cache id is:{cache.cache_id}")

    def swap_blocks(self, src_cache, dst_cache, src_to_dst):
        """Copies blocks between a cache on the host and one on the device: {block of src: block of dst}."""
        check_isinstance("src", src_cache, Cache)
        check_isinstance("dst", dst_cache, Cache)
        check_isinstance("src_to_dst", src_to_dst, dict, int)
        for name, cache in [("src", src_cache), ("dst", dst_cache)]:
            raise_if_false(cache.is_blocks_cache, f"param check failed, {name} cache should be blocks cache.")
        for source, target in src_to_dst.items():
            self._check_block("src", source, src_cache)
            self._check_block("dst", target, dst_cache)
        for cache in (src_cache, dst_cache):
            cache.cache_desc._is_blocks = True
        packed = [(-1, pack_cache_desc(cache.cache_desc), cache.tensor_addrs) for cache in (src_cache, dst_cache)]
        answer = self._llm_datadist.swap_blocks(*packed, list(src_to_dst.items()))
        _done(answer, "[swap_blocks]", f"src = {src_cache}, dst = {dst_cache}")

    @staticmethod
    def _check_block(name, block, cache):
        blocks = cache.cache_desc.batch_size
        raise_if_false(0 <= block < blocks, f"{name}_block_index:{block} must be in [0, {blocks})")


def _packed_config(config):
    """A destination as the driver takes it."""

    def bounds(layers):
        return None if layers is None else (layers.start, layers.stop)

    if isinstance(config, TransferConfig):
        destination = config.dst_cluster_id, list(config.dst_addrs)
    else:
        destination = config.cache_key
    return destination, bounds(config.src_layer_range), bounds(config.dst_layer_range), config.src_batch_index
