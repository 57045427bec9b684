"""What the LLM-DataDist examples share: 4 tensors of 8 rows of 16 numbers, in two processes."""

import numpy as np

from common import check
from llm_datadist import CacheDesc, DataType, LLMClusterInfo, LLMConfig, LLMDataDist, LLMStatusCode, Placement

TENSORS, SHAPE = 4, [8, 16]
PROMPT, DECODER = 0, 1
HOST = "127.0.0.1"


def description():
    return CacheDesc(TENSORS, SHAPE, DataType.DT_INT32, Placement.DEVICE)


def counting():
    """Tensors that count from 0 to 127."""
    return [np.arange(128, dtype=np.int32).reshape(SHAPE) for _ in range(TENSORS)]


def empty():
    return [np.zeros(SHAPE, np.int32) for _ in range(TENSORS)]


def addresses(tensors):
    return [tensor.ctypes.data for tensor in tensors]


def start(role, cluster_id, listen_port=None):
    """A process that has been initialised; one with a port listens."""
    datadist = LLMDataDist(role, cluster_id)
    config = LLMConfig()
    config.device_id = 0
    config.local_comm_res = ""
    config.sync_kv_timeout = 10000
    config.enable_switch_role = True
    if listen_port is not None:
        config.listen_ip_info = f"{HOST}:{listen_port}"
    datadist.init(config.generate_options())
    print(f"cluster {cluster_id} is initialised", flush=True)
    return datadist


def cluster_of(remote_cluster_id, port):
    cluster = LLMClusterInfo()
    cluster.remote_cluster_id = remote_cluster_id
    cluster.append_local_ip_info(HOST, port)
    cluster.append_remote_ip_info(HOST, port)
    return cluster


def link(datadist, remote_cluster_id, port):
    status, _ = datadist.link_clusters([cluster_of(remote_cluster_id, port)], 5000)
    check(status == LLMStatusCode.LLM_SUCCESS, f"cluster {remote_cluster_id} is linked")


def unlink(datadist, remote_cluster_id, port):
    status, _ = datadist.unlink_clusters([cluster_of(remote_cluster_id, port)], 5000)
    check(status == LLMStatusCode.LLM_SUCCESS, f"cluster {remote_cluster_id} is unlinked")


def check_rows(tensors, first, end):
    """Checks that these rows of every tensor count on."""
    wanted = np.arange(128, dtype=np.int32).reshape(SHAPE)[first:end]
    holds = all(np.array_equal(tensor[first:end], wanted) for tensor in tensors)
    check(holds, f"rows {first} to {end - 1} of every tensor are right")
