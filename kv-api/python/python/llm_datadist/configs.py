"""Roles, clusters to link with, and options."""

import json
import socket
from enum import IntEnum

from llm_datadist.status import raise_if_false
from llm_datadist.utils.utils import (
    check_dict,
    check_int32,
    check_isinstance,
    check_uint16,
    check_uint32,
    check_uint64,
)

_UINT32_MAX = 2**32 - 1


class LLMRole(IntEnum):
    """What a process calls itself."""

    PROMPT = 1
    DECODER = 2
    MIX = 3

    def __str__(self):
        return f"{type(self).__name__}.{self.name}"


def trans_str_ip(ip):
    """An IPv4 address as upstream's number; numbers, and addresses of IPv6, stay as they are."""
    if not isinstance(ip, str):
        return ip
    try:
        return int.from_bytes(socket.inet_aton(ip), byteorder="little")
    except OSError:
        pass
    try:
        socket.inet_pton(socket.AF_INET6, ip)
    except OSError:
        raise RuntimeError(f"Can not parse ip str:{ip}") from None
    return ip


def ip_text(ip):
    """The other way: an address as text."""
    return ip if isinstance(ip, str) else socket.inet_ntoa(ip.to_bytes(4, "little"))


class LLMClusterInfo:
    """A cluster to link with: its number and where it listens."""

    def __init__(self):
        self._remote_cluster_id = None
        self._remote_role_type = None
        self._local_ip_info_list = []
        self._remote_ip_info_list = []

    @property
    def remote_cluster_id(self):
        return self._remote_cluster_id

    @remote_cluster_id.setter
    def remote_cluster_id(self, remote_cluster_id):
        check_uint64("remote_cluster_id", remote_cluster_id)
        self._remote_cluster_id = remote_cluster_id

    @property
    def remote_role_type(self):
        return self._remote_role_type

    @remote_role_type.setter
    def remote_role_type(self, remote_role_type):
        check_isinstance("remote_role_type", remote_role_type, [LLMRole, int])
        self._remote_role_type = remote_role_type

    @property
    def local_ip_info_list(self):
        return self._local_ip_info_list

    @property
    def remote_ip_info_list(self):
        return self._remote_ip_info_list

    def append_local_ip_info(self, ip, port):
        """An address of this side, by text or number."""
        self._local_ip_info_list.append(self._checked(ip, port))

    def append_remote_ip_info(self, ip, port):
        """Where the cluster listens, by text or number."""
        self._remote_ip_info_list.append(self._checked(ip, port))

    @staticmethod
    def _checked(ip, port):
        check_isinstance("ip", ip, [str, int])
        check_uint16("port", port)
        return trans_str_ip(ip), port


def _option(attribute, check, default=None, doc=None):
    """A property that checks what it is set to; reads `default` until it is set."""
    name = f"_{attribute}"

    def read(self):
        value = getattr(self, name)
        return default if value is None else value

    def write(self, value):
        check(attribute, value)
        setattr(self, name, value)

    return property(read, write, doc=doc)


def _of(*classes):
    return lambda name, value: check_isinstance(name, value, list(classes))


def _between(first, last):
    def check(name, value):
        check_isinstance(name, value, int)
        raise_if_false(
            first <= value <= last, f"{name} should be an integer between [{first}, {last}], given value is {value}"
        )

    return check


def _check_options(name, value):
    check_isinstance(name, value, dict)
    check_dict(name, value, str, str)


def _check_devices(name, value):
    check_isinstance(name, value, [list, tuple, int])
    for device in value if isinstance(value, (list, tuple)) else [value]:
        check_isinstance(name, device, int, allow_none=False)
        raise_if_false(device >= 0, f"{name} should be greater than or equal to zero.")
        check_int32(name, device)


def _check_wait_time(name, value):
    check_isinstance(name, value, [int, str])
    raise_if_false(not isinstance(value, str) or value.isdigit(), f"{name} must be digit.")
    raise_if_false(int(value) > 0, f"{name} should be greater than zero.")
    check_int32(name, int(value))


def _check_share(name, value):
    check_isinstance(name, value, float)
    raise_if_false(0.0 <= value <= 1.0, f"{name} must be in range [0,1], current:{value}")


