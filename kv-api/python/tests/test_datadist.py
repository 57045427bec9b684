import ctypes
import gc
import json
import threading
import time

import numpy as np
import pytest

import llm_datadist
from conftest import PATIENCE
from llm_datadist import (
    BlocksCacheKey,
    Cache,
    CacheDesc,
    CacheKey,
    CacheKeyByIdAndIndex,
    DataType,
    LayerSynchronizer,
    LLMClusterInfo,
    LLMConfig,
    LLMDataDist,
    LLMException,
    LLMRole,
    LLMStatusCode,
    MemInfo,
    Memtype,
    Placement,
    RegisterMemStatus,
    TransferConfig,
    TransferWithCacheKeyConfig,
)
from test_examples import free_ports

PROMPT, DECODER = 10, 11


def options(port=None, remote=True, **changes):
    config = LLMConfig()
    config.device_id = 0
    config.enable_cache_manager = True
    config.enable_remote_cache_accessible = remote
    config.sync_kv_timeout = 5000
    for name, value in changes.items():
        setattr(config, name, value)
    if port is not None:
        config.listen_ip_info = f"127.0.0.1:{port}"
    return config.generate_options()


def cluster(number, port):
    info = LLMClusterInfo()
    info.remote_cluster_id = number
    info.append_local_ip_info("127.0.0.1", 1)
    info.append_remote_ip_info("127.0.0.1", port)
    return info


class Side:
    """A process with a cache of 4 tensors of 8 rows."""

    def __init__(self, role, number, port=None, remote=True):
        self.datadist = LLMDataDist(role, number)
        self.datadist.init(options(port, remote))
        self.manager = self.datadist.cache_manager
        self.tensors = [np.zeros((8, 16), np.int32) for _ in range(4)]
        self.addresses = [tensor.ctypes.data for tensor in self.tensors]

    def describe(self, placement=Placement.DEVICE):
        return CacheDesc(4, [8, 16], DataType.DT_INT32, placement)

    def rows(self, *keys):
        return self.manager.register_cache(self.describe(), self.addresses, keys)

    def blocks(self, key=None):
        return self.manager.register_blocks_cache(self.describe(), self.addresses, key)

    def count(self):
        for number, tensor in enumerate(self.tensors):
            tensor[:] = np.arange(128).reshape(8, 16) + 1000 * number


def linked_pair(remote):
    port = free_ports(1)
    prompt, decoder = Side(LLMRole.PROMPT, PROMPT, port, remote), Side(LLMRole.DECODER, DECODER, None, remote)
    status, statuses = decoder.datadist.link_clusters([cluster(PROMPT, port)], 5000)
    assert (status, statuses) == (LLMStatusCode.LLM_SUCCESS, [LLMStatusCode.LLM_SUCCESS])
    prompt.count()
    return prompt, decoder


@pytest.fixture(params=[True, False], ids=["remote", "local"])
def sides(request):
    prompt, decoder = linked_pair(request.param)
    yield prompt, decoder
    decoder.datadist.finalize()
    prompt.datadist.finalize()


@pytest.fixture
def remote_sides():
    prompt, decoder = linked_pair(True)
    yield prompt, decoder
    decoder.datadist.finalize()
    prompt.datadist.finalize()


def raises(status, call, *arguments, **keywords):
    with pytest.raises(LLMException) as caught:
        call(*arguments, **keywords)
    assert caught.value.status_code == status, caught.value
    return str(caught.value)


def test_names_and_numbers():
    for name in llm_datadist.__all__:
        assert getattr(llm_datadist, name)
    assert llm_datadist.LlmConfig is LLMConfig
    assert int(LLMStatusCode.LLM_LINK_BUSY) == 0x5010B01B and int(LLMStatusCode.LLM_FAILED) == 0xFFFFFFFF
    assert str(LLMStatusCode.LLM_TIMEOUT) == "LLMStatusCode.LLM_TIMEOUT"
    assert [int(role) for role in LLMRole] == [1, 2, 3] and str(LLMRole.MIX) == "LLMRole.MIX"
    assert (DataType.DT_BF16.value, DataType.DT_INT32.value, Placement.HOST, Placement.DEVICE) == (27, 3, 0, 1)
    assert CacheDesc(2, [4, 8], DataType.DT_FLOAT16).size == 64
    assert isinstance(LLMException("x"), RuntimeError)
    from llm_datadist.data_type import dtype_to_np_dtype

    assert dtype_to_np_dtype[DataType.DT_FLOAT] is np.float32


