"""Caches, their keys, and what a task sends where."""

from abc import ABC, abstractmethod
from enum import Enum, IntEnum
from math import prod

from llm_datadist.data_type import SIZES, DataType
from llm_datadist.status import LLMException, LLMStatusCode, raise_if_false, raise_if_true
from llm_datadist.utils.utils import (
    check_int32,
    check_int64,
    check_isinstance,
    check_list_int64,
    check_list_uint64,
    check_uint32,
    check_uint64,
)

_INVALID_ID = 2**64 - 1


class Placement(IntEnum):
    """Where a cache lies."""

    HOST = 0
    DEVICE = 1

    def __str__(self):
        return f"{type(self).__name__}.{self.name}"


class RegisterMemStatus(Enum):
    """How a link of `LLMDataDist.link` stands."""

    OK = 0
    PREPARING = 1
    FAILED = 2


class Memtype(Enum):
    """Kinds of memory."""

    MEM_TYPE_DEVICE = 0
    MEM_TYPE_HOST = 1


class _Shown:
    """Shows the properties that `_SHOWN` names."""

    _SHOWN = ()

    def __repr__(self):
        values = ", ".join(f"{name}={getattr(self, name)}" for name in self._SHOWN)
        return f"{type(self).__name__}({values})"

    __str__ = __repr__


class MemInfo(_Shown):
    """A range of memory."""

    _SHOWN = ("mem_type", "addr", "size")

    def __init__(self, mem_type, addr, size):
        self._mem_type = check_isinstance("mem_type", mem_type, Memtype)
        self._addr = check_isinstance("addr", addr, int)
        self._size = check_isinstance("size", size, int)

    @property
    def mem_type(self):
        return self._mem_type

    @property
    def addr(self):
        return self._addr

    @property
    def size(self):
        return self._size


class CacheDesc(_Shown):
    """Shape of a cache: `num_tensors` tensors, all alike. The first dimension counts rows of a batch, or blocks."""

    _SHOWN = (
        "num_tensors",
        "shape",
        "data_type",
        "placement",
        "batch_dim_index",
        "seq_len_dim_index",
        "kv_tensor_format",
    )

    def __init__(
        self,
        num_tensors,
        shape,
        data_type,
        placement=Placement.DEVICE,
        batch_dim_index=0,
        seq_len_dim_index=-1,
        kv_tensor_format=None,
    ):
        check_uint32("num_tensors", num_tensors)
        check_isinstance("shape", shape, [tuple, list], int)
        check_isinstance("data_type", data_type, DataType)
        check_isinstance("placement", placement, Placement)
        check_isinstance("batch_dim_index", batch_dim_index, int)
        check_int32("seq_len_dim_index", seq_len_dim_index)
        check_isinstance("kv_tensor_format", kv_tensor_format, str)
        dimensions = len(shape)
        raise_if_false(
            0 <= batch_dim_index < dimensions, f"batch_dim_index {batch_dim_index} out of range, [0, {dimensions})"
        )
        raise_if_false(
            -1 <= seq_len_dim_index < dimensions,
            f"seq_len_dim_index {seq_len_dim_index} is invalid, should be -1 or in range [0, {dimensions})",
        )
        check_list_int64("shape", shape)
        self._num_tensors = num_tensors
        self._shape = shape
        self._data_type = data_type
        self._placement = placement
        self._batch_dim = batch_dim_index
        self._batch_size = shape[batch_dim_index]
        self._seq_len_dim_index = seq_len_dim_index
        self._kv_tensor_format = kv_tensor_format
        self._is_blocks = False

    @property
    def num_tensors(self):
        return self._num_tensors

    @property
    def shape(self):
        return self._shape

    def update_dim(self, dim_index, dim_value):
        self._shape[dim_index] = dim_value

    @property
    def data_type(self):
        return self._data_type

    @property
    def placement(self):
        return self._placement

    @property
    def batch_dim(self):
        return self._batch_dim

    @property
    def batch_dim_index(self):
        return self._batch_dim

    @property
    def batch_size(self):
        return self._batch_size

    @property
    def seq_len_dim_index(self):
        return self._seq_len_dim_index

    @property
    def kv_tensor_format(self):
        return self._kv_tensor_format

    @property
    def size(self):
        """Bytes of one tensor."""
        if any(extent < 0 for extent in self.shape):
            raise LLMException(
                f"Failed to calc tensor size, shape = {self.shape}, data_type = {self.data_type}",
                status_code=LLMStatusCode.LLM_PARAM_INVALID,
            )
        return prod(self.shape) * SIZES[self.data_type]


