"""Every example, as the processes that its first lines name."""

import pathlib

from processes import Processes, finished, free_port

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def test_attention_ffn():
    script, port = EXAMPLES / "attention_ffn.py", free_port()
    with Processes() as processes:
        scheduler = processes.start(script, "scheduler", port)
        servers = [processes.start(script, "server", port, rank) for rank in range(2)]
        workers = [processes.start(script, "worker", port, rank) for rank in range(2)]
        for said in finished(*workers):
            assert "ok: 8 layers of 3 stages are right" in said
        for said in finished(*servers):
            assert "ok: 24 batches of 2 requests are answered" in said
        assert "ok: everybody has come and gone" in finished(scheduler)[0]


def test_stepmesh_layers():
    script = EXAMPLES / "stepmesh_layers.py"
    cluster = {
        "DMLC_NUM_WORKER": 2,
        "DMLC_NUM_SERVER": 2,
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": free_port(),
    }
    with Processes() as processes:
        scheduler = processes.start(script, DMLC_ROLE="scheduler", **cluster)
        places = [(role, rank) for role in ("server", "worker") for rank in range(2)]
        nodes = [processes.start(script, DMLC_ROLE=role, DMLC_NODE_RANK=rank, **cluster) for role, rank in places]
        said = finished(*nodes, scheduler)
        assert ["ok: 60 batches are answered" in output for output in said[:2]] == [True] * 2
        assert ["ok: 20 layers of 3 stages are right" in output for output in said[2:4]] == [True] * 2