def test_options_are_upstreams():
    config = LLMConfig()
    assert (config.link_total_time, config.link_retry_count, config.enable_cache_manager) == (0, 1, False)
    config.device_id = [1, 2]
    config.rdma_traffic_class = 132
    config.local_comm_res = ""
    config.ge_options = {"a": "b"}
    assert config.generate_options() == {
        "a": "b",
        "ge.exec.deviceId": "1;2",
        "ge.session_device_id": "1",
        "llm.LocalCommRes": "",
        "llm.MemoryUtilization": "0.95",
        "llm.RdmaTrafficClass": "132",
    }
    for name, value, problem in [
        ("device_id", "0", TypeError),
        ("device_id", -1, LLMException),
        ("sync_kv_timeout", "soon", LLMException),
        ("sync_kv_timeout", 2**31, ValueError),
        ("link_retry_count", 101, LLMException),
        ("rdma_service_level", -1, ValueError),
        ("enable_switch_role", 1, TypeError),
        ("mem_utilization", 1.5, LLMException),
        ("ge_options", {"a": 1}, TypeError),
    ]:
        with pytest.raises(problem):
            setattr(config, name, value)


def test_addresses_of_clusters():
    info = LLMClusterInfo()
    info.append_remote_ip_info("1.2.3.4", 5)
    info.append_remote_ip_info(0x0100007F, 6)
    assert info.remote_ip_info_list == [(0x04030201, 5), (0x0100007F, 6)]
    with pytest.raises(RuntimeError, match="Can not parse"):
        info.append_local_ip_info("nowhere", 1)
    with pytest.raises(ValueError):
        info.append_local_ip_info("1.2.3.4", 65536)


def test_keys():
    key = CacheKey(1, 2, 3)
    assert (key.cluster_id, key.prompt_cluster_id, key.req_id, key.model_id, key.prefix_id) == (1, 1, 2, 3, 2**64 - 1)
    assert BlocksCacheKey(prompt_cluster_id=4).cluster_id == 4 and BlocksCacheKey(4).model_id == 0
    with pytest.raises(LLMException, match="req_id is required"):
        CacheKey(cluster_id=1)
    with pytest.raises(LLMException, match="Unsupported"):
        CacheKey(cluster_id=1, req_id=1, other=1)
    with pytest.raises(LLMException, match="over limit"):
        BlocksCacheKey(1, 2, 3)
    with pytest.raises(ValueError):
        CacheKeyByIdAndIndex(-1, 1)


def test_blocks_and_rows_are_pulled(sides):
    prompt, decoder = sides
    prompt.blocks(BlocksCacheKey(PROMPT, 3))
    source = prompt.rows()
    blocks, rows = decoder.blocks(), decoder.rows()
    decoder.manager.pull_blocks(BlocksCacheKey(PROMPT, 3), blocks, [1, 2, 7], [2, 3, 0])
    for here, there in zip(decoder.tensors, prompt.tensors):
        assert np.array_equal(here[[2, 3, 0]], there[[1, 2, 7]])
    key = CacheKeyByIdAndIndex(PROMPT, source.cache_id, 5)
    decoder.manager.pull_cache(key, rows, 6, size=8, src_layer_range=range(1, 2), dst_layer_range=range(0, 1))
    assert decoder.tensors[0][6].tolist() == [2080, 2081] + [0] * 14
    assert not decoder.tensors[2][6].any()


def test_rows_are_pulled_by_request_once():
    prompt, decoder = linked_pair(False)
    description = prompt.describe()
    cache = prompt.manager.allocate_cache(description, [CacheKey(PROMPT, 7), CacheKey(PROMPT, 8)])
    assert len(cache.tensor_addrs) == 4
    target = decoder.rows()
    decoder.manager.pull_cache(CacheKey(PROMPT, 8), target, 0)
    missing = LLMStatusCode.LLM_KV_CACHE_NOT_EXIST
    prompt.manager.remove_cache_key(CacheKey(PROMPT, 7))
    raises(missing, decoder.manager.pull_cache, CacheKey(PROMPT, 7), target, 0)
    raises(missing, decoder.manager.pull_cache, CacheKey(PROMPT, 99), target, 0)
    prompt.manager.deallocate_cache(cache)
    assert cache.tensor_addrs == []
    decoder.datadist.finalize()
    prompt.datadist.finalize()


