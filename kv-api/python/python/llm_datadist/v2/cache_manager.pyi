from typing import Any, Dict, List, Mapping, Optional, Tuple, TypedDict, TypeVar, Union

from typing_extensions import Unpack

from .llm_types import (
    BlocksCacheKey,
    Cache,
    CacheDesc,
    CacheKey,
    CacheKeyByIdAndIndex,
    CacheTask,
    LayerSynchronizer,
    MemInfo,
    TransferConfig,
    TransferWithCacheKeyConfig,
)

_T = TypeVar("_T")
_Items = Union[List[_T], Tuple[_T, ...]]

# The keywords that pulls understand. An empty range means all layers, like none.
class _Layers(TypedDict, total=False):
    src_layer_range: Optional[range]
    dst_layer_range: Optional[range]
    tensor_num_per_layer: int

class CacheManager:
    # The driver's half, which LLMDataDist gives it, has no public type.
    def __init__(self, llm_datadist: Any, options: Mapping[str, str]) -> None: ...
    def is_initialized(self) -> bool: ...
    def set_is_call_linked(self) -> None: ...
    @staticmethod
    def check_cache_key(cache_key: CacheKey) -> None: ...
    def register_cache(
        self,
        cache_desc: CacheDesc,
        addrs: List[int],
        cache_keys: _Items[CacheKey] = ...,
        remote_accessible: Optional[bool] = ...,
    ) -> Cache: ...
    def register_blocks_cache(
        self,
        cache_desc: CacheDesc,
        addrs: List[int],
        blocks_cache_key: Optional[BlocksCacheKey] = ...,
        remote_accessible: Optional[bool] = ...,
    ) -> Cache: ...
    def unregister_cache(self, cache_id: int) -> None: ...
    def allocate_cache(self, cache_desc: CacheDesc, cache_keys: _Items[CacheKey] = ...) -> Cache: ...
    def allocate_blocks_cache(
        self, cache_desc: CacheDesc, blocks_cache_key: Optional[BlocksCacheKey] = ...
    ) -> Cache: ...
    def deallocate_cache(self, cache: Cache) -> None: ...
    def deallocate_blocks_cache(self, cache: Cache) -> None: ...
    def remove_cache_key(self, cache_key: CacheKey) -> None: ...
    def remap_registered_memory(self, mem_infos: Union[MemInfo, List[MemInfo]]) -> None: ...
    # With enable_remote_cache_accessible, a CacheKey raises TypeError.
    def pull_cache(
        self,
        cache_key: Union[CacheKey, CacheKeyByIdAndIndex],
        cache: Cache,
        batch_index: int = ...,
        size: int = ...,
        **kwargs: Unpack[_Layers],
    ) -> None: ...
    def pull_blocks(
        self,
        src_cache_key: Union[CacheKey, CacheKeyByIdAndIndex, BlocksCacheKey],
        dst_cache: Cache,
        src_blocks: _Items[int] = ...,
        dst_blocks: _Items[int] = ...,
        **kwargs: Unpack[_Layers],
    ) -> None: ...
    def push_cache(
        self,
        dst_cache_key: CacheKeyByIdAndIndex,
        src_cache: Cache,
        src_batch_index: int = ...,
        src_layer_range: Optional[range] = ...,
        dst_layer_range: Optional[range] = ...,
        size: int = ...,
        tensor_num_per_layer: int = ...,
    ) -> None: ...
    def push_blocks(
        self,
        dst_cache_key: BlocksCacheKey,
        src_cache: Cache,
        src_blocks: Optional[_Items[int]] = ...,
        dst_blocks: _Items[int] = ...,
        src_layer_range: Optional[range] = ...,
        dst_layer_range: Optional[range] = ...,
        tensor_num_per_layer: int = ...,
    ) -> None: ...
    # TransferWithCacheKeyConfig with enable_remote_cache_accessible, TransferConfig without it.
    def transfer_cache_async(
        self,
        src_cache: Cache,
        layer_synchronizer: LayerSynchronizer,
        transfer_configs: Union[_Items[TransferConfig], _Items[TransferWithCacheKeyConfig]],
        src_block_indices: Optional[_Items[int]] = ...,
        dst_block_indices: Optional[_Items[int]] = ...,
        dst_block_memory_size: Optional[int] = ...,
    ) -> CacheTask: ...
    def copy_cache(
        self,
        dst: Cache,
        src: Cache,
        dst_batch_index: int = ...,
        src_batch_index: int = ...,
        offset: int = ...,
        size: int = ...,
        req_id: Optional[int] = ...,
    ) -> None: ...
    def copy_blocks(self, cache: Cache, copy_block_info: Dict[int, List[int]]) -> None: ...
    def swap_blocks(self, src_cache: Cache, dst_cache: Cache, src_to_dst: Dict[int, int]) -> None: ...