class Cache:
    """A cache of this process. CacheManager makes them."""

    def __init__(self, cache_id, cache_desc, tensor_addrs, cache_manager, is_registered, is_blocks_cache):
        check_int64("cache_id", cache_id)
        self._cache_id = cache_id
        self._cache_desc = cache_desc
        self._tensor_addrs = tensor_addrs
        self._cache_manager = cache_manager
        self._is_registered = is_registered
        self._is_blocks_cache = is_blocks_cache
        self._valid = True

    @classmethod
    def create_cpu_cache(cls, cache_desc, addrs):
        """Blocks of host memory for `swap_blocks`; nothing is registered."""
        check_isinstance("cache_desc", cache_desc, CacheDesc)
        check_isinstance("addrs", addrs, list, int)
        raise_if_false(cache_desc.placement == Placement.HOST, "cache_desc placement must be HOST")
        raise_if_false(
            cache_desc.num_tensors == len(addrs),
            f"cache_desc num_tensors:{cache_desc.num_tensors} not equal addrs num:{len(addrs)}",
        )
        return cls(-1, cache_desc, addrs, None, False, True)

    @property
    def cache_id(self):
        return self._cache_id

    @property
    def cache_desc(self):
        return self._cache_desc

    @property
    def tensor_addrs(self):
        return self._tensor_addrs

    @property
    def is_blocks_cache(self):
        return self._is_blocks_cache

    def __repr__(self):
        return (
            f"Cache(cache_id = {self._cache_id}, device_tensor_addrs = {len(self._tensor_addrs)}, "
            f"is_blocks_cache = {self._is_blocks_cache})"
        )


class KvCache(Cache):
    """A cache of KvCacheManager, which lists addresses by device. Given back when it is dropped."""

    def __init__(self, cache_id, cache_desc, per_device_tensor_addrs, kv_cache_manager, is_blocks_cache=False):
        addrs = per_device_tensor_addrs[0] if per_device_tensor_addrs else []
        super().__init__(cache_id, cache_desc, addrs, kv_cache_manager, False, is_blocks_cache)
        self._per_device_tensor_addrs = per_device_tensor_addrs

    def __del__(self):
        manager = getattr(self, "_cache_manager", None)
        if manager is not None and self._valid and manager.is_initialized():
            manager.deallocate_cache(self)

    @classmethod
    def create_cpu_cache(cls, cache_desc, addrs):
        """As Cache.create_cpu_cache; addresses may be listed by device."""
        check_isinstance("cache_desc", cache_desc, CacheDesc)
        check_isinstance("addrs", addrs, list)
        raise_if_false(cache_desc.placement == Placement.HOST, "cache_desc placement must be HOST")
        raise_if_false(len(addrs) > 0, "addrs length should be bigger than zero.")
        per_device = addrs if isinstance(addrs[0], list) else [addrs]
        for listed in per_device:
            check_isinstance("the internal element of addrs", listed, list, int)
            raise_if_false(
                cache_desc.num_tensors == len(listed),
                f"cache_desc num_tensors:{cache_desc.num_tensors} should be equal to size of addrs:{len(listed)}",
            )
        return cls(-1, cache_desc, per_device, None, True)

    @property
    def per_device_tensor_addrs(self):
        return self._per_device_tensor_addrs

    def __repr__(self):
        return f"KvCache(cache_id = {self._cache_id}, num_devices = {len(self._per_device_tensor_addrs)})"


def _key_arguments(names, args, kwargs):
    """A key's arguments by name; the cluster has two names."""
    raise_if_false(len(args) + len(kwargs) <= len(names), "Param num is over limit")
    given = dict(kwargs)
    given.update(zip(names, args))
    cluster = [name for name in ("cluster_id", "prompt_cluster_id") if name in given]
    raise_if_false(len(cluster) > 0, "Param prompt_cluster_id or cluster_id is required")
    value = given.pop(cluster[0])
    given.pop("prompt_cluster_id", None)
    for name in given:
        raise_if_false(name in names, "Unsupported param:{}", name)
    return value, given