def test_blocks_and_rows_are_pushed(remote_sides):
    prompt, decoder = remote_sides
    source_blocks, source_rows = prompt.blocks(), prompt.rows()
    decoder.blocks(BlocksCacheKey(DECODER, 0))
    target = decoder.rows()
    # The prompt did not link: the link carries both ways.
    prompt.manager.push_blocks(
        BlocksCacheKey(DECODER, 0), source_blocks, [0, 1], [6, 7], range(0, 2), range(2, 4), tensor_num_per_layer=1
    )
    assert np.array_equal(decoder.tensors[2][[6, 7]], prompt.tensors[0][[0, 1]])
    assert not decoder.tensors[0].any()
    prompt.manager.push_cache(CacheKeyByIdAndIndex(DECODER, target.cache_id, 1), source_rows, 3)
    for here, there in zip(decoder.tensors, prompt.tensors):
        assert np.array_equal(here[1], there[3])


class Layers(LayerSynchronizer):
    def __init__(self, side, fail_at=None, problem=None):
        self.side, self.fail_at, self.problem, self.asked = side, fail_at, problem, []

    def synchronize_layer(self, layer_index, timeout_in_millis):
        self.asked.append((layer_index, timeout_in_millis))
        if layer_index == self.fail_at:
            if self.problem is not None:
                raise self.problem
            return False
        for tensor in self.side.tensors[2 * layer_index : 2 * layer_index + 2]:
            tensor[:] = 100 + layer_index
        return True


def test_layers_are_sent_while_they_are_computed(remote_sides):
    prompt, decoder = remote_sides
    source = prompt.blocks()
    decoder.blocks(BlocksCacheKey(DECODER, 0))
    synchronizer = Layers(prompt)
    config = TransferWithCacheKeyConfig(BlocksCacheKey(DECODER, 0), range(0, 2), range(0, 2))
    task = prompt.manager.transfer_cache_async(source, synchronizer, [config], [0, 1], [4, 5])
    assert task.synchronize(20000) == LLMStatusCode.LLM_SUCCESS
    assert task.get_results() == [LLMStatusCode.LLM_SUCCESS] and task.exception is None
    assert [layer for layer, _ in synchronizer.asked] == [0, 1]
    assert [int(tensor[4:6].min()) for tensor in decoder.tensors] == [100, 100, 101, 101]
    assert not any(tensor[:4].any() for tensor in decoder.tensors)


def test_layers_go_to_addresses():
    prompt, decoder = linked_pair(False)
    source = prompt.rows()
    decoder.rows()
    config = TransferConfig(DECODER, decoder.addresses[2:], range(1, 2), src_batch_index=3)
    task = prompt.manager.transfer_cache_async(source, Layers(prompt), [config])
    assert task.synchronize(20000) == LLMStatusCode.LLM_SUCCESS
    assert decoder.tensors[2][0].tolist() == [101] * 16 and not decoder.tensors[0].any()
    decoder.datadist.finalize()
    prompt.datadist.finalize()


def test_a_synchroniser_that_fails_or_raises_fails_the_task(remote_sides):
    prompt, decoder = remote_sides
    source = prompt.blocks()
    decoder.blocks(BlocksCacheKey(DECODER, 0))
    config = TransferWithCacheKeyConfig(BlocksCacheKey(DECODER, 0), range(0, 2), range(0, 2))
    task = prompt.manager.transfer_cache_async(source, Layers(prompt, fail_at=1), [config], [0], [0])
    assert task.synchronize(20000) == LLMStatusCode.LLM_PARAM_INVALID
    raising = Layers(prompt, fail_at=1, problem=RuntimeError("the kernel failed"))
    task = prompt.manager.transfer_cache_async(source, raising, [config], [0], [0])
    assert task.get_results(20000) == [LLMStatusCode.LLM_FAILED]
    assert str(task.exception) == "the kernel failed"
    assert int(decoder.tensors[0][0].min()) == 100 and not decoder.tensors[2].any()


def test_a_task_that_takes_longer_is_a_timeout_and_goes_on(remote_sides):
    prompt, decoder = remote_sides
    source = prompt.blocks()
    decoder.blocks(BlocksCacheKey(DECODER, 0))
    computed = threading.Event()

    class Slow(Layers):
        def synchronize_layer(self, layer_index, timeout_in_millis):
            return computed.wait(PATIENCE) and super().synchronize_layer(layer_index, timeout_in_millis)

    config = TransferWithCacheKeyConfig(BlocksCacheKey(DECODER, 0), range(0, 2), range(0, 2))
    task = prompt.manager.transfer_cache_async(source, Slow(prompt), [config], [0], [0])
    assert task.get_results(20) == [LLMStatusCode.LLM_TIMEOUT]
    assert task.synchronize(20) == LLMStatusCode.LLM_TIMEOUT
    computed.set()
    assert task.synchronize(20000) == LLMStatusCode.LLM_SUCCESS


