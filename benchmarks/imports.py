"""Time imports in fresh interpreters, and see what they load.

Each statement runs in an interpreter of its own, in turn, so that a slow moment of
the machine hits all of them. See README.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from _results import Results, as_text, options, quartiles

KEY = ("statement", "round")

STATEMENTS = {
    "pass": "pass",
    "import skattn": "import skattn",
    "skattn list": "sys.argv = ['skattn', 'list']; import skattn.cli; "
    "skattn.cli.main()",
    "skattn.list_architectures()": "import skattn; skattn.list_architectures()",
    "from skattn import AttentionClassifier": "from skattn import AttentionClassifier",
    "from skattn import AttentionForecaster": "from skattn import AttentionForecaster",
    "import sklearn": "import sklearn",
    "import sklearn.ensemble": "import sklearn.ensemble",
    "import torch": "import torch",
    "import sktime": "import sktime",
    "import sktime.forecasting.base": "import sktime.forecasting.base",
}

WATCHED = ("sklearn", "pandas", "torch", "skorch", "sktime", "family")

# Runs in the fresh interpreter; the last line of its output is the measurement.
SCRIPT = """
import json, sys, time
start, cpu_start = time.perf_counter(), time.process_time()
try:
    {statement}
except SystemExit:
    pass
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
loaded = {{name.partition(".")[0] for name in sys.modules}}
if any(name.startswith("skattn_") for name in loaded):
    loaded.add("family")
print()
print(json.dumps([seconds, cpu, len(sys.modules), sorted(loaded & {watched!r})]))
"""


def measure(statement: str) -> dict[str, float | int | str]:
    """Run a statement in a fresh interpreter."""
    script = SCRIPT.format(statement=statement, watched=set(WATCHED))
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    process = time.perf_counter() - start
    seconds, cpu, modules, loaded = json.loads(done.stdout.splitlines()[-1])
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "process_seconds": process,
        "modules": modules,
        "loaded": " ".join(loaded),
    }


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Summarise the rounds."""
    header = ["statement", "rounds", "median (s)", "quartiles", "CPU (s)"]
    header += ["process (s)", "modules", "loads"]
    rows = []
    for (statement,), found in results.groups("statement").items():
        lower, median, upper = quartiles(float(row["seconds"]) for row in found)
        process = quartiles(float(row["process_seconds"]) for row in found)[1]
        cpu = quartiles(float(row["cpu_seconds"]) for row in found)[1]
        last = found[-1]
        rows.append(
            [statement, str(len(found)), f"{median:.3f}", f"{lower:.3f}-{upper:.3f}"]
            + [f"{cpu:.3f}", f"{process:.3f}", last["modules"], last["loaded"] or "-"]
        )
    return header, rows


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    results = Results("imports", KEY, args.force)
    for statement in STATEMENTS.values():  # compile to bytecode, fill the disk cache
        if any(
            results.missing(statement=name, round=number)
            for name in STATEMENTS
            for number in range(args.rounds)
        ):
            measure(statement)
    for number in range(args.rounds):
        for name, statement in STATEMENTS.items():
            if results.missing(statement=name, round=number):
                results.add(statement=name, round=number, **measure(statement))
    print(as_text(*table(results)))


if __name__ == "__main__":
    main()
