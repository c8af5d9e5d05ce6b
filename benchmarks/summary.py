"""Print the tables of all benchmarks that have results, in markdown."""

from __future__ import annotations

import airline
import imports
import overhead
import panels
import tables
from _results import Results, as_markdown

TITLES = {
    "overhead": ("Against a hand-written torch loop", overhead),
    "imports": ("Imports", imports),
    "tables": ("Tables", tables),
    "panels": ("Panels of series, default splits", panels),
    "airline": ("Airline, last 36 months held out", airline),
}


def origin(results: Results) -> str:
    """Say when, where and with what the rows were measured."""
    last = results.rows[-1]
    packages = ("torch", "scikit-learn", "sktime", "skattn")
    versions = ", ".join(f"{name} {last[name]}" for name in packages)
    place = " + ".join(part for part in (last["cpu"], last.get("gpu")) if part)
    commits = sorted({row["commit"] for row in results.rows if row["commit"]})
    return (
        f"{last['date'][:10]}, {place}, {last['cores']} cores; Python "
        f"{last['python']}, {versions}; commits {', '.join(commits)}."
    )


def main() -> None:
    """Print what there is."""
    for name, (title, module) in TITLES.items():
        results = Results(name, module.KEY)
        if results.rows:
            print(f"### {title}\n\n{origin(results)}\n")
            print(as_markdown(*module.table(results)), end="\n\n")


if __name__ == "__main__":
    main()