def test_arguments_that_cannot_be(remote_sides):
    prompt, decoder = remote_sides
    manager, blocks, rows = decoder.manager, decoder.blocks(), decoder.rows()
    invalid, key = LLMStatusCode.LLM_PARAM_INVALID, CacheKeyByIdAndIndex(PROMPT, 1)
    prompt.rows()
    raises(invalid, manager.pull_cache, key, blocks)
    raises(invalid, manager.pull_cache, key, rows, size=0)
    raises(invalid, manager.pull_cache, key, rows, size=65)
    raises(invalid, manager.pull_cache, key, rows, 8)
    raises(invalid, manager.pull_cache, key, rows, tensor_num_per_layer=0)
    raises(invalid, manager.pull_cache, key, rows, src_layer_range=range(0, 2, 2), dst_layer_range=range(0, 1))
    raises(invalid, manager.pull_cache, key, rows, src_layer_range=range(0, 3), dst_layer_range=range(0, 3))
    raises(invalid, manager.pull_cache, key, rows, src_layer_range=range(0, 2), dst_layer_range=range(0, 1))
    raises(invalid, manager.pull_blocks, BlocksCacheKey(PROMPT), blocks, [], [1])
    raises(invalid, manager.pull_blocks, BlocksCacheKey(PROMPT), blocks, [1], [])
    raises(invalid, manager.pull_blocks, key, blocks, [1], [1])
    raises(invalid, manager.push_cache, key, rows, size=4)
    raises(invalid, manager.push_blocks, BlocksCacheKey(PROMPT), rows, [1], [1])
    raises(invalid, manager.register_cache, decoder.describe(), decoder.addresses[1:])
    raises(invalid, manager.register_cache, decoder.describe(), [0, 1, 2, 3])
    raises(invalid, manager.register_cache, CacheDesc(1, [0, 4], DataType.DT_INT8), decoder.addresses[:1])
    raises(LLMStatusCode.LLM_NOT_YET_LINK, manager.pull_cache, CacheKeyByIdAndIndex(77, 1), rows)
    raises(LLMStatusCode.LLM_KV_CACHE_NOT_EXIST, manager.pull_cache, CacheKeyByIdAndIndex(PROMPT, 77), rows)
    assert not any(tensor.any() for tensor in decoder.tensors)
    with pytest.raises(TypeError):
        manager.pull_cache("key", rows)
    with pytest.raises(TypeError):
        manager.transfer_cache_async(blocks, None, [])
    with pytest.raises(TypeError):
        manager.transfer_cache_async(blocks, Layers(decoder), [TransferConfig(PROMPT, [])])
    with pytest.raises(ValueError):
        CacheDesc(-1, [1], DataType.DT_INT8)


def test_links(caplog):
    port = free_ports(2)
    prompt, decoder = Side(LLMRole.PROMPT, PROMPT, port), Side(LLMRole.DECODER, DECODER)
    link, unlink = decoder.datadist.link_clusters, decoder.datadist.unlink_clusters
    code = LLMStatusCode
    assert link([cluster(PROMPT, port + 1)], 2000)[1] == [code.LLM_LINK_FAILED]
    assert link([cluster(99, port)], 2000) == (code.LLM_LINK_FAILED, [code.LLM_LINK_FAILED])
    raises(code.LLM_NOT_YET_LINK, decoder.datadist.check_link_status, PROMPT)
    assert link([cluster(PROMPT, port)], 2000) == (code.LLM_SUCCESS, [code.LLM_SUCCESS])
    assert link([cluster(PROMPT, port)], 2000)[0] == code.LLM_ALREADY_LINK
    decoder.datadist.check_link_status(PROMPT)
    raises(code.LLM_EXIST_LINK, decoder.datadist.switch_role, LLMRole.PROMPT)
    assert unlink([cluster(PROMPT, port)], 2000) == (code.LLM_SUCCESS, [code.LLM_SUCCESS])
    raises(code.LLM_NOT_YET_LINK, decoder.datadist.check_link_status, PROMPT)
    assert link([cluster(PROMPT, port)], 2000)[0] == code.LLM_SUCCESS
    assert unlink([cluster(PROMPT, port)], 2000, force=True)[0] == code.LLM_SUCCESS
    raises(code.LLM_PARAM_INVALID, link, [cluster(PROMPT, port)], 0)
    with pytest.raises(TypeError):
        link("cluster")
    assert any("99" in record.getMessage() for record in caplog.records)
    decoder.datadist.finalize()
    prompt.datadist.finalize()
    with pytest.raises(RuntimeError, match="not initialized"):
        link([cluster(PROMPT, port)])


