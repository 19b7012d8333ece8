"""Imports point one way: each layer may import from those before it, never from those after it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Lower layers first; a module belongs to the longest name that begins its own.
ENGINE_LAYERS = [
    (
        "liif_engine.errors",
        "liif_engine.arguments",
        "liif_engine.sqlite_integers",
        "liif_engine.words",
        "liif_engine.threads",
        "liif_engine.locks",
    ),
    ("liif_engine.memory", "liif_engine.target", "liif_engine.crew", "liif_engine.log"),
    ("liif_engine.model_names", "liif_engine.device_names"),
    ("liif_engine.config", "liif_engine.config_file", "liif_engine.begin", "liif_engine.base_folder"),
    ("liif_engine.streams",),
    ("liif_engine.figures", "liif_engine.web"),
    ("liif_engine.picture", "liif_engine.network"),
    ("liif_engine.auto", "liif_engine.judge", "liif_engine.levels", "liif_engine.progress", "liif_engine.budget"),
    (
        "liif_engine.compute",
        "liif_engine.restore",
        "liif_engine.restorer",
        "liif_engine.plan",
        "liif_engine.file",
        "liif_engine.pipeline",
    ),
    ("liif_engine.workers",),
    ("liif_engine.lab", "liif_engine.service", "liif_engine.terminal", "liif_engine.archive"),
    ("liif_engine.entry",),
    ("liif_engine.commands",),
    ("liif_engine.cli",),
    ("liif_engine.__main__",),
]
DAEMON_LAYERS = [
    (
        "liif_daemon.settings",
        "liif_daemon.steps",
        "liif_daemon.mounts",
        "liif_daemon.asking",
        "liif_daemon.posts",
        "liif_daemon.told",
    ),
    ("liif_daemon.ledger", "liif_daemon.places"),
    ("liif_daemon.names", "liif_daemon.presence", "liif_daemon.free", "liif_daemon.carry", "liif_daemon.figures"),
    (
        "liif_daemon.store",
        "liif_daemon.notes",
        "liif_daemon.settle",
        "liif_daemon.progress",
        "liif_daemon.engine",
        "liif_daemon.looking",
    ),
    (
        "liif_daemon.outage",
        "liif_daemon.observe",
        "liif_daemon.overflow",
        "liif_daemon.at_work",
        "liif_daemon.neighbours",
    ),
    ("liif_daemon.swap",),
    ("liif_daemon.workplace",),
    ("liif_daemon.unknown",),
    ("liif_daemon.undoable",),
    ("liif_daemon.watcher", "liif_daemon.replace", "liif_daemon.status", "liif_daemon.examine", "liif_daemon.bench"),
    (
        "liif_daemon.undo",
        "liif_daemon.prune",
        "liif_daemon.work",
        "liif_daemon.failures",
        "liif_daemon.outdated",
        "liif_daemon.renamed",
    ),
    ("liif_daemon.remains", "liif_daemon.store_watch", "liif_daemon.look", "liif_daemon.find"),
    ("liif_daemon.dispatch",),
    ("liif_daemon.why", "liif_daemon.check", "liif_daemon.unit", "liif_daemon.scan", "liif_daemon.first_run"),
    ("liif_daemon.asked",),
    ("liif_daemon.gimp",),
    ("liif_daemon.review",),
    ("liif_daemon.reload",),
    ("liif_daemon.run",),
    ("liif_daemon.commands",),
    ("liif_daemon.cli",),
    ("liif_daemon.__main__",),
]


def modules(folder: Path, package: str) -> dict[str, Path]:
    """Module name to file."""
    names = {}
    for path in folder.rglob("*.py"):
        parts = [package, *path.relative_to(folder).with_suffix("").parts]
        names[".".join(parts).removesuffix(".__init__")] = path
    return names


def imports(path: Path) -> set[str]:
    """Every module that a file names in an import statement, inside functions too, but for type checking only."""
    found: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def layer_of(name: str, layers: list[tuple[str, ...]]) -> int | None:
    fits = [
        (len(prefix), level)
        for level, prefixes in enumerate(layers)
        for prefix in prefixes
        if name == prefix or name.startswith(prefix + ".")
    ]
    return max(fits)[1] if fits else None


@pytest.mark.parametrize(
    ("folder", "package", "layers"),
    [("liif_engine", "liif_engine", ENGINE_LAYERS), ("daemon/liif_daemon", "liif_daemon", DAEMON_LAYERS)],
)
def test_imports_point_down(folder: str, package: str, layers: list[tuple[str, ...]]) -> None:
    for name, path in modules(ROOT / folder, package).items():
        level = layer_of(name, layers)
        if name == package:
            continue
        assert level is not None, f"{name} belongs to no layer: add it to this test and to the design"
        for target in imports(path):
            other = layer_of(target, layers)
            assert other is None or other <= level, f"{name} imports {target}, which lies above it"


def test_picture_and_config_know_no_torch() -> None:
    for folder in ("picture", "service/client", "config.py", "errors.py", "target.py", "memory.py"):
        place = ROOT / "liif_engine" / folder
        for path in [place] if place.is_file() else place.rglob("*.py"):
            assert not any(name.split(".")[0] == "torch" for name in imports(path)), path


def test_the_daemon_knows_the_engine_only_by_its_edges() -> None:
    allowed = ("liif_engine.service.client", "liif_engine.picture", "liif_engine.config", "liif_engine.errors")
    allowed += ("liif_engine.target", "liif_engine.terminal", "liif_engine.figures", "liif_engine.log")
    allowed += ("liif_engine.entry", "liif_engine.web", "liif_engine.sqlite_integers", "liif_engine.model_names")
    allowed += ("liif_engine.words", "liif_engine.begin", "liif_engine.base_folder", "liif_engine.locks")
    for path in (ROOT / "daemon").rglob("*.py"):
        for name in imports(path):
            assert name.split(".")[0] != "torch", path
            inside = name.startswith("liif_engine.") and name.count(".") > 0
            assert not inside or name in {"liif_engine.service"} or name.startswith(allowed), f"{path} imports {name}"


def test_importing_the_engine_and_asking_for_help_load_no_torch() -> None:
    code = (
        "import sys, liif_engine, liif_engine.cli;"
        "heavy = {'torch', 'numpy', 'PIL', 'pydantic', 'starlette'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
