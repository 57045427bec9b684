"""LLM-DataDist's Python package over this driver: scripts that were written for LLM-DataDist run as they are.

Caches on the device are in memory of the accelerators that PMD_ACCELERATORS names ("ascend:0", "cuda:0"). Where it names
none, they are in memory of this process like those on the host.
"""

from llm_datadist.configs import LLMClusterInfo, LlmConfig, LLMRole
from llm_datadist.data_type import DataType
from llm_datadist.status import LLMException, LLMStatusCode, Status
from llm_datadist.v2.cache_manager import CacheManager
from llm_datadist.v2.kv_cache_manager import KvCacheManager, Tensor, TensorDesc
from llm_datadist.v2.llm_datadist import LLMDataDist
from llm_datadist.v2.llm_types import (
    BlocksCacheKey,
    Cache,
    CacheDesc,
    CacheKey,
    CacheKeyByIdAndIndex,
    CacheTask,
    KvCache,
    LayerSynchronizer,
    MemInfo,
    Memtype,
    Placement,
    RegisterMemStatus,
    TransferConfig,
    TransferWithCacheKeyConfig,
)

LLMConfig = LlmConfig

v2_list = [
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
]

__all__ = [*v2_list, "CacheManager", "KvCacheManager", "Tensor", "TensorDesc"]
