"""The example that takes the time of calls: that its answers are right and that it says every figure, not what they are."""

import pathlib

from processes import Processes, finished

SCRIPT = pathlib.Path(__file__).parent.parent / "examples" / "cost_of_calls.py"


def test_cost_of_calls():
    with Processes() as processes:
        said = finished(processes.start(SCRIPT, 20))[0]
    assert "ok: 20 answers are right" in said
    for figure in ("a getter of Python's own: ", "Request.tag: ", "done(): ", "push_pull(): ", "there and back: "):
        assert said.count(figure) == 1, said
