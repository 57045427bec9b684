"""Links by rank table: each process names the same clusters and ranks, and the processes find each other by rank.

The process of a lower rank listens, at the address that the rank table gives its server and at the port of its rank;
those of higher ranks connect to it. PMD_LINK_PORT is the port of rank 0.
"""

import ipaddress
import json
import os
import threading
import time

from llm_datadist.status import LLMStatusCode, raise_if_false
from llm_datadist.utils import log
from llm_datadist.v2.llm_types import RegisterMemStatus

_FIRST_PORT = 26700
_DEFAULT_PATIENCE = 120
_STEP_MILLIS = 1000
_LINKED = (LLMStatusCode.LLM_SUCCESS, LLMStatusCode.LLM_ALREADY_LINK)


def _is_address(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def addresses(rank_table):
    """The address of each rank: its server's, or its device's where the server gives none."""
    try:
        table = json.loads(rank_table)
    except ValueError:
        raise_if_false(False, "rank_table is not JSON")
    found = {}
    for server in table.get("server_list", []):
        for device in server.get("device", []):
            named = [server.get("host_ip"), server.get("server_id"), device.get("device_ip")]
            usable = [name for name in named if name and _is_address(name)]
            if "rank_id" in device and usable:
                found[int(device["rank_id"])] = usable[0]
    return found


class Comm:
    """One link by rank table, which a thread makes."""

    def __init__(self, driver, role, own_cluster, cluster_rank_info, rank_table, patience):
        raise_if_false(own_cluster in cluster_rank_info, f"cluster {own_cluster} is not in cluster_rank_info")
        where = addresses(rank_table)
        missing = [rank for rank in cluster_rank_info.values() if rank not in where]
        raise_if_false(not missing, f"rank_table gives no address for ranks {missing}")
        self._driver = driver
        self._rank = cluster_rank_info[own_cluster]
        others = {cluster: rank for cluster, rank in cluster_rank_info.items() if cluster != own_cluster}
        self.clusters = list(others)
        first_port = int(os.environ.get("PMD_LINK_PORT", _FIRST_PORT))
        # Cluster, role, addresses of this side, address of the other.
        self._to_link = [
            (cluster, 0, [], [(where[rank], first_port + rank)]) for cluster, rank in others.items() if rank < self._rank
        ]
        self._to_wait_for = [cluster for cluster, rank in others.items() if rank > self._rank]
        self._deadline = time.monotonic() + (patience or _DEFAULT_PATIENCE)
        self._status = RegisterMemStatus.PREPARING
        self._stopped = threading.Event()
        if self._to_wait_for:
            listen = f"{where[self._rank]}:{first_port + self._rank}"
            self.answer = driver.switch_role(role, {"llm.ListenIpInfo": listen})
        else:
            self.answer = 0, None, None
        self._thread = threading.Thread(target=self._make, name="llm_datadist-link", daemon=True)

    def start(self):
        self._thread.start()

    def status(self):
        return self._status

    def stop(self):
        """Ends the thread; the clusters to unlink."""
        self._stopped.set()
        self._thread.join()
        return self.clusters

    def _make(self):
        done = all(self._until(self._link, cluster) for cluster in self._to_link) and all(
            self._until(self._is_linked, cluster) for cluster in self._to_wait_for
        )
        self._status = RegisterMemStatus.OK if done else RegisterMemStatus.FAILED

    def _until(self, attempt, cluster):
        while not self._stopped.is_set() and time.monotonic() < self._deadline:
            if attempt(cluster):
                return True
            self._stopped.wait(0.02)
        return False

    def _link(self, cluster):
        status, _, reason = self._driver.link_clusters([cluster], _STEP_MILLIS)
        if status not in _LINKED:
            log.info("[link] cluster %d not yet: %s", cluster[0], reason)
        return status in _LINKED

    def _is_linked(self, cluster):
        return self._driver.check_link_status(cluster)[0] == LLMStatusCode.LLM_SUCCESS