class LlmConfig:
    """Options of a process, by property; `generate_options()` gives them as LLMDataDist.init() takes them."""

    def __init__(self):
        self._options = {}
        for name in self._NAMES:
            setattr(self, f"_{name}", None)
        self._cluster_info = ""

    device_id = _option("device_id", _check_devices)
    listen_ip_info = _option("listen_ip_info", _of(str), "")
    sync_kv_timeout = _option("sync_kv_timeout", _check_wait_time)
    deploy_res_path = _option("deploy_res_path", _of(str), "")
    ge_options = _option("ge_options", _check_options, {})
    enable_switch_role = _option("enable_switch_role", _of(bool), False)
    link_total_time = _option("link_total_time", _between(0, _UINT32_MAX), 0)
    link_retry_count = _option("link_retry_count", _between(1, 100), 1)
    output_max_size = _option("output_max_size", _of(int))
    mem_utilization = _option("mem_utilization", _check_share, 0.95)
    buf_pool_cfg = _option("buf_pool_cfg", _of(str), "")
    mem_pool_cfg = _option("mem_pool_cfg", _of(str), "")
    host_mem_pool_cfg = _option("host_mem_pool_cfg", _of(str), "")
    enable_cache_manager = _option("enable_cache_manager", _of(bool), False)
    enable_remote_cache_accessible = _option("enable_remote_cache_accessible", _of(bool), False)
    rdma_traffic_class = _option("rdma_traffic_class", check_uint32)
    rdma_service_level = _option("rdma_service_level", check_uint32)
    local_comm_res = _option("local_comm_res", _of(str), "")
    transfer_backend = _option("transfer_backend", _of(str), "")
    global_resource_config = _option("global_resource_config", _of(str), "")

    # Property, option, and whether an empty value is given too.
    _OPTIONS = [
        ("sync_kv_timeout", "llm.SyncKvCacheWaitTime", True),
        ("deploy_res_path", "llm.deployResPath", False),
        ("buf_pool_cfg", "llm.BufPoolCfg", False),
        ("mem_pool_cfg", "llm.MemPoolConfig", False),
        ("host_mem_pool_cfg", "llm.HostMemPoolConfig", False),
        ("enable_cache_manager", "llm.EnableCacheManager", True),
        ("enable_remote_cache_accessible", "llm.EnableRemoteCacheAccessible", True),
        ("listen_ip_info", "llm.listenIpInfo", False),
        ("link_total_time", "llm.LinkTotalTime", True),
        ("link_retry_count", "llm.LinkRetryCount", True),
        ("rdma_traffic_class", "llm.RdmaTrafficClass", True),
        ("rdma_service_level", "llm.RdmaServiceLevel", True),
        ("local_comm_res", "llm.LocalCommRes", True),
        ("transfer_backend", "llm.TransferBackend", True),
        ("global_resource_config", "llm.GlobalResourceConfig", True),
        ("output_max_size", "llm.OutputMaxSize", True),
    ]
    _NAMES = [name for name, _, _ in _OPTIONS] + ["device_id", "ge_options", "enable_switch_role", "mem_utilization"]

    @property
    def options(self):
        return self._options

    @property
    def cluster_info(self):
        return self._cluster_info

    @cluster_info.setter
    def cluster_info(self, cluster_info):
        check_isinstance("cluster_info", cluster_info, str)
        parsed = json.loads(cluster_info)
        for ip_info in parsed.get("listen_ip_info", []):
            ip_info["ip"] = trans_str_ip(ip_info["ip"])
        self._cluster_info = json.dumps(parsed)

    def generate_options(self):
        """The options by name."""
        return self.gen_options()

    def gen_options(self):
        """As generate_options()."""
        self._options.update(self.ge_options)
        if self.device_id is not None:
            devices = [self.device_id] if isinstance(self.device_id, int) else list(self.device_id)
            self._options["ge.session_device_id"] = str(devices[0])
            self._options["ge.exec.deviceId"] = ";".join(map(str, devices))
        for name, option, also_empty in self._OPTIONS:
            value = getattr(self, f"_{name}")
            if value is not None and (value != "" or also_empty):
                self._options[option] = str(int(value)) if isinstance(value, bool) else str(value)
        if self._cluster_info:
            self._options["llm.ClusterInfo"] = self._cluster_info
        if self.enable_switch_role:
            self._options["llm.EnableSwitchRole"] = "1"
        self._options["llm.MemoryUtilization"] = str(self.mem_utilization)
        return self._options
