from enum import IntEnum
from typing import Dict, Generic, List, Optional, Tuple, TypeVar, Union

_Read = TypeVar("_Read", covariant=True)
_Written = TypeVar("_Written", contravariant=True)

class LLMRole(IntEnum):
    PROMPT = 1
    DECODER = 2
    MIX = 3

def trans_str_ip(ip: Union[str, int]) -> Union[str, int]: ...
def ip_text(ip: Union[str, int]) -> str: ...

class LLMClusterInfo:
    def __init__(self) -> None: ...
    @property
    def remote_cluster_id(self) -> Optional[int]: ...
    @remote_cluster_id.setter
    def remote_cluster_id(self, remote_cluster_id: int) -> None: ...
    @property
    def remote_role_type(self) -> Union[LLMRole, int, None]: ...
    @remote_role_type.setter
    def remote_role_type(self, remote_role_type: Union[LLMRole, int, None]) -> None: ...
    # An address of IPv4 is a number here, however it was given.
    @property
    def local_ip_info_list(self) -> List[Tuple[Union[str, int], int]]: ...
    @property
    def remote_ip_info_list(self) -> List[Tuple[Union[str, int], int]]: ...
    def append_local_ip_info(self, ip: Union[str, int], port: int) -> None: ...
    def append_remote_ip_info(self, ip: Union[str, int], port: int) -> None: ...

# A property: what it reads, and what it can be set to. None, where it can be set, is as if it was never set.
class _Option(Generic[_Read, _Written]):
    def __get__(self, instance: object, owner: Optional[type] = ...) -> _Read: ...
    def __set__(self, instance: object, value: _Written) -> None: ...

class LlmConfig:
    def __init__(self) -> None: ...
    device_id: _Option[
        Union[int, List[int], Tuple[int, ...], None],
        Union[int, List[int], Tuple[int, ...]],
    ]
    listen_ip_info: _Option[str, Optional[str]]
    # Text is of digits.
    sync_kv_timeout: _Option[Union[int, str, None], Union[int, str]]
    deploy_res_path: _Option[str, Optional[str]]
    ge_options: _Option[Dict[str, str], Dict[str, str]]
    enable_switch_role: _Option[bool, Optional[bool]]
    link_total_time: _Option[int, int]
    link_retry_count: _Option[int, int]
    output_max_size: _Option[Optional[int], Optional[int]]
    # An int, which type checkers take for a float, raises TypeError.
    mem_utilization: _Option[float, float]
    buf_pool_cfg: _Option[str, Optional[str]]
    mem_pool_cfg: _Option[str, Optional[str]]
    host_mem_pool_cfg: _Option[str, Optional[str]]
    enable_cache_manager: _Option[bool, Optional[bool]]
    enable_remote_cache_accessible: _Option[bool, Optional[bool]]
    rdma_traffic_class: _Option[Optional[int], int]
    rdma_service_level: _Option[Optional[int], int]
    local_comm_res: _Option[str, Optional[str]]
    transfer_backend: _Option[str, Optional[str]]
    global_resource_config: _Option[str, Optional[str]]
    @property
    def options(self) -> Dict[str, str]: ...
    @property
    def cluster_info(self) -> str: ...
    @cluster_info.setter
    def cluster_info(self, cluster_info: str) -> None: ...
    def generate_options(self) -> Dict[str, str]: ...
    def gen_options(self) -> Dict[str, str]: ...
