"""Each rule of the registry, against distributions that pip installed."""

import copy
import os
import pickle
import re
import subprocess
import sys

import pytest
from _distributions import build_wheel, importable, install, plugin_wheel, source

import skattn
from skattn import Architecture, Int, _registry
from skattn._registry import (
    Origin,
    contract_faults,
    get_architecture,
    list_architectures,
    origin_of,
    register,
    resolve,
)
from skattn.exceptions import PluginError, PluginWarning

FAULTY = """
from skattn import Architecture

class Faulty(Architecture):
    api_version = 1
    name = "faulty"
    supports = {"tabel": {"classification"}, "series": "forecasting"}
    consumes = "mask"
    search_space = {"width": (1, 8)}

    def __init__(self, d_model, **rest):
        self.d_model = d_model
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    wheels = tmp_path_factory.mktemp("wheels")

    def build(name, value, code, **more):
        module = value.partition(":")[0]
        points = {more.pop("point", module.removeprefix("skattn_")): value}
        return build_wheel(wheels, name, points, {f"{module}.py": code}, **more)

    needy = "import package_nobody_has.layers\n"
    needs = ["package-nobody-has; extra == 'all'", "pandas; extra == 'all'"]
    return install(
        tmp_path_factory.mktemp("site"),
        plugin_wheel(wheels, "skattn-good", "good", "Good", version="1.2"),
        build("Skattn.Broken", "skattn_broken:Broken", "1 / 0", version="0.3"),
        build("skattn-exiting", "skattn_exiting:Exiting", "raise SystemExit(3)"),
        build("skattn-lost", "skattn_lost:Lost", "Found = None"),
        build("skattn-absent", "skattn_absent.inner:Absent", "", point="absent"),
        build("skattn-needy", "skattn_needy:Needy", needy),
        build(
            "skattn-extra",
            "skattn_extra:Extra",
            needy,
            requires=[*needs, "package-nobody-has>=2; extra == 'fast'"],
        ),
        build(
            "skattn-future",
            "skattn_future:Future",
            source("Future", "future", api_version=2),
        ),
        build("skattn-faulty", "skattn_faulty:Faulty", FAULTY, version="7"),
        build(
            "skattn-misnamed",
            "skattn_misnamed:Misnamed",
            source("Misnamed", "another"),
        ),
        build_wheel(
            wheels,
            "skattn-exporting",
            {"exported": "skattn_exporting : Exported [fast]"},
            {
                "skattn_exporting/__init__.py": "from ._inner import Exported\n",
                "skattn_exporting/_inner.py": source("Exported", "exported"),
            },
        ),
        plugin_wheel(wheels, "skattn-left", "twice", "Twice"),
        plugin_wheel(wheels, "skattn-right", "twice", "Twice"),
        plugin_wheel(wheels, "skattn-usurper", "self_attention", "Usurper"),
    )


@pytest.fixture
def plugins(site, monkeypatch):
    monkeypatch.delenv("SKATTN_PLUGINS", raising=False)
    monkeypatch.setattr(_registry, "_registered", {})
    with importable(site):
        yield site


class Kept(Architecture):
    """Keeps the contract."""

    api_version = 1
    name = "kept"
    supports = {"series": {"forecasting", "classification"}}
    consumes = ("mask",)
    citation = "Nobody in particular (2026)"
    search_space = {"d_model": Int(1, 8)}

    def __init__(self, d_model=4):
        self.d_model = d_model

    def build(self, data):
        raise AssertionError("no test builds it")


def altered(**fields):
    """Return a faultless class with some fields replaced."""
    own = {key: value for key, value in vars(Kept).items() if key[:2] != "__"}
    own |= {"__init__": Kept.__init__, **fields}
    return type("Altered", (Architecture,), own)


# Listing


@pytest.mark.usefixtures("plugins")
def test_names_come_from_metadata_alone():
    names = list_architectures()
    assert names == sorted(names)
    assert {"good", "broken", "future", "temporal_attention"} <= set(names)
    assert not [name for name in sys.modules if name.startswith("skattn_good")]


@pytest.mark.usefixtures("plugins")
def test_shared_names_are_listed_with_their_distributions():
    names = set(list_architectures())
    assert {"skattn-left/twice", "skattn-right/twice"} <= names
    assert {"skattn/self_attention", "skattn-usurper/self_attention"} <= names
    assert not {"twice", "self_attention"} & names


def test_a_filter_passes_over_broken_plugins(plugins, monkeypatch):
    monkeypatch.setenv("SKATTN_PLUGINS", "skattn-good, skattn_broken,SKATTN-FUTURE")
    with pytest.warns(PluginWarning) as caught:
        assert list_architectures(task="regression", input="table") == ["good"]
    messages = sorted(str(warning.message) for warning in caught)
    assert len(messages) == 2
    assert "'Skattn.Broken' 0.3 (skattn_broken:Broken)" in messages[0]
    assert "'skattn-future' 1.0 (skattn_future:Future)" in messages[1]
    assert caught[0].filename == __file__


def test_filters_look_at_tasks_and_inputs_together(plugins, monkeypatch):
    monkeypatch.setenv("SKATTN_PLUGINS", "")
    register(altered(supports={"table": {"regression"}, "series": {"forecasting"}}))
    assert list_architectures(task="regression") == ["kept"]
    assert list_architectures(input="series") == ["kept"]
    assert list_architectures(task="regression", input="table") == ["kept"]
    assert list_architectures(task="regression", input="series") == []


@pytest.mark.parametrize(
    ("argument", "value", "meant"),
    [("task", "forcasting", "forecasting"), ("input", "tables", "table")],
)
def test_misspelt_filter(argument, value, meant):
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        list_architectures(**{argument: value})


# Loading


@pytest.mark.usefixtures("plugins")
def test_one_plugin_is_imported_and_no_other():
    before = set(sys.modules)
    cls = get_architecture("good")
    assert cls is get_architecture("skattn_Good/good")
    assert cls.__module__ == "skattn_good"
    loaded = {name for name in set(sys.modules) - before if "skattn_" in name}
    assert loaded == {"skattn_good"}


@pytest.mark.parametrize(
    ("name", "source", "cause", "way_out"),
    [
        (
            "broken",
            "'Skattn.Broken' 0.3 (skattn_broken:Broken)",
            "ZeroDivisionError: division by zero",
            "Update or uninstall 'Skattn.Broken'",
        ),
        (
            "exiting",
            "'skattn-exiting' 1.0 (skattn_exiting:Exiting)",
            "SystemExit: 3",
            "Update or uninstall 'skattn-exiting'",
        ),
        (
            "lost",
            "'skattn-lost' 1.0 (skattn_lost:Lost)",
            "AttributeError: module 'skattn_lost' has no attribute 'Lost'",
            "Update or uninstall 'skattn-lost'",
        ),
        (
            "absent",
            "'skattn-absent' 1.0 (skattn_absent.inner:Absent)",
            "ModuleNotFoundError: No module named 'skattn_absent'",
            "Update or uninstall 'skattn-absent'",
        ),
        (
            "needy",
            "'skattn-needy' 1.0 (skattn_needy:Needy)",
            "needs the package 'package_nobody_has', which is not installed",
            "pip install package_nobody_has",
        ),
        (
            "extra",
            "'skattn-extra' 1.0 (skattn_extra:Extra)",
            "needs the package 'package_nobody_has', which is not installed",
            "pip install 'skattn-extra[fast]'",
        ),
    ],
)
@pytest.mark.usefixtures("plugins")
def test_a_broken_plugin_explains_itself(name, source, cause, way_out):
    with pytest.raises(PluginError) as caught:
        get_architecture(name)
    message = str(caught.value)
    assert source in message
    assert cause in message
    assert way_out in message
    assert isinstance(caught.value.__cause__, BaseException)
    assert get_architecture("good")().d_model == 4


@pytest.mark.usefixtures("plugins")
def test_another_version_of_the_contract():
    with pytest.raises(PluginError) as caught:
        get_architecture("future")
    assert "'skattn-future' 1.0 (skattn_future:Future)" in str(caught.value)
    assert (
        f"api_version is 2, but skattn {skattn.__version__} serves version 1 only"
        in str(caught.value)
    )


@pytest.mark.usefixtures("plugins")
def test_a_breach_is_told_with_all_its_faults():
    with pytest.raises(PluginError) as caught:
        get_architecture("faulty")
    message = str(caught.value)
    assert "'skattn-faulty' 7 (skattn_faulty:Faulty)" in message
    for fault in [
        "unknown input 'tabel'",
        "supports['series'] must be a collection",
        "consumes must be a collection",
        "citation must be a str",
        "search_space has 'width', which is no parameter",
        "search_space['width'] must be an Int",
        "'d_model' has no default",
        "the constructor takes **rest",
        "build is abstract",
    ]:
        assert fault in message
    assert message.count("\n  - ") == 9


@pytest.mark.usefixtures("plugins")
def test_the_name_must_be_that_of_the_entry_point():
    with pytest.raises(PluginError, match=r"name is 'another'.* named 'misnamed'"):
        get_architecture("misnamed")


# Names


@pytest.mark.usefixtures("plugins")
def test_a_misspelt_name():
    with pytest.raises(ValueError, match="Did you mean 'good'") as caught:
        get_architecture("godo")
    message = str(caught.value)
    assert "temporal_attention" in message
    assert "exists only in the process that registered it" in message
    assert "give a parallel search an instance" in message


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("GOOD", "'good'"),
        ("TemporalAttention", "'temporal_attention'"),
        ("skattn-leaf/twice", "'skattn-left/twice'"),
    ],
)
@pytest.mark.usefixtures("plugins")
def test_a_name_in_another_spelling(wrong, meant):
    with pytest.raises(ValueError, match=f"Did you mean .*{meant}"):
        get_architecture(wrong)


@pytest.mark.usefixtures("plugins")
def test_two_owners_are_refused_until_one_is_named():
    with pytest.raises(ValueError, match="offered by 2 distributions") as caught:
        get_architecture("twice")
    assert "get_architecture('skattn-left/twice')" in str(caught.value)
    assert "get_architecture('skattn-right/twice')" in str(caught.value)
    assert get_architecture("skattn-left/twice").__module__ == "skattn_left"
    assert get_architecture("skattn-right/twice").__module__ == "skattn_right"


@pytest.mark.usefixtures("plugins")
def test_nobody_replaces_a_built_in():
    with pytest.raises(ValueError, match="skattn/self_attention"):
        resolve("self_attention")
    usurper = get_architecture("skattn-usurper/self_attention")
    assert usurper.__name__ == "Usurper"


# The allow-list


def test_only_allowed_distributions(plugins, monkeypatch):
    monkeypatch.setenv("SKATTN_PLUGINS", "skattn.GOOD , skattn_left")
    assert list_architectures() == ["good", "twice"]
    assert get_architecture("twice").__module__ == "skattn_left"
    with pytest.raises(ValueError, match=r"by 'Skattn\.Broken', but .* not allow"):
        get_architecture("broken")
    monkeypatch.delenv("SKATTN_PLUGINS")
    assert "broken" in list_architectures()


def test_an_empty_list_allows_none(plugins, monkeypatch):
    monkeypatch.setenv("SKATTN_PLUGINS", "")
    assert list_architectures() == []
    assert list_architectures(task="classification") == []
    with pytest.raises(ValueError, match="SKATTN_PLUGINS='' allows no installed"):
        get_architecture("nothing")
    with pytest.raises(ValueError, match="SKATTN_PLUGINS='' does not allow"):
        get_architecture("good")


# register and resolve


@pytest.mark.usefixtures("plugins")
def test_register_decorates_lists_and_replaces():
    first = altered()
    assert register(first) is first
    assert get_architecture("kept") is first
    assert "kept" in list_architectures()
    second = register(altered())
    assert get_architecture("kept") is second


@pytest.mark.parametrize("name", ["good", "broken", "twice"])
def test_register_never_takes_an_installed_name(plugins, monkeypatch, name):
    monkeypatch.setenv("SKATTN_PLUGINS", "")
    with pytest.raises(ValueError, match=f"'{name}' .*taken"):
        register(altered(name=name))


@pytest.mark.usefixtures("plugins")
def test_register_tells_all_faults():
    with pytest.raises(ValueError, match="Altered cannot be registered") as caught:
        register(altered(api_version=3, citation=" "))
    assert str(caught.value).count("\n  - ") == 2


@pytest.mark.usefixtures("plugins")
def test_resolve():
    kept = Kept(d_model=8)
    assert resolve(kept) is kept
    assert resolve("good").get_params() == {"d_model": 4}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            Kept,
            r"architecture=Kept is a class\. Give an instance: architecture=Kept\(\)",
        ),
        (3, "takes a name .* or an instance of skattn.Architecture, not 3"),
        (None, "not None"),
        (dict, "not <class 'dict'>"),
    ],
)
def test_resolve_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        resolve(wrong)


def test_get_architecture_takes_a_name():
    with pytest.raises(ValueError, match="is a str, not"):
        get_architecture(Kept)


# Origins and pickles


@pytest.mark.usefixtures("plugins")
def test_origin():
    good = get_architecture("good")
    assert origin_of(good) == Origin("good", "skattn-good", "1.2", "skattn_good:Good")
    assert origin_of(Kept) is None
    assert origin_of(type("Good", (good,), {})) is None
    exported = get_architecture("exported")
    assert exported.__module__ == "skattn_exporting._inner"
    assert origin_of(exported).value == "skattn_exporting:Exported"


@pytest.mark.usefixtures("plugins")
def test_origin_imports_nothing():
    fake = type("Lost", (), {"__module__": "skattn_lost"})
    assert origin_of(fake).distribution == "skattn-lost"
    assert "skattn_lost" not in sys.modules


@pytest.mark.parametrize("name", ["good", "exported"])
@pytest.mark.usefixtures("plugins")
def test_copies_and_pickles(name):
    template = get_architecture(name)(d_model=16)
    for twin in [copy.deepcopy(template), pickle.loads(pickle.dumps(template))]:
        assert twin is not template
        assert type(twin) is type(template)
        assert twin.get_params() == {"d_model": 16}


def test_a_class_without_origin_pickles_as_usual():
    assert pickle.loads(pickle.dumps(Kept(d_model=2))).d_model == 2


def test_pickle_without_the_plugin(site):
    with importable(site):
        pickled = pickle.dumps(get_architecture("good")())
    with pytest.raises(PluginError, match=r"'skattn-good' 1\.2") as caught:
        pickle.loads(pickled)
    assert "pip install 'skattn-good==1.2'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_pickle_with_another_version(site, tmp_path):
    with importable(site):
        pickled = pickle.dumps(get_architecture("good")(d_model=16))
    wheel = plugin_wheel(tmp_path, "skattn-good", "good", "Good", version="1.3")
    with importable(install(tmp_path / "newer", wheel)):
        with pytest.warns(PluginWarning, match=r"skattn-good 1\.2 .* with 1\.3"):
            restored = pickle.loads(pickled)
        assert restored.d_model == 16


def test_another_process_does_not_know_a_registered_name(plugins):
    register(altered())
    program = (
        "import skattn\ntry: skattn.get_architecture('kept')\n"
        "except ValueError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(plugins)}
    told = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "There is no architecture 'kept'" in told
    assert "good" in told
    assert "give a parallel search an instance" in told


# The contract


def test_a_faultless_class():
    assert contract_faults(Kept) == []
    assert contract_faults(altered()) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"supports": {"tokens": {"token_prediction"}}, "causal": True},
        {
            "supports": {"tokens": {"tagging", "translation"}, "pair": {"regression"}},
            "consumes": ("mask", "other_mask", "target_tokens", "characters"),
        },
        {"supports": {"pair": {"regression"}}, "consumes": ()},
    ],
)
def test_texts_without_a_fault(fields):
    assert contract_faults(altered(**fields)) == []


def test_no_constructor_is_no_fault():
    own = {key: value for key, value in vars(Kept).items() if key != "__init__"}
    own |= {"search_space": {}}
    assert contract_faults(type("Plain", (Architecture,), own)) == []


TEXTS = {"supports": {"tokens": {"tagging"}}}


def _parameters(code):
    return eval(f"lambda self, {code}: None")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"api_version": 2}, "api_version is 2, but skattn .* serves version 1 only"),
        ({"api_version": True}, "api_version is True"),
        ({"name": None}, "name must be a str"),
        ({"name": "a/b"}, "has no '/'"),
        ({"supports": {}}, "supports must map"),
        ({"supports": "series"}, "supports must map"),
        ({"supports": {"series": "forecasting"}}, r"supports\['series'\] must be"),
        ({"supports": {"series": ()}}, r"supports\['series'\] must be"),
        ({"supports": {"series": {"guessing"}}}, "unknown task 'guessing'"),
        (
            {"supports": {"series": {"forecasting"}, "sound": {"tagging"}}},
            "unknown input 'sound'",
        ),
        ({"consumes": "mask"}, r'such as \("mask",\)'),
        ({"consumes": ("msak",)}, "unknown tensor 'msak'"),
        (
            {"consumes": ("edge_attr",)},
            "'edge_attr', which comes only with the input graph or nodes",
        ),
        ({"past_covariates": None}, "past_covariates must be True or False, not None"),
        (
            {"supports": {"series": {"tagging"}}},
            r"supports\['series'\] has 'tagging', which comes only .* 'tokens'",
        ),
        ({**TEXTS, "causal": "yes"}, "causal must be True or False, not 'yes'"),
        ({**TEXTS, "causal": True}, "causal is True, .* no such task"),
        (
            {"supports": {"tokens": {"translation"}}},
            'has "translation", but consumes lacks "target_tokens"',
        ),
        (
            {**TEXTS, "consumes": ("mask", "target_mask")},
            "'target_mask', which comes only with the task translation, and",
        ),
        (
            {"supports": {"tokens": {"token_prediction"}}, "consumes": ("segments",)},
            "'segments', .* classification or regression or tagging, and",
        ),
        (
            {"supports": {"pair": {"regression"}}},
            'supports has "pair", but consumes lacks "other_mask"',
        ),
        (
            {"supports": {"pair": {"regression"}}, "consumes": ("other_mask",)},
            'supports has "pair", but consumes lacks "mask"',
        ),
        ({"citation": ""}, "citation must be"),
        ({"search_space": ["d_model"]}, "search_space must map"),
        ({"search_space": {"width": Int(1, 2)}}, "'width', which is no parameter"),
        ({"search_space": {"d_model": [1, 2]}}, r"\['d_model'\] must be an Int"),
        ({"__init__": _parameters("d_model")}, "'d_model' has no default"),
        ({"__init__": _parameters("*rest, d_model=1")}, r"takes \*rest"),
        ({"__init__": _parameters("d_model=1, **rest")}, r"takes \*\*rest"),
        ({"__init__": _parameters("d_model=1, /")}, "'d_model' by position only"),
        ({"build": Architecture.build}, "build is abstract"),
    ],
)
def test_each_fault(fields, fault):
    (found,) = contract_faults(altered(**fields))
    assert re.search(fault, found)


def test_the_version_is_not_inherited():
    child = type("Child", (Kept,), {"name": "child"})
    assert contract_faults(child) == ["api_version is missing: write api_version = 1"]


@pytest.mark.parametrize("wrong", [3, dict, Kept()])
def test_no_architecture_at_all(wrong):
    (fault,) = contract_faults(wrong)
    assert "is not a subclass of skattn.Architecture" in fault