def test_a_peer_that_has_gone_fails_what_comes_after(remote_sides):
    prompt, decoder = remote_sides
    source, target = prompt.rows(), decoder.rows()
    key = CacheKeyByIdAndIndex(PROMPT, source.cache_id)
    decoder.manager.pull_cache(key, target)
    prompt.datadist.finalize()
    is_linked, deadline = True, time.monotonic() + PATIENCE
    while is_linked and time.monotonic() < deadline:
        try:
            decoder.datadist.check_link_status(PROMPT)
        except LLMException:
            is_linked = False
    raises(LLMStatusCode.LLM_NOT_YET_LINK, decoder.manager.pull_cache, key, target)


def test_caches_that_were_unregistered_are_gone(remote_sides):
    prompt, decoder = remote_sides
    source, target = prompt.rows(), decoder.rows()
    key = CacheKeyByIdAndIndex(PROMPT, source.cache_id)
    decoder.manager.pull_cache(key, target)
    prompt.manager.unregister_cache(source.cache_id)
    prompt.manager.unregister_cache(source.cache_id)
    with pytest.raises(LLMException):
        decoder.manager.pull_cache(key, target)
    decoder.manager.unregister_cache(target.cache_id)
    raises(LLMStatusCode.LLM_KV_CACHE_NOT_EXIST, decoder.manager.pull_cache, key, target)


def test_copies_and_swaps():
    side = Side(LLMRole.PROMPT, PROMPT)
    side.count()
    manager, blocks, rows = side.manager, side.blocks(), side.rows()
    manager.copy_blocks(blocks, {1: [2, 3]})
    assert all(np.array_equal(tensor[2], tensor[1]) and np.array_equal(tensor[3], tensor[1]) for tensor in side.tensors)
    manager.copy_cache(rows, rows, 7, 0, offset=8, size=4)
    assert side.tensors[0][7].tolist()[:4] == [112, 113, 2, 115]
    host = [np.zeros((4, 16), np.int32) for _ in range(4)]
    cpu = Cache.create_cpu_cache(
        CacheDesc(4, [4, 16], DataType.DT_INT32, Placement.HOST), [array.ctypes.data for array in host]
    )
    manager.swap_blocks(blocks, cpu, {5: 0, 6: 3})
    assert np.array_equal(host[2][[0, 3]], side.tensors[2][[5, 6]])
    host[2][0] = -1
    manager.swap_blocks(cpu, blocks, {0: 5})
    assert side.tensors[2][5].tolist() == [-1] * 16
    invalid = LLMStatusCode.LLM_PARAM_INVALID
    raises(invalid, manager.swap_blocks, blocks, blocks, {0: 1})
    raises(invalid, manager.swap_blocks, blocks, cpu, {0: 4})
    raises(invalid, manager.copy_blocks, rows, {0: [1]})
    raises(invalid, manager.copy_blocks, blocks, {0: [8]})
    raises(invalid, manager.copy_cache, rows, rows, 8, 0)
    manager.remap_registered_memory(MemInfo(Memtype.MEM_TYPE_DEVICE, 1, 1))
    raises(invalid, manager.remap_registered_memory, MemInfo(Memtype.MEM_TYPE_HOST, 1, 1))
    side.datadist.finalize()


def test_memory_pools_are_bounds():
    datadist = LLMDataDist(LLMRole.PROMPT, PROMPT)
    datadist.init(options(mem_pool_cfg='{"memory_size": 1048576}'))
    manager = datadist.cache_manager
    small = manager.allocate_blocks_cache(CacheDesc(2, [4, 64], DataType.DT_INT8), BlocksCacheKey(PROMPT))
    large = CacheDesc(2, [1024, 1024], DataType.DT_INT8)
    raises(LLMStatusCode.LLM_DEVICE_OUT_OF_MEMORY, manager.allocate_cache, large)
    manager.deallocate_blocks_cache(small)
    raises(LLMStatusCode.LLM_PARAM_INVALID, manager.deallocate_cache, small)
    datadist.finalize()
    datadist.finalize()


