"""Print the rooms of the package in layers, and count what they import from each other.

A room is an entry at the top of ``wbcdet/``. It stands one layer above the highest room that it
imports from; rooms that import from each other in a circle share a layer and are named. Imports
inside functions and for type checkers count like all others.

    python scripts/import_layers.py            # this tree; or the path of another one
"""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = "wbcdet"


def read_modules(root: Path) -> dict[str, ast.Module]:
    """Parse every module of the package, by its dotted name."""
    modules = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = ast.parse(path.read_text(encoding="utf-8"))
    return modules


def imports_of(name: str, tree: ast.Module, modules: dict[str, ast.Module]) -> set[str]:
    """List the modules of the package that a module imports."""
    wanted: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            wanted += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            wanted += [alias.name for alias in node.names]
    found = set()
    for dotted in wanted:
        while dotted and dotted not in modules:
            dotted = dotted.rpartition(".")[0]
        if dotted not in ("", name, PACKAGE):
            found.add(dotted)
    return found


def room_of(module: str) -> str:
    """Name the entry at the top of the package that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def circles_of(graph: dict[str, set[str]]) -> list[set[str]]:
    """Find the nodes that reach each other: every set is one circle, or several that touch."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        todo, reached = list(graph[start]), set[str]()
        while todo:
            node = todo.pop()
            if node not in reached:
                reached.add(node)
                todo += graph[node]
        reach[start] = reached
    circles: list[set[str]] = []
    for node in graph:
        circle = {other for other in reach[node] if node in reach[other]}
        if node in circle and len(circle) > 1 and circle not in circles:
            circles.append(circle)
    return circles


def layers_of(graph: dict[str, set[str]]) -> list[list[str]]:
    """Put every room one layer above the highest one that it imports from, lowest first."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    layers = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        layers.append(ready)
        sorter.done(*ready)
    return layers


def main() -> None:
    """Print layers and counts."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    modules = read_modules(root)
    files = {name: imports_of(name, tree, modules) for name, tree in modules.items()}
    rooms: dict[str, set[str]] = {room_of(name): set() for name in files}
    for name, wanted in files.items():
        rooms[room_of(name)] |= {room_of(other) for other in wanted} - {room_of(name)}
    try:
        layers = layers_of(rooms)
    except CycleError:
        layers = []
    for number, layer in reversed(list(enumerate(layers, 1))):
        print(f"{number:2}  {'  '.join(layer)}")
    for kind, graph in (("rooms", rooms), ("files", files)):
        for circle in circles_of(graph):
            print(f"circle of {kind}: {', '.join(sorted(circle))}")
    top = [path for path in (root / PACKAGE).iterdir() if path.name != "__pycache__"]
    packages = sum((path / "__init__.py").is_file() for path in (root / PACKAGE).rglob("*"))
    print(
        f"{len(top)} entries at the top, {packages + 1} packages, {len(files)} files; "
        f"{sum(map(len, rooms.values()))} imports between rooms in {len(layers) or 'no'} layers; "
        f"circles: {len(circles_of(rooms))} of rooms, {len(circles_of(files))} of files"
    )


if __name__ == "__main__":
    main()
