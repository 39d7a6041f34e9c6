"""The house: imports point down, importing the library is light, the wheel ships what its command needs."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.package import contents

ROOT = Path(__file__).parents[1]
# Rooms by level, lowest first; a room may import from strictly lower levels, and within itself.
LEVELS = [
    {"types", "checks", "registry", "lazy"},
    {"ops"},
    {"samplers", "schedules", "spaces", "streams"},
    {"distributions", "networks", "in_graph"},
    {"lab", "functional", "tfp", "learning", "wrappers"},
    {"heads", "layers"},
    {"rollouts"},
    {"runs"},
    {"scale"},
]
# The one import that points up. `to_tfp` is asked of a distribution, yet TensorFlow Probability must not be loaded
# before somebody asks: so the import stands inside that method.
UPWARD = {("distributions/base.py", "tfp")}
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def origin(node: ast.ImportFrom, path: Path) -> str:
    """The module that names are imported from, written out where it is relative to the file."""
    package = path.relative_to(ROOT).parent.parts
    above = package[: len(package) - node.level + 1] if node.level else ()
    return ".".join([*above, *filter(None, [node.module])])


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            rooms |= {room_of(alias.name) for alias in node.names if alias.name.split(".")[0] == "rlsample"}
        elif isinstance(node, ast.ImportFrom) and origin(node, path).split(".")[0] == "rlsample":
            module = origin(node, path)
            rooms |= {alias.name for alias in node.names} if module == "rlsample" else {room_of(module)}
    return rooms


def library_files() -> list[Path]:
    return [path for path in (ROOT / "rlsample").rglob("*.py") if path != ROOT / "rlsample" / "__init__.py"]


@pytest.mark.parametrize("path", library_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    relative = path.relative_to(ROOT / "rlsample")
    room = relative.parts[0].removesuffix(".py")
    assert room in LEVEL, f"{room} has no level: add it to LEVELS"
    allowed = {other for file, other in UPWARD if file == relative.as_posix()}
    for other in imported_rooms(path) - {room} - allowed:
        assert other in LEVEL, f"{relative} imports {other}, which has no level"
        on_the_ground = LEVEL[room] == LEVEL[other] == 0
        assert LEVEL[other] < LEVEL[room] or on_the_ground, f"{relative} (L{LEVEL[room]}) imports {other}"


def imported_files(path: Path, package: str) -> set[Path]:
    """The files of a package that one of them imports when it is loaded."""
    files = set()
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ImportFrom) or origin(node, path).split(".")[0] != package:
            continue
        base = ROOT / origin(node, path).replace(".", "/")
        for name in [alias.name for alias in node.names]:
            candidates = [
                base / f"{name}.py",
                base / name / "__init__.py",
                base.with_suffix(".py"),
                base / "__init__.py",
            ]
            files |= {next(each for each in candidates if each.exists())}
    return files - {path, ROOT / package / "__init__.py"}


@pytest.mark.parametrize("package", ["rlsample", "agents", "envs", "scripts"])
def test_imports_go_round_in_no_circle(package):
    """Inside rooms too: no file imports, through however many others, itself."""
    left = {path: imported_files(path, package) for path in (ROOT / package).rglob("*.py")}
    while left:
        free = {path for path, others in left.items() if not others & left.keys()}
        assert free, f"these import each other: {sorted(str(path.relative_to(ROOT)) for path in left)}"
        left = {path: others for path, others in left.items() if path not in free}


def test_the_table_for_contributors_is_this_one():
    rows = re.findall(r"^\| (\d) \| (.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert {int(level): set(re.findall(r"`(\w+)`", rooms)) for level, rooms in rows} == dict(enumerate(LEVELS))


def test_import_is_light_and_rooms_below_runs_need_neither_configuration_nor_tracking():
    """In one process of its own, which loads more and more; Keras itself loads some of these where they are installed:
    what counts is what we add to it and to TensorFlow.
    """
    rooms = sorted(set(LEVEL) - {"runs", "scale", "tfp"})
    modules = [
        f"rlsample.{path.relative_to(ROOT / 'rlsample').with_suffix('')}".replace("/", ".")
        for path in library_files()
        if path.relative_to(ROOT / "rlsample").parts[0].removesuffix(".py") in rooms
    ]
    modules = [name.removesuffix(".__init__") for name in modules]
    ours = ["pydantic", "yaml", "wandb", "tensorflow_probability", "matplotlib", "rich"]
    code = f"""
import importlib, sys, tensorflow

def added(before, heavy):
    return [name for name in heavy if name in set(sys.modules) - before]

before = set(sys.modules)
from rlsample import gumbel_softmax, ops, samplers, schedules, spaces
print(added(before, {[*ours, "ray", "scipy", "torch", "jax"]}))
from rlsample import distributions, heads
print(added(before, {[*ours, "ray", "scipy", "torch", "jax"]}))
import keras, gymnasium
before = set(sys.modules)
for name in {modules}: importlib.import_module(name)
print(added(before, {ours}))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.split() == ["[]"] * 3


@pytest.mark.parametrize("folder", ["rlsample", "envs"])
def test_nothing_below_imports_agents_or_scripts(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            forbidden = {"agents", "scripts", "tests"} | ({"envs"} if folder == "rlsample" else set())
            assert not {name.split(".")[0] for name in imported_modules(node, path)} & forbidden, path


def imported_modules(node: ast.AST, path: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [origin(node, path)] if isinstance(node, ast.ImportFrom) else []


def test_what_the_wheel_has_under_another_name_says_its_own_nowhere():
    """`scripts.train` of a clone is `rlsample.scripts.train` of a wheel: it finds the files beside it relatively."""
    own = contents.BELOW
    for path in (path for path in contents.shipped(ROOT) if path.suffix == ".py"):
        tree = ast.parse(path.read_text())
        imports = [node for node in ast.walk(tree) if not (isinstance(node, ast.ImportFrom) and node.level)]
        assert not {name.split(".")[0] for node in imports for name in imported_modules(node, path)} & set(own), path
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        names = rf"({'|'.join(own)})(\.\w+)+(:\w+)?"
        assert not [text for text in texts if isinstance(text, str) and re.fullmatch(names, text)], path


def test_what_configures_and_what_names_are_is_loaded_without_tensorflow():
    """A word that was mistyped is told without waiting for it."""
    light = ["agents", "config", "describe", "env_config", "loading", "progress", "run_folder", "shipped", "tracking"]
    modules = ["rlsample", "rlsample.checks", *(f"rlsample.runs.{name}" for name in light)]
    modules += [
        "agents",
        "envs",
        "scripts.__main__",
        "scripts.train",
        "scripts.evaluate",
        "scripts.doctor",
        "scripts.compare.__main__",
        "scripts.sweep.__main__",
    ]
    code = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module(name)
    assert "tensorflow" not in sys.modules and "keras" not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("package", ["rlsample", "rlsample.runs", "rlsample.checks"])
def test_public_names_exist(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


@pytest.mark.slow
def test_the_wheel_takes_no_name_but_its_own_and_holds_what_its_command_needs(tmp_path):
    command = [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert contents.problems(wheel, ROOT) == []
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (points,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "rlsample = rlsample.scripts.__main__:main" in archive.read(points).decode()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"rlsample"}
    assert {"rlsample/py.typed", "rlsample/agents/configs/cartpole.yaml"} <= set(names)
