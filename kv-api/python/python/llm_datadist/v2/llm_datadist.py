"""A process of a cluster."""

import atexit
import weakref

from llm_datadist.configs import LLMClusterInfo, LLMRole, ip_text
from llm_datadist.status import LLMException, LLMStatusCode, code_2_status, handle_llm_status, raise_if_false, raise_if_true
from llm_datadist.utils import log
from llm_datadist.utils.utils import check_dict, check_int32, check_isinstance, check_uint32, check_uint64
from llm_datadist.v2.cache_manager import CacheManager
from llm_datadist.v2.comm import Comm
from llm_datadist.v2.kv_cache_manager import KvCacheManager
from llm_datadist.v2.llm_utils import parse_listen_ip_info
from pmd_kv._native import DataDist

__all__ = ["LLMDataDist"]

_MAX_COMM_NAME = 128
_initialized = weakref.WeakSet()


class LLMDataDist:
    """A process of a cluster: links with others, and hands out its cache manager."""

    #: The one that was initialised last; upstream has no more than one.
    llm_engine_instance = None

    def __init__(self, role, cluster_id):
        check_isinstance("role", role, LLMRole, allow_none=False)
        check_uint64("cluster_id", cluster_id)
        self._role = role
        self._cluster_id = cluster_id
        self._llm_datadist = DataDist(cluster_id, role)
        self._engine_options = {}
        self._is_initialized = False
        self._enable_cache_mgr = False
        self._cache_manager = None
        self._kv_cache_manager = None
        self._comms = {}
        self._next_comm = 1

    @property
    def cluster_id(self):
        return self._cluster_id

    def init(self, options):
        """Opens the devices and, where the options say so, listens. LLMConfig.generate_options() makes options."""
        if self._is_initialized:
            return
        check_isinstance("options", options, dict, allow_none=False)
        check_dict("options", options, str, str)
        engine_options = self._completed(options)
        status, _, reason = self._llm_datadist.initialize(engine_options)
        handle_llm_status(status, "[LLMDataDist.init]", f"options = {options}: {reason}")
        self._engine_options = engine_options
        if self._enable_cache_mgr:
            self._cache_manager = CacheManager(self._llm_datadist, engine_options)
        else:
            self._kv_cache_manager = KvCacheManager(self._llm_datadist, engine_options, self._role)
        self._is_initialized = True
        LLMDataDist.llm_engine_instance = self
        _initialized.add(self)
        log.info("[LLMDataDist.init] success, options = %s", engine_options)

    def _completed(self, options):
        """The options with those that others imply."""
        completed = dict(options)
        flow_memory = options.get("ge.flowGraphMemMaxSize", "0")
        raise_if_false("," not in flow_memory, "ge.flowGraphMemMaxSize only support one mem pool in llm datadist")
        raise_if_false(flow_memory.isdigit(), "ge.flowGraphMemMaxSize must be digit, config value={0}", flow_memory)
        if "llm.LocalCommRes" in options:
            completed.setdefault("llm.EnableCacheManager", "1")
            completed.setdefault("llm.EnableRemoteCacheAccessible", "1")
        self._enable_cache_mgr = completed.get("llm.EnableCacheManager") == "1"
        needs = "is not supported when llm.EnableCacheManager is not configured."
        raise_if_false(self._enable_cache_mgr or "llm.LocalCommRes" not in options, f"llm.LocalCommRes {needs}")
        if "llm.TransferBackend" in options:
            raise_if_false(self._enable_cache_mgr, f"llm.TransferBackend {needs}")
            completed.setdefault("llm.EnableRemoteCacheAccessible", "1")
            raise_if_false(
                completed["llm.EnableRemoteCacheAccessible"] == "1",
                "llm.TransferBackend is not supported when llm.EnableRemoteCacheAccessible is not enable.",
            )
            raise_if_false(
                "llm.listenIpInfo" in options,
                "llm.TransferBackend is not supported when llm.listenIpInfo is not configured.",
            )
        if "llm.listenIpInfo" in options:
            parse_listen_ip_info(options["llm.listenIpInfo"])
        return completed

    def finalize(self):
        """Takes down all links and ends all caches: when it returns nothing reaches their memory."""
        if not self._is_initialized:
            return
        for comm in self._comms.values():
            comm.stop()
        self._comms.clear()
        for manager in (self._cache_manager, self._kv_cache_manager):
            if manager is not None:
                manager._initialized = False
        self._llm_datadist.finalize()
        self._is_initialized = False
        _initialized.discard(self)
        if LLMDataDist.llm_engine_instance is self:
            LLMDataDist.llm_engine_instance = None

    @property
    def cache_manager(self):
        """The cache manager, when `enable_cache_manager` is set."""
        self._check_is_inited()
        self._check_is_cache_mgr_mode("cache_manager")
        return self._cache_manager

    @property
    def kv_cache_manager(self):
        """The older cache manager, when `enable_cache_manager` is not set."""
        self._check_is_inited()
        raise_if_true(
            self._enable_cache_mgr, "kv_cache_manager is not supported when llm.EnableCacheManager is configured."
        )
        return self._kv_cache_manager

    def _check_is_inited(self):
        if not self._is_initialized:
            raise RuntimeError("llm datadist is not initialized")

    def _check_is_cache_mgr_mode(self, func_name):
        raise_if_false(
            self._enable_cache_mgr,
            "{0} is not supported when llm.EnableCacheManager is not configured.",
            func_name,
        )

    # Links by address.

    def link_clusters(self, clusters, timeout=3000):
        """Links with clusters that listen: the status, and that of each cluster. `timeout` is in milliseconds."""
        packed = self._packed("clusters", clusters, timeout)
        status, statuses, reason = self._llm_datadist.link_clusters(packed, timeout)
        return self._linked("link_clusters", status, statuses, reason)

    def unlink_clusters(self, clusters, timeout=3000, force=False):
        """Takes links down on both sides, or with `force` on this one without asking the other."""
        check_isinstance("force", force, bool, allow_none=False)
        packed = self._packed("clusters", clusters, timeout)
        status, statuses, reason = self._llm_datadist.unlink_clusters(packed, timeout, force)
        return self._linked("unlink_clusters", status, statuses, reason)

    def _packed(self, name, clusters, timeout):
        self._check_is_inited()
        check_int32("timeout", timeout)
        raise_if_false(timeout > 0, "Param timeout should be greater than 0.")
        check_isinstance(name, clusters, [list, tuple], LLMClusterInfo, allow_none=False)
        for cluster in clusters:
            check_uint64("remote_cluster_id", cluster.remote_cluster_id)
        as_text = lambda infos: [(ip_text(ip), port) for ip, port in infos]
        return [
            (cluster.remote_cluster_id, 0, as_text(cluster.local_ip_info_list), as_text(cluster.remote_ip_info_list))
            for cluster in clusters
        ]

    @staticmethod
    def _linked(func_name, status, statuses, reason):
        if reason is not None:
            log.error("[%s] %s", func_name, reason)
        return code_2_status(status), [code_2_status(one) for one in statuses]

    def check_link_status(self, remote_cluster_id):
        """Raises unless the link to a cluster is up."""
        self._check_is_inited()
        check_uint64("remote_cluster_id", remote_cluster_id)
        status, _, reason = self._llm_datadist.check_link_status(remote_cluster_id)
        handle_llm_status(status, "[check_link_status]", f"remote_cluster_id is {remote_cluster_id}: {reason}")

    def switch_role(self, role, switch_options=None):
        """Changes the role, and with it whether and where this process listens."""
        self._check_is_inited()
        check_isinstance("role", role, LLMRole, allow_none=False)
        check_isinstance("switch_options", switch_options, dict)
        options = {} if switch_options is None else dict(switch_options)
        if "llm.listenIpInfo" in options:
            parse_listen_ip_info(options["llm.listenIpInfo"])
        if not self._enable_cache_mgr:
            raise_if_true(self._role == role, f"role not changed, role = {role.name}")
            raise_if_true(
                role == LLMRole.PROMPT and "llm.listenIpInfo" not in options,
                'Failed to switch to Prompt, option "llm.listenIpInfo" must be specified',
            )
        status, _, reason = self._llm_datadist.switch_role(role, options)
        handle_llm_status(
            status, "[switch_role]", f"Failed to switch role, role = {role}, options = {options}: {reason}"
        )
        log.info("[switch_role] [%s->%s] success", self._role.name, role.name)
        self._role = role

    # Links by rank table.

    def link(self, comm_name, cluster_rank_info, rank_table):
        """Begins to link the clusters of {cluster: rank}, this one among them; the number of the link. All call it, and
        ask query_register_mem_status() until it is OK."""
        self._check_is_inited()
        self._check_is_cache_mgr_mode("link")
        check_isinstance("comm_name", comm_name, str, allow_none=False)
        raise_if_true(len(comm_name) == 0, "comm_name can not be empty")
        raise_if_false(len(comm_name) < _MAX_COMM_NAME, "comm_name length should be smaller than 128.")
        check_isinstance("cluster_rank_info", cluster_rank_info, dict, allow_none=False)
        check_dict("cluster_rank_info", cluster_rank_info, int, int)
        for cluster, rank in cluster_rank_info.items():
            check_uint64("cluster_rank_info key", cluster)
            check_uint32("cluster_rank_info value", rank)
        check_isinstance("rank_table", rank_table, str, allow_none=False)
        ranks = list(cluster_rank_info.values())
        raise_if_false(len(ranks) > 1, "cluster num must be bigger than 1.")
        raise_if_false(ranks == sorted(ranks), "rank in cluster_rank_info must be ordered")
        patience = int(self._engine_options.get("llm.LinkTotalTime", "0"))
        comm = Comm(self._llm_datadist, self._role, self._cluster_id, cluster_rank_info, rank_table, patience)
        status, _, reason = comm.answer
        handle_llm_status(status, "[link]", f"cluster_rank_info = {cluster_rank_info}: {reason}")
        comm.start()
        comm_id, self._next_comm = self._next_comm, self._next_comm + 1
        self._comms[comm_id] = comm
        self.cache_manager.set_is_call_linked()
        return comm_id

    def unlink(self, comm_id):
        """Takes the links of link() down, on this side."""
        comm = self._comm("unlink", comm_id)
        clusters = [(cluster, 0, [], []) for cluster in comm.stop()]
        del self._comms[comm_id]
        status, _, reason = self._llm_datadist.unlink_clusters(clusters, 3000, True)
        handle_llm_status(status, "[unlink]", f"comm_id = {comm_id}: {reason}")

    def query_register_mem_status(self, comm_id):
        """How a link stands: PREPARING, OK or FAILED."""
        return self._comm("query_register_mem_status", comm_id).status()

    def _comm(self, func_name, comm_id):
        self._check_is_inited()
        self._check_is_cache_mgr_mode(func_name)
        check_uint64("comm_id", comm_id)
        comm = self._comms.get(comm_id)
        raise_if_true(
            comm is None,
            f"[{func_name}] there is no comm_id {comm_id}",
            status_code=LLMStatusCode.LLM_NOT_YET_LINK,
        )
        return comm


@atexit.register
def _finalize_all():
    for datadist in list(_initialized):
        try:
            datadist.finalize()
        except LLMException as problem:
            log.warn("while finalizing: %s", problem)
