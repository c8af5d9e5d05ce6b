"""The README's Python runs as it stands, and its commands are what CI runs."""

import re
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_python_blocks_run_one_after_another():
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) >= 3
    namespace = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # sktime's own
        for block in blocks:
            exec(compile(block, "README.md", "exec"), namespace)
    record = namespace["record"]
    assert record.weights.shape == (344, 4, 1, 8)
    assert record.keys[:2] == ["cls", "bill_length_mm"]
    assert record.keys[-1] == "sex"
    assert namespace["rollout"].importances.shape == (344, 7)
    told = "Attention is no explanation here: attention is not needed"
    assert namespace["check"].verdict.startswith(told)


def test_ci_finds_both_commands():
    lines = (ROOT / "README.md").read_text().splitlines()
    for mark in ("<!-- ci: main -->", "<!-- ci: tests -->"):
        at = lines.index(mark)
        assert lines[at + 1].startswith("```")
        assert lines[at + 2].startswith("python -m pip install -c constraints.txt")
