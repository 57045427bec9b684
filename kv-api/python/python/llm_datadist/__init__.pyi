from typing import List

from .configs import LLMClusterInfo as LLMClusterInfo
from .configs import LlmConfig as LlmConfig
from .configs import LLMRole as LLMRole
from .data_type import DataType as DataType
from .status import LLMException as LLMException
from .status import LLMStatusCode as LLMStatusCode
from .status import Status as Status
from .v2.cache_manager import CacheManager as CacheManager
from .v2.kv_cache_manager import KvCacheManager as KvCacheManager
from .v2.kv_cache_manager import Tensor as Tensor
from .v2.kv_cache_manager import TensorDesc as TensorDesc
from .v2.llm_datadist import LLMDataDist as LLMDataDist
from .v2.llm_types import BlocksCacheKey as BlocksCacheKey
from .v2.llm_types import Cache as Cache
from .v2.llm_types import CacheDesc as CacheDesc
from .v2.llm_types import CacheKey as CacheKey
from .v2.llm_types import CacheKeyByIdAndIndex as CacheKeyByIdAndIndex
from .v2.llm_types import CacheTask as CacheTask
from .v2.llm_types import KvCache as KvCache
from .v2.llm_types import LayerSynchronizer as LayerSynchronizer
from .v2.llm_types import MemInfo as MemInfo
from .v2.llm_types import Memtype as Memtype
from .v2.llm_types import Placement as Placement
from .v2.llm_types import RegisterMemStatus as RegisterMemStatus
from .v2.llm_types import TransferConfig as TransferConfig
from .v2.llm_types import TransferWithCacheKeyConfig as TransferWithCacheKeyConfig

__all__ = [
    "LLMClusterInfo",
    "LLMStatusCode",
    "LLMException",
    "LLMRole",
    "LlmConfig",
    "LLMConfig",
    "DataType",
    "Status",
    "CacheDesc",
    "CacheKey",
    "CacheKeyByIdAndIndex",
    "KvCache",
    "Cache",
    "BlocksCacheKey",
    "LLMDataDist",
    "Placement",
    "RegisterMemStatus",
    "LayerSynchronizer",
    "TransferConfig",
    "CacheTask",
    "TransferWithCacheKeyConfig",
    "Memtype",
    "MemInfo",
    "CacheManager",
    "KvCacheManager",
    "Tensor",
    "TensorDesc",
]

LLMConfig = LlmConfig

v2_list: List[str]
