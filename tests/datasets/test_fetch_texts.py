"""Fetched texts are those of their files, with their labels, tags or translations."""

import gzip
import hashlib

import numpy as np
import pytest

from skattn.datasets import _cache, fetch_multi30k, fetch_sst2, fetch_wnut17

FETCHERS = [fetch_multi30k, fetch_sst2, fetch_wnut17]


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Put a file where a fetcher looks for it, and register its contents."""
    monkeypatch.setenv("SKATTN_DATA", str(tmp_path))

    def put(name, *lines):
        text = "".join(f"{line}\n" for line in lines).encode()
        contents = gzip.compress(text) if name.endswith(".gz") else text
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)
        checksum = f"sha256:{hashlib.sha256(contents).hexdigest()}"
        remote = _cache.FILES[name]._replace(checksum=checksum)
        monkeypatch.setitem(_cache.FILES, name, remote)

    return put


@pytest.mark.parametrize("subset", ["train", "dev", "test"])
def test_sentences_have_labels(put, subset):
    put(f"sst2/stsa.binary.{subset}", "1 a 1 a café .", "0 clichés\u2028only", "1 good")
    sst2 = fetch_sst2(subset)
    assert sst2.data == ["a 1 a café .", "clichés\u2028only", "good"]
    assert sst2.target.tolist() == [1, 0, 1]
    assert sst2.target.dtype == np.int64
    assert sst2.target_names == ["negative", "positive"]
    assert f"({subset})" in sst2.DESCR.splitlines()[0]
    assert "MIT" in sst2.DESCR
    X, y = fetch_sst2(subset, return_X_y=True)
    assert sst2.data == X
    assert y.tolist() == sst2.target.tolist()


@pytest.mark.parametrize(
    ("subset", "stem"),
    [
        ("train", "wnut17train.conll"),
        ("dev", "emerging.dev.conll"),
        ("test", "emerging.test.annotated"),
    ],
)
def test_tokens_have_tags(put, subset, stem):
    put(
        f"ner/wnut17/{stem}",
        "Oslo\tB-location",
        "!\tO",
        "\t",  # the published training part has such lines between texts
        "",
        "Ann\tB-person",
        "Lee\tI-person",
        "\ufeff",  # and that of development ends in one of these
    )
    wnut17 = fetch_wnut17(subset)
    assert wnut17.data == [["Oslo", "!"], ["Ann", "Lee"]]
    assert wnut17.target == [["B-location", "O"], ["B-person", "I-person"]]
    assert len(set(wnut17.target_names)) == 13
    assert {"O", "B-location", "I-person", "B-creative-work"} < set(wnut17.target_names)
    assert f"({subset})" in wnut17.DESCR.splitlines()[0]
    assert "no licence stated" in wnut17.DESCR
    assert fetch_wnut17(subset, return_X_y=True) == (wnut17.data, wnut17.target)


def test_a_last_text_without_an_empty_line(put):
    put("ner/wnut17/wnut17train.conll", "a\tO", "", "b\tO")
    assert fetch_wnut17(return_X_y=True) == ([["a"], ["b"]], [["O"], ["O"]])


@pytest.mark.parametrize(
    ("subset", "stem"),
    [("train", "train"), ("dev", "val"), ("test", "test_2016_flickr")],
)
def test_sentences_have_translations(put, subset, stem):
    put(f"multi30k/{stem}.de.gz", "Ein Hund. ", "Büsche\u2028hier")
    put(f"multi30k/{stem}.en.gz", "A dog.", "Bushes\u2028here")
    multi30k = fetch_multi30k(subset)
    assert multi30k.data == ["Ein Hund.", "Büsche\u2028hier"]
    assert multi30k.target == ["A dog.", "Bushes\u2028here"]
    assert f"de to en ({subset})" in multi30k.DESCR.splitlines()[0]
    assert "no licence" in multi30k.DESCR
    back = fetch_multi30k(subset, source="en", target="de", return_X_y=True)
    assert back == (multi30k.target, multi30k.data)


@pytest.mark.parametrize("fetch", FETCHERS)
def test_an_unknown_subset(fetch):
    choices = "subset='val' is unknown: give one of 'train', 'dev', 'test'"
    with pytest.raises(ValueError, match=choices):
        fetch("val")


@pytest.mark.parametrize("name", ["source", "target"])
def test_an_unknown_language(name):
    with pytest.raises(ValueError, match=f"{name}='fr' is unknown: .*'de', 'en'"):
        fetch_multi30k(**{name: "fr"})


def test_two_times_the_same_language():
    with pytest.raises(ValueError, match="both 'en': give two different languages"):
        fetch_multi30k(source="en")


@pytest.mark.parametrize("fetch", FETCHERS)
def test_every_fetcher_looks_in_data_home_and_obeys(fetch, tmp_path, monkeypatch):
    monkeypatch.setenv("SKATTN_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(OSError, match="download_if_missing=False") as caught:
        fetch(data_home=tmp_path / "own", download_if_missing=False)
    assert str(caught.value).startswith(str(tmp_path / "own"))
    assert list(tmp_path.iterdir()) == []
