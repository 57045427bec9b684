"""The older cache manager: the same caches, with addresses listed by device and tensors as NumPy arrays."""

import ctypes

from llm_datadist import data_type as types
from llm_datadist.status import raise_if_false
from llm_datadist.utils.utils import check_isinstance
from llm_datadist.v2.cache_manager import CacheManager
from llm_datadist.v2.llm_types import BlocksCacheKey, Cache, CacheKey, CacheKeyByIdAndIndex, KvCache


class TensorDesc:
    """Type and shape of a tensor."""

    def __init__(self, dtype, shape):
        self._dtype = check_isinstance("dtype", dtype, types.DataType, allow_none=False)
        self._shape = check_isinstance("shape", shape, [list, tuple], int, allow_none=False)

    @property
    def dtype(self):
        return self._dtype

    @property
    def shape(self):
        return self._shape


class Tensor:
    """A tensor in host memory."""

    def __init__(self, data, tensor_desc=None):
        import numpy

        array = numpy.ascontiguousarray(data)
        if tensor_desc is not None:
            array = array.astype(types.dtype_to_np_dtype[tensor_desc.dtype]).reshape(tensor_desc.shape)
        self._array = array

    def numpy(self, copy=False):
        """The values as an array."""
        return self._array.copy() if copy else self._array


class KvCacheManager(CacheManager):
    """The caches of an LLMDataDist that was initialised without `enable_cache_manager`."""

    def __init__(self, llm_datadist, options, role):
        super().__init__(llm_datadist, options)
        self._role = role

    def _allocated(self, cache_id, cache_desc, addrs, is_blocks):
        return KvCache(cache_id, cache_desc, [addrs], self, is_blocks)

    def deallocate_cache(self, cache):
        """Gives a cache back."""
        check_isinstance("cache", cache, Cache)
        self._deallocate("deallocate_cache", cache)

    def pull_cache(self, cache_key, cache, batch_index=0, size=-1, **kwargs):
        """Reads a row of another process's cache."""
        check_isinstance("cache_key", cache_key, [CacheKey, CacheKeyByIdAndIndex])
        super().pull_cache(cache_key, cache, batch_index, size, **kwargs)

    def pull_blocks(self, prompt_cache_key, decoder_kv_cache, prompt_blocks=(), decoder_blocks=(), **kwargs):
        """Reads blocks of another process's cache."""
        check_isinstance("prompt_cache_key", prompt_cache_key, [CacheKey, CacheKeyByIdAndIndex, BlocksCacheKey])
        super().pull_blocks(prompt_cache_key, decoder_kv_cache, prompt_blocks, decoder_blocks, **kwargs)

    def get_cache_tensors(self, cache, tensor_index=0):
        """A tensor of a cache, copied, for each device."""
        import numpy

        check_isinstance("cache", cache, Cache)
        description = cache.cache_desc
        raise_if_false(
            0 <= tensor_index < description.num_tensors,
            f"tensor_index {tensor_index} out of range, [0, {description.num_tensors})",
        )
        memory = (ctypes.c_char * description.size).from_address(cache.tensor_addrs[tensor_index])
        values = numpy.frombuffer(memory, types.dtype_to_np_dtype[description.data_type])
        return [Tensor(values.reshape(description.shape).copy())]
