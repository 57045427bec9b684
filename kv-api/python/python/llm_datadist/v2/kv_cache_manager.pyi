from typing import Any, List, Mapping, Optional, Tuple, TypeVar, Union

from numpy import ndarray
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from ..configs import LLMRole
from ..data_type import DataType
from .cache_manager import CacheManager, _Layers
from .llm_types import BlocksCacheKey, Cache, CacheDesc, CacheKey, CacheKeyByIdAndIndex, KvCache

_T = TypeVar("_T")
_Items = Union[List[_T], Tuple[_T, ...]]

class TensorDesc:
    def __init__(self, dtype: DataType, shape: _Items[int]) -> None: ...
    @property
    def dtype(self) -> DataType: ...
    @property
    def shape(self) -> _Items[int]: ...

class Tensor:
    def __init__(self, data: ArrayLike, tensor_desc: Optional[TensorDesc] = ...) -> None: ...
    def numpy(self, copy: bool = ...) -> ndarray[Any, Any]: ...

class KvCacheManager(CacheManager):
    def __init__(self, llm_datadist: Any, options: Mapping[str, str], role: LLMRole) -> None: ...
    def allocate_cache(self, cache_desc: CacheDesc, cache_keys: _Items[CacheKey] = ...) -> KvCache: ...
    def allocate_blocks_cache(
        self, cache_desc: CacheDesc, blocks_cache_key: Optional[BlocksCacheKey] = ...
    ) -> KvCache: ...
    def deallocate_cache(self, cache: Cache) -> None: ...
    # Keywords as for CacheManager's pulls.
    def pull_cache(
        self,
        cache_key: Union[CacheKey, CacheKeyByIdAndIndex],
        cache: Cache,
        batch_index: int = ...,
        size: int = ...,
        **kwargs: Unpack[_Layers],
    ) -> None: ...
    # Upstream's names, which are not those of CacheManager.
    def pull_blocks(
        self,
        prompt_cache_key: Union[CacheKey, CacheKeyByIdAndIndex, BlocksCacheKey],
        decoder_kv_cache: Cache,
        prompt_blocks: _Items[int] = ...,
        decoder_blocks: _Items[int] = ...,
        **kwargs: Unpack[_Layers],
    ) -> None: ...
    def get_cache_tensors(self, cache: Cache, tensor_index: int = ...) -> List[Tensor]: ...
