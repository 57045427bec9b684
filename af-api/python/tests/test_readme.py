"""The README's example runs as it stands."""

import pathlib
import re


def test_the_example_of_the_readme():
    readme = (pathlib.Path(__file__).parent.parent / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
