"""Finding models: by name, module, module:name or file; and what is said where none is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdslib.errors import ModelError
from mdslib.strategy.discovery import find_model, list_models, model_folders

ONE = """\
from mdslib import Trade, hold, strategy

@strategy(on=Trade)
def {name}(trade, state, account, p):
    "Does nothing."
    return hold()
"""
TWO = ONE.format(name="first") + ONE.format(name="second").partition("\n\n")[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "calm.py").write_text(ONE.format(name="calm"))
    (tmp_path / "twins.py").write_text(TWO)
    (tmp_path / "_hidden.py").write_text("raise RuntimeError")
    return tmp_path


@pytest.mark.parametrize("name", ["volume_modulo", "moving_average", "pairs_zscore"])
def test_the_shipped_models_are_found_by_name(name: str) -> None:
    model = find_model(name)
    assert model.name == name
    assert model.doc


def test_a_name_a_file_and_a_strategy_mean_the_same(folder: Path) -> None:
    by_name = find_model("calm", [folder])
    assert find_model(folder / "calm.py") is by_name
    assert find_model(str(folder / "calm.py")) is by_name
    assert find_model(by_name) is by_name
    assert by_name.doc == "Does nothing."


def test_a_module_and_a_name_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "h7pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(TWO)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_model("h7pack.inner:second").name == "second"
    with pytest.raises(ModelError, match=r"model 'h7pack.inner' has no strategy 'secnd'\. Did you mean 'second'\?"):
        find_model("h7pack.inner:secnd")


def test_a_module_of_the_working_folder_is_found_as_docs_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "h9strategies").mkdir()
    (tmp_path / "h9strategies" / "calm.py").write_text("from h9helper import VALUE\n" + ONE.format(name="calm"))
    (tmp_path / "h9helper.py").write_text("VALUE = 1\n")
    (tmp_path / "h9alone.py").write_text(ONE.format(name="alone"))
    monkeypatch.chdir(tmp_path)
    assert find_model("h9strategies.calm").name == "calm"
    assert find_model("h9strategies.calm:calm").name == "calm"
    assert find_model("h9alone").name == "alone"


def test_the_library_goes_before_a_module_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"model 'json\.decoder' holds no strategy"):
        find_model("json.decoder")


@pytest.mark.parametrize("name", ["", ".", "..x", "x.", "a b", "/", "no.such", "h10ends.it"])
def test_a_path_that_is_none_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "h10ends").mkdir()
    (tmp_path / "h10ends" / "it.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError):
        find_model(name)


def test_a_model_that_is_no_text_is_one_error() -> None:
    with pytest.raises(ModelError, match=r"a \.py file or a strategy, received NoneType"):
        find_model(None)  # type: ignore[arg-type]


def test_the_setting_models_names_a_folder_for_every_look_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="unknown model 'calm'"):
        find_model("calm")
    monkeypatch.setenv("MDS_MODELS", str(folder))
    assert find_model("calm").file == str(folder / "calm.py")


def test_an_edited_file_is_read_again(folder: Path) -> None:
    first = find_model("calm", [folder])
    file = folder / "calm.py"
    file.write_text(file.read_text().replace("Does nothing", "Does more"))
    assert find_model("calm", [folder]).doc == "Does more."
    assert first.doc == "Does nothing."


def test_a_model_finds_the_helpers_beside_it(folder: Path) -> None:
    (folder / "h7_beside.py").write_text("WORD = 'beside'\n")
    (folder / "leaning.py").write_text("from h7_beside import WORD\n" + ONE.format(name="leaning"))
    assert find_model("leaning", [folder]).name == "leaning"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("clam", "unknown model 'clam'. Did you mean 'calm'?"),
        ("zzzzzz", "unknown model 'zzzzzz'. Known: calm, twins."),
        ("", "unknown model ''. Known: calm, twins."),
        ("gone.py", "model file gone.py is not there; give a name, a module path or a .py file"),
        (
            "no.such.module",
            "model module 'no.such.module' can't be imported: ModuleNotFoundError: No module named 'no'",
        ),
        ("twins", "model 'twins' holds 2 strategies; choose one as twins:first"),
        ("twins:third", "model 'twins' has no strategy 'third'. "),
        ("mdslib.errors", "model 'mdslib.errors' holds no strategy; decorate one function with @strategy"),
    ],
)
def test_what_is_not_found_is_named(model: str, said: str, folder: Path) -> None:
    with pytest.raises(ModelError) as raised:
        find_model(model, [folder])
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef f(:\n", "model file broken.py, line 2 can't be imported: SyntaxError"),
        (
            "import nothing_like_it\n",
            "model file broken.py can't be imported: ModuleNotFoundError: No module named 'noth",
        ),
        ("raise SystemExit(3)\n", "model file broken.py can't be imported: SystemExit: 3"),
        ("1 / 0\n", "model file broken.py can't be imported: ZeroDivisionError: division by zero"),
        ("", "model '{path}' holds no strategy; decorate one function with @strategy(on=Trade)"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(text)
    for _ in range(2):  # a failed import leaves nothing behind
        with pytest.raises(ModelError) as raised:
            find_model(file)
        assert str(raised.value).startswith(said.format(path=file))


def test_two_folders_may_hold_models_and_helpers_of_one_name(tmp_path: Path) -> None:
    """A helper of the other folder, loaded before, must not be taken for one's own."""
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "h7_common.py").write_text(f"WORD = {place!r}\n")
        (tmp_path / place / "same.py").write_text("from h7_common import WORD\n" + ONE.format(name="same"))
    found = {place: find_model(tmp_path / place / "same.py") for place in ("a", "b")}
    words = {place: model.steps[next(iter(model.steps))].__globals__["WORD"] for place, model in found.items()}
    assert words == {"a": "a", "b": "b"}


def test_all_models_are_listed_with_their_problems(folder: Path) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    found = {f.name: f for f in list_models([folder])}
    assert set(found) == {"calm", "twins", "broken"}
    assert found["calm"].strategy is not None
    assert "holds 2 strategies" in found["twins"].problem
    assert "ZeroDivisionError" in found["broken"].problem


def test_earlier_folders_hide_later_ones(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "calm.py").write_text(ONE.format(name="stormy"))
    assert find_model("calm", [other, folder]).name == "stormy"
    assert model_folders(folder)[0] == folder