def test_options_that_cannot_be():
    datadist = LLMDataDist(LLMRole.PROMPT, PROMPT)
    invalid = LLMStatusCode.LLM_PARAM_INVALID
    raises(invalid, datadist.init, {"llm.EnableCacheManager": "1"})
    raises(invalid, datadist.init, options() | {"llm.listenIpInfo": "nowhere"})
    raises(invalid, datadist.init, options() | {"llm.TransferBackend": "hixl"})
    raises(invalid, datadist.init, options() | {"llm.EnableCacheManager": "0", "llm.LocalCommRes": ""})
    with pytest.raises(TypeError):
        datadist.init({"llm.DeviceId": 0})
    with pytest.raises(TypeError):
        LLMDataDist("prompt", 1)
    with pytest.raises(ValueError):
        LLMDataDist(LLMRole.PROMPT, -1)


def test_links_by_rank_table(monkeypatch):
    monkeypatch.setenv("PMD_LINK_PORT", str(free_ports(3)))
    device = lambda rank: {"device_id": "0", "device_ip": "192.168.1.1", "rank_id": str(rank)}
    table = {"server_list": [{"device": [device(0), device(1)], "host_ip": "127.0.0.1", "server_id": "1"}]}
    prompt, decoder = Side(LLMRole.PROMPT, PROMPT, None, False), Side(LLMRole.DECODER, DECODER, None, False)
    ranks = {PROMPT: 0, DECODER: 1}
    links = [(side.datadist, side.datadist.link("link", ranks, json.dumps(table))) for side in (decoder, prompt)]
    deadline = threading.Event()
    for datadist, comm in links:
        for _ in range(2000):
            if datadist.query_register_mem_status(comm) == RegisterMemStatus.OK:
                break
            deadline.wait(0.01)
        assert datadist.query_register_mem_status(comm) == RegisterMemStatus.OK
    prompt.count()
    # Registered after the link was made.
    prompt.blocks(BlocksCacheKey(PROMPT, 0))
    decoder.manager.pull_blocks(BlocksCacheKey(PROMPT, 0), decoder.blocks(), [0], [1])
    assert np.array_equal(decoder.tensors[3][1], prompt.tensors[3][0])
    for datadist, comm in links:
        datadist.unlink(comm)
        raises(LLMStatusCode.LLM_NOT_YET_LINK, datadist.unlink, comm)
    invalid = LLMStatusCode.LLM_PARAM_INVALID
    raises(invalid, prompt.datadist.link, "", ranks, "{}")
    raises(invalid, prompt.datadist.link, "link", {PROMPT: 0}, "{}")
    raises(invalid, prompt.datadist.link, "link", {DECODER: 1, PROMPT: 0}, "{}")
    raises(invalid, prompt.datadist.link, "link", ranks, "{}")
    decoder.datadist.finalize()
    prompt.datadist.finalize()


def test_the_older_manager():
    port = free_ports(1)
    prompt, decoder = LLMDataDist(LLMRole.PROMPT, PROMPT), LLMDataDist(LLMRole.DECODER, DECODER)
    prompt.init(options(port, False, enable_cache_manager=False))
    decoder.init(options(None, False, enable_cache_manager=False))
    raises(LLMStatusCode.LLM_PARAM_INVALID, lambda: prompt.cache_manager)
    assert decoder.link_clusters([cluster(PROMPT, port)])[0] == LLMStatusCode.LLM_SUCCESS
    decoder.check_link_status(PROMPT)
    description = lambda: CacheDesc(2, [2, 8], DataType.DT_FLOAT)
    source = prompt.kv_cache_manager.allocate_cache(description(), [CacheKey(PROMPT, 1)])
    target = decoder.kv_cache_manager.allocate_cache(description())
    ctypes.memset(source.per_device_tensor_addrs[0][1], 0, 64)
    (ctypes.c_float * 8).from_address(source.per_device_tensor_addrs[0][1])[3] = 1.5
    decoder.kv_cache_manager.pull_cache(CacheKey(PROMPT, 1), target, 1)
    (tensor,) = decoder.kv_cache_manager.get_cache_tensors(target, 1)
    assert tensor.numpy()[1].tolist() == [0, 0, 0, 1.5, 0, 0, 0, 0]
    raises(LLMStatusCode.LLM_PARAM_INVALID, decoder.switch_role, LLMRole.DECODER)
    decoder.kv_cache_manager.deallocate_cache(target)
    del source, target
    gc.collect()
    decoder.finalize()
    prompt.finalize()