class BlocksCacheKey(_Shown):
    """The cache of blocks of a cluster and model: BlocksCacheKey(cluster_id, model_id=0)."""

    _SHOWN = ("cluster_id", "model_id")

    def __init__(self, *args, **kwargs):
        self._cluster_id, given = _key_arguments(["cluster_id", "model_id"], args, kwargs)
        self._model_id = given.get("model_id", 0)
        check_isinstance("cluster_id", self._cluster_id, int, extra_fmt="The first param ")
        check_isinstance("model_id", self._model_id, int, extra_fmt="The second param ")

    @property
    def cluster_id(self):
        return self._cluster_id

    @property
    def prompt_cluster_id(self):
        return self._cluster_id

    @property
    def model_id(self):
        return self._model_id


class CacheKey(_Shown):
    """A row of a cache by request or prefix: CacheKey(cluster_id, req_id, model_id=0, prefix_id=2**64-1)."""

    _SHOWN = ("cluster_id", "req_id", "prefix_id", "model_id")

    def __init__(self, *args, **kwargs):
        names = ["cluster_id", "req_id", "model_id", "prefix_id"]
        self._cluster_id, given = _key_arguments(names, args, kwargs)
        raise_if_false("req_id" in given, "Param req_id is required")
        self._req_id = given["req_id"]
        self._model_id = given.get("model_id", 0)
        self._prefix_id = given.get("prefix_id", _INVALID_ID)
        for name in names:
            check_uint64(name, getattr(self, f"_{name}"))

    @property
    def cluster_id(self):
        return self._cluster_id

    @property
    def prompt_cluster_id(self):
        return self._cluster_id

    @property
    def req_id(self):
        return self._req_id

    @property
    def prefix_id(self):
        return self._prefix_id

    @property
    def model_id(self):
        return self._model_id


class CacheKeyByIdAndIndex(_Shown):
    """A row of a cache by the cache's number."""

    _SHOWN = ("cluster_id", "cache_id", "batch_index")

    def __init__(self, cluster_id, cache_id, batch_index=0):
        check_uint64("cluster_id", cluster_id)
        check_int64("cache_id", cache_id)
        check_uint32("batch_index", batch_index)
        self._cluster_id = cluster_id
        self._cache_id = cache_id
        self._batch_index = batch_index

    @property
    def cluster_id(self):
        return self._cluster_id

    @property
    def cache_id(self):
        return self._cache_id

    @property
    def batch_index(self):
        return self._batch_index


class LayerSynchronizer(ABC):
    """Says when a layer is computed. Called on a thread of the task."""

    @abstractmethod
    def synchronize_layer(self, layer_index, timeout_in_millis):
        """Waits until a layer is computed. False gives the task up; so does an exception."""


def check_layer_range(name, layer_range, allow_none=True):
    """Checks that a range of layers is one, with step 1 and something in it."""
    if allow_none and layer_range is None:
        return
    check_isinstance(name, layer_range, range, allow_none=allow_none)
    raise_if_false(layer_range.step == 1, f"check {name}.step == 1 failed")
    raise_if_false(
        0 <= layer_range.start < layer_range.stop,
        f"check 0 <= range.start < range.stop failed, {name} = {layer_range}",
    )


class TransferConfig(_Shown):
    """Layers that go to addresses of a cluster: two tensors for each layer."""

    _SHOWN = ("dst_cluster_id", "dst_addrs", "src_layer_range", "src_batch_index")

    def __init__(self, dst_cluster_id, dst_addrs, src_layer_range=None, src_batch_index=0):
        self.dst_cluster_id = dst_cluster_id
        self.dst_addrs = dst_addrs
        self.src_layer_range = src_layer_range
        self.src_batch_index = src_batch_index
        self.dst_layer_range = None

    @property
    def dst_cluster_id(self):
        return self._dst_cluster_id

    @dst_cluster_id.setter
    def dst_cluster_id(self, cluster_id):
        check_uint64("dst_cluster_id", cluster_id)
        self._dst_cluster_id = cluster_id

    @property
    def dst_addrs(self):
        return self._dst_addrs

    @dst_addrs.setter
    def dst_addrs(self, dst_addrs):
        check_isinstance("dst_addrs", dst_addrs, [list, tuple], int, allow_none=False)
        check_list_uint64("dst_addrs", dst_addrs)
        self._dst_addrs = dst_addrs

    @property
    def src_layer_range(self):
        return self._src_layer_range

    @src_layer_range.setter
    def src_layer_range(self, layer_range):
        check_layer_range("src_layer_range", layer_range)
        self._src_layer_range = layer_range

    @property
    def src_batch_index(self):
        return self._src_batch_index

    @src_batch_index.setter
    def src_batch_index(self, batch_index):
        check_uint32("src_batch_index", batch_index)
        self._src_batch_index = batch_index


