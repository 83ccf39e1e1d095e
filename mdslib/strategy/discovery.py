"""Finding models: by name in the models folders, by module path, or by file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from mdslib.errors import MdsError, ModelError, did_you_mean
from mdslib.strategy.contract import Strategy

_PACKAGE = Path(__file__).resolve().parents[1]


class Found(NamedTuple):
    """A model file that was looked at: its strategy, or why it has none."""

    name: str
    file: Path
    strategy: Strategy | None
    problem: str


def _usual() -> tuple[Path, ...]:
    return Path.cwd() / "models", _PACKAGE.parent / "models", _PACKAGE / "shipped" / "models"


def model_folders(*first: Path) -> list[Path]:
    """Return the folders that names are looked up in: `first`, ``./models``, then the models that mdslib ships."""
    unique: dict[Path, Path] = {}
    for folder in (*first, *_usual()):
        if folder.is_dir():
            unique.setdefault(folder.resolve(), folder)
    return list(unique.values())


def _configured() -> list[Path]:
    """Return the folder of the setting `models`, where somebody has set it; reading settings takes 0.2 s."""
    if not (os.environ.get("MDS_MODELS") or os.environ.get("MDS_CONFIG") or Path("mdslib.toml").is_file()):
        return []
    from mdslib.config import load_settings

    return [load_settings().models]


def _files(folders: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.py")):
            if not file.name.startswith("_"):
                found.setdefault(file.stem, file)
    return found


def _file_of(name: str, folders: Iterable[Path]) -> Path | None:
    """Return a model's file; looking for one file is much less than listing folders, and a sweep does it often."""
    if name and not name.startswith("_") and os.sep not in name:
        for folder in folders:
            file = os.path.join(folder, f"{name}.py")
            if os.path.isfile(file):
                return Path(file)
    return None


def find_model(model: str | Path | Strategy, folders: list[Path] | None = None) -> Strategy:
    """Return the strategy that a name, a module path or a file means.

    Parameters
    ----------
    model : str, Path or Strategy
        ``volume_modulo``, ``package.module``, ``package.module:name`` or ``path/to/file.py``. A strategy is returned
        as it is. Modules are looked up as Python does, and then in the working folder.
    folders : list of Path, optional
        Where names are looked up; the folder of the setting `models` and `model_folders` otherwise.

    Raises
    ------
    ConfigError
        Where the settings can't be read.
    ModelError
        Where nothing is found, the file can't be imported, or it holds no strategy or several.
    """
    if isinstance(model, Strategy):
        return model
    if not isinstance(model, str | Path):
        raise ModelError(
            f"a model must be a name, a module path, a .py file or a strategy, received {type(model).__name__}"
        )
    text = str(model)
    path, _, wanted = text.partition(":") if not text.endswith(".py") else (text, "", "")
    if path.endswith(".py"):
        file = Path(path)
        if not file.is_file():
            raise ModelError(f"model file {path} is not there; give a name, a module path or a .py file")
        return _only(_load_file(file), wanted, path)
    named = _file_of(path, (*_configured(), *_usual()) if folders is None else folders)
    if named is not None:
        return _only(_load_file(named), wanted, path)
    if "." in path or (path.isidentifier() and Path(f"{path}.py").is_file()):
        return _only(_import(path), wanted, path)
    known = _files(model_folders(*_configured()) if folders is None else folders)
    raise ModelError(f"unknown model {path!r}. {did_you_mean(path, known)}")


def list_models(folders: list[Path] | None = None) -> list[Found]:
    """Return every model of the folders, the unusable ones with their problem."""
    found = []
    for name, file in _files(model_folders() if folders is None else folders).items():
        try:
            found.append(Found(name, file, _only(_load_file(file), "", name), ""))
        except MdsError as error:
            found.append(Found(name, file, None, str(error)))
    return found


def _import(path: str) -> ModuleType:
    """Import a module by its path, from the working folder too: a command's own folder is what Python would look in."""
    _prefer(Path.cwd())
    try:
        return importlib.import_module(path)
    except (Exception, SystemExit) as error:  # a module that ends the program is no model, and the program goes on
        raise ModelError(f"model module {path!r} can't be imported: {type(error).__name__}: {error}") from error


def _load_file(file: Path) -> ModuleType:
    """Import a file under a name of its own, its folder importable so that it finds its helpers."""
    resolved = file.resolve()
    _prefer(resolved.parent)
    name = f"mds_model_{file.stem}_{zlib.crc32(str(resolved).encode()):08x}"
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "MDS_STAMP", None) == file.stat().st_mtime_ns:
        return loaded
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ModelError(f"model file {file} can't be imported: it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a file that ends the program is no model, and the program goes on
        del sys.modules[name]
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ModelError(f"model file {file.name}{line} can't be imported: {type(error).__name__}: {error}") from error
    module.__dict__["MDS_STAMP"] = file.stat().st_mtime_ns
    return module


_added: list[str] = []  # model folders on sys.path, the last used first


def _prefer(folder: Path) -> None:
    """Let a model import its helpers from its own folder, not from another model's; the library's modules go first.

    A helper of the same name that another folder's model has imported is forgotten; that model keeps what it has.
    """
    if _added and sys.path[-len(_added) :] == _added:  # what was put there last time, and nothing of anybody else's
        del sys.path[-len(_added) :]
    here = str(folder)
    others = [name for name in _added if name != here]
    _added[:] = [here, *others]
    sys.path.extend(_added)
    if not others:
        return
    for name, module in sys.modules.copy().items():  # in one step: another thread may be importing
        if "." in name or name.startswith("mds_model_"):
            continue
        place = getattr(module, "__file__", None)
        if place is None or os.path.dirname(place) not in others:  # of hundreds of modules, each time
            continue
        if (folder / f"{name}.py").is_file() or (folder / name).is_dir():
            del sys.modules[name]


def _only(module: ModuleType, wanted: str, path: str) -> Strategy:
    found = {
        name: value for name, value in vars(module).items() if isinstance(value, Strategy) and not name.startswith("_")
    }
    if wanted:
        if wanted not in found:
            raise ModelError(f"model {path!r} has no strategy {wanted!r}. {did_you_mean(wanted, found)}")
        return found[wanted]
    own = {n: s for n, s in found.items() if s.module == module.__name__} or found
    if len(own) == 1:
        return next(iter(own.values()))
    if not own:
        raise ModelError(f"model {path!r} holds no strategy; decorate one function with @strategy(on=Trade)")
    raise ModelError(f"model {path!r} holds {len(own)} strategies; choose one as {path}:{sorted(own)[0]}")
