"""Print the tables of all benchmarks that have results, in markdown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import airline
import backtest
import cora
import forecast_memory
import forecast_speed
import graph_scale
import imports
import intervals
import long_horizon
import m4
import multi30k
import overhead
import panels
import pruning
import recording_memory
import recording_speed
import selector
import sst2
import tables
import transformer_xl
import wnut17
from _results import Results, as_markdown

START, END = "<!-- numbers -->", "<!-- end of numbers -->"

TITLES = {
    "overhead": ("Against a hand-written torch loop", overhead),
    "imports": ("Imports", imports),
    "tables": ("Tables", tables),
    "panels": ("Panels of series, default splits", panels),
    "long_horizon": ("ETTh1, the long-horizon protocol", long_horizon),
    "intervals": ("ETTh1, prediction intervals", intervals),
    "m4": ("M4 hourly, one net for 414 series", m4),
    "backtest": ("Backtests beside sktime's evaluate", backtest),
    "forecast_speed": ("Forecasting: time", forecast_speed),
    "forecast_memory": ("Forecasting: memory", forecast_memory),
    "airline": ("Airline, last 36 months held out", airline),
    "recording_speed": ("Recording that nobody asked for: time", recording_speed),
    "recording_memory": ("Looking at attention: memory", recording_memory),
    "cora": ("Cora, the public split", cora),
    "graph_scale": ("Graphs up to a million nodes", graph_scale),
    "sst2": ("SST-2, sentences alone", sst2),
    "wnut17": ("WNUT-17, new entities", wnut17),
    "multi30k": ("Multi30k, German to English, the test part of 2016", multi30k),
    "pruning": ("Attention with heads taken out", pruning),
    "selector": ("Ten of 200 columns", selector),
    "transformer_xl": ("Transformer-XL, characters of SST-2", transformer_xl),
}


def origin(results: Results) -> str:
    """Say when, where and with what the rows were measured."""
    last = results.rows[-1]
    packages = ("torch", "torch-geometric", "scikit-learn", "sktime", "sacrebleu")
    packages += ("tokenizers", "seqeval", "skattn")
    versions = ", ".join(f"{name} {last[name]}" for name in packages if last.get(name))
    place = " + ".join(part for part in (last["cpu"], last.get("gpu")) if part)
    commits = sorted({row["commit"] for row in results.rows if row["commit"]})
    return (
        f"{last['date'][:10]}, {place}, {last['cores']} cores; Python "
        f"{last['python']}, {versions}; commits {', '.join(commits)}."
    )


def sections() -> Iterator[str]:
    """Give the table of each benchmark that has results."""
    for name, (title, module) in TITLES.items():
        results = Results(name, module.KEY)
        if results.rows:
            rows = as_markdown(*module.table(results))
            command = f"`python benchmarks/{name}.py`"
            yield f"### {title}\n\n{command}: {origin(results)}\n\n{rows}\n"


def main() -> None:
    """Print the tables, or put them into the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", action="store_true", help="rewrite README.md")
    if not parser.parse_args().readme:
        sys.stdout.write("\n".join(sections()))
        return
    path = Path(__file__).parents[1] / "README.md"
    before, _, rest = path.read_text().partition(START)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{START}\n{chr(10).join(sections())}{END}{after}")


if __name__ == "__main__":
    main()
