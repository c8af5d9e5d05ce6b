"""Measurements of penguins: a small table with categories and missing values."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pandas as pd
from sklearn.utils import Bunch

_CATEGORIES = {
    "island": ["Biscoe", "Dream", "Torgersen"],
    "sex": ["female", "male"],
}

_DESCRIPTION = """\
Palmer penguins
---------------

344 adult penguins of three species (152 Adelie, 68 Chinstrap, 124 Gentoo), measured
from 2007 to 2009 on three islands in the Palmer Archipelago, Antarctica.

=================  ==========================================  =======
feature                                                        missing
=================  ==========================================  =======
island             Biscoe, Dream or Torgersen                        0
bill_length_mm     millimetres                                       2
bill_depth_mm      millimetres                                       2
flipper_length_mm  millimetres                                       2
body_mass_g        grams                                             2
sex                female or male                                   11
year               of the measurement                                0
=================  ==========================================  =======

The target is the species. The rows are in the order of the publication: sorted by
species, so shuffle them before a split.

Collected by Kristen Gorman and the Palmer Station, Antarctica, Long Term Ecological
Research programme; released under CC0 1.0.

- Horst, A. M., Hill, A. P., Gorman, K. B. (2020). palmerpenguins: Palmer Archipelago
  (Antarctica) penguin data. R package version 0.1.0. doi:10.5281/zenodo.3960218
- Gorman, K. B., Williams, T. D., Fraser, W. R. (2014). Ecological sexual dimorphism
  and environmental variability within a community of Antarctic penguins (genus
  Pygoscelis). PLoS ONE 9(3): e90081. doi:10.1371/journal.pone.0090081
"""


def load_penguins(*, return_X_y: bool = False) -> Any:
    """Load the Palmer penguins: predict the species from a mixed table.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` only.

    Returns
    -------
    penguins : Bunch or tuple
        With these attributes, or ``(data, target)`` if `return_X_y`:

        data : DataFrame of shape (344, 7)
            ``island`` and ``sex`` as categories, the others as floats; missing values
            are kept.
        target : Series of shape (344,)
            The species.
        frame : DataFrame of shape (344, 8)
            Both together.
        feature_names : list of str
            The columns of `data`.
        target_names : list of str
            The three species.
        DESCR : str
            Where the data come from.

    References
    ----------
    Horst, A. M., Hill, A. P., Gorman, K. B. (2020). palmerpenguins: Palmer Archipelago
    (Antarctica) penguin data. doi:10.5281/zenodo.3960218

    Examples
    --------
    >>> from skattn.datasets import load_penguins
    >>> X, y = load_penguins(return_X_y=True)
    >>> X.shape, sorted(y.unique())
    ((344, 7), ['Adelie', 'Chinstrap', 'Gentoo'])
    """
    table = resources.files(__package__).joinpath("penguins.csv")
    with table.open(encoding="utf-8") as file:
        frame = pd.read_csv(file)
    for column, categories in _CATEGORIES.items():
        frame[column] = pd.Categorical(frame[column], categories=categories)
    numbers = frame.columns[frame.dtypes == "int64"]
    frame = frame.astype(dict.fromkeys(numbers, "float64"))
    data, target = frame.drop(columns="species"), frame["species"]
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=list(data.columns),
        target_names=sorted(target.unique()),
        DESCR=_DESCRIPTION,
    )