class TransferWithCacheKeyConfig(_Shown):
    """Layers that go to a cache of a cluster."""

    _SHOWN = ("cache_key", "src_layer_range", "dst_layer_range", "src_batch_index")

    def __init__(self, cache_key, src_layer_range=None, dst_layer_range=None, src_batch_index=0):
        check_isinstance("cache_key", cache_key, [BlocksCacheKey, CacheKeyByIdAndIndex], allow_none=False)
        check_layer_range("src_layer_range", src_layer_range, allow_none=False)
        check_layer_range("dst_layer_range", dst_layer_range, allow_none=False)
        raise_if_false(
            len(src_layer_range) == len(dst_layer_range), "src_layer_range size should be equal to dst_layer_range size"
        )
        self._cache_key = cache_key
        self._src_layer_range = src_layer_range
        self._dst_layer_range = dst_layer_range
        self.src_batch_index = src_batch_index
        self.dst_cluster_id = cache_key.cluster_id

    @property
    def cache_key(self):
        return self._cache_key

    @cache_key.setter
    def cache_key(self, cache_key):
        self._cache_key = check_isinstance("cache_key", cache_key, [BlocksCacheKey, CacheKeyByIdAndIndex])

    @property
    def src_layer_range(self):
        return self._src_layer_range

    @src_layer_range.setter
    def src_layer_range(self, src_layer_range):
        check_layer_range("src_layer_range", src_layer_range)
        self._src_layer_range = src_layer_range

    @property
    def dst_layer_range(self):
        return self._dst_layer_range

    @dst_layer_range.setter
    def dst_layer_range(self, dst_layer_range):
        check_layer_range("dst_layer_range", dst_layer_range)
        self._dst_layer_range = dst_layer_range

    @property
    def src_batch_index(self):
        return self._src_batch_index

    @src_batch_index.setter
    def src_batch_index(self, src_batch_index):
        check_uint32("src_batch_index", src_batch_index)
        raise_if_true(
            isinstance(self.cache_key, BlocksCacheKey) and src_batch_index != 0,
            "src_batch_index should be 0 when cache_key is BlocksCacheKey.",
        )
        self._src_batch_index = src_batch_index


class CacheTask:
    """A task that sends layers while they are computed."""

    def __init__(self, task, configs):
        self._task = task
        self._configs = configs

    def synchronize(self, timeout_in_millis=None):
        """Waits: the first failure, success, or LLM_TIMEOUT when it takes longer, and the task goes on."""
        failed = [status for status in self.get_results(timeout_in_millis) if status != LLMStatusCode.LLM_SUCCESS]
        return failed[0] if failed else LLMStatusCode.LLM_SUCCESS

    def get_results(self, timeout_in_millis=None):
        """Waits: the status of each destination, or LLM_TIMEOUT for all when it takes longer."""
        if timeout_in_millis is not None:
            check_uint32("timeout_in_millis", timeout_in_millis)
        if not self._task.wait(None if timeout_in_millis is None else timeout_in_millis / 1000):
            return [LLMStatusCode.LLM_TIMEOUT] * self._configs
        statuses = [LLMStatusCode(status) for status in self._task.results()]
        if self.exception is None:
            return statuses
        raised = LLMStatusCode.LLM_FAILED
        return [status if status == LLMStatusCode.LLM_SUCCESS else raised for status in statuses]

    @property
    def exception(self):
        """What the synchroniser raised, or None. Not upstream's."""
        return self._task.exception()
