"""`from skattn.architectures import X` forwards to the registry."""

import sys

import pytest
from _distributions import build_wheel, importable, install, plugin_wheel

from skattn import architectures, get_architecture
from skattn.exceptions import PluginError


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    wheels = tmp_path_factory.mktemp("wheels")
    return install(
        tmp_path_factory.mktemp("site"),
        plugin_wheel(wheels, "skattn-good", "good", "GoodAttention"),
        plugin_wheel(wheels, "skattn-left", "twice", "Twice"),
        plugin_wheel(wheels, "skattn-right", "twice", "Twice"),
        build_wheel(
            wheels,
            "skattn-broken",
            {"broken": "skattn_broken:Broken"},
            {"skattn_broken.py": "1 / 0"},
        ),
    )


@pytest.fixture(autouse=True)
def _plugins(site, monkeypatch):
    monkeypatch.delenv("SKATTN_PLUGINS", raising=False)
    with importable(site):
        yield


def test_a_class_by_its_name():
    from skattn.architectures import GoodAttention

    assert GoodAttention is get_architecture("good")
    assert architectures.GoodAttention is GoodAttention


def test_dir_reads_metadata_only():
    names = dir(architectures)
    assert {"GoodAttention", "Twice", "Broken", "SelfAttention"} <= set(names)
    assert names == sorted(set(names))
    assert "skattn_good" not in sys.modules


def test_a_misspelt_import():
    with pytest.raises(ImportError, match="Did you mean 'GoodAttention'") as caught:
        from skattn.architectures import GoodAtention  # noqa: F401
    assert "There are: " in str(caught.value)


def test_a_misspelt_attribute():
    with pytest.raises(AttributeError, match="Did you mean 'GoodAttention'"):
        _ = architectures.GoodAtention
    assert not hasattr(architectures, "GoodAtention")
    assert not hasattr(architectures, "__path__")


def test_a_shared_class_name_is_refused():
    with pytest.raises(ValueError, match="offered by 2 distributions") as caught:
        from skattn.architectures import Twice  # noqa: F401
    assert "get_architecture('skattn-left/twice')" in str(caught.value)


def test_a_broken_plugin_harms_only_its_own_class():
    with pytest.raises(PluginError, match=r"'skattn-broken' 1\.0"):
        from skattn.architectures import Broken  # noqa: F401
    assert architectures.GoodAttention.name == "good"


def test_the_allow_list_holds_here_too(monkeypatch):
    monkeypatch.setenv("SKATTN_PLUGINS", "skattn-right")
    assert dir(architectures) == ["Twice"]
    assert architectures.Twice.__module__ == "skattn_right"
    with pytest.raises(ValueError, match="SKATTN_PLUGINS='skattn-right' does not"):
        _ = architectures.GoodAttention
