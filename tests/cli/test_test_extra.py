"""What the tests import comes with ``pip install '.[test]'``."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import (
    PackageNotFoundError,
    distribution,
    packages_distributions,
    requires,
)

from conftest import REPOSITORY
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

TESTS = REPOSITORY / "tests"
#: Tested where they are installed: these tests ask first, and are skipped without them.
ASKED_FOR = {"ray", "pymmcore_plus", "gi", "importlinter"}


def imported() -> dict[str, str]:
    """Top-level modules that the tests import, not their own or Python's, with a file of each."""
    own = {path.stem for path in TESTS.rglob("*.py")} | {
        path.stem for path in (REPOSITORY / "experiments").glob("*.py")
    }
    own |= {path.stem for path in (REPOSITORY / "scripts").glob("*.py")} | {"wbcdet"}
    found = {}
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                module = name.split(".")[0]
                if module not in own and module not in sys.stdlib_module_names:
                    found[module] = path.name
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str, extras: set[str], seen: set[tuple[str, str]]) -> Iterator[str]:
    """Names of all distributions that a requirement brings, its own included."""
    yield normal(name)
    try:
        needed = requires(name) or []
    except PackageNotFoundError:
        return
    for text in needed:
        requirement = Requirement(text)
        marker = requirement.marker
        for extra in {"", *extras}:
            if marker is None or marker.evaluate({"extra": extra}):
                key = (normal(requirement.name), ",".join(sorted(requirement.extras)))
                if key not in seen:
                    seen.add(key)
                    yield from closure(requirement.name, set(requirement.extras), seen)


def declared() -> set[str]:
    """Distributions of the base and of ``[test]``, as pyproject.toml asks for them."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    brought: set[str] = set()
    seen: set[tuple[str, str]] = set()
    for name in extras_of("test", text):
        requirements = re.findall(r'"([^"]+)"', name)
        for each in requirements:
            requirement = Requirement(each)
            if requirement.marker is None or requirement.marker.evaluate():
                brought |= set(closure(requirement.name, set(requirement.extras), seen))
    return brought


def extras_of(extra: str, text: str) -> Iterator[str]:
    """Yield what the base, an extra, and the extras that it names ask for, as TOML has it."""
    base = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.M | re.S)
    assert base
    yield base[1]
    waiting, done = [extra], set()
    while waiting:
        name = waiting.pop()
        done.add(name)
        own = re.search(rf"^{name} = \[(.*?)\]\n(?=[a-z]|\n)", text, re.M | re.S)
        assert own, name
        for inner in re.findall(r'"wbcdet\[([^\]]+)\]"', own[1]):
            waiting += [each for each in inner.split(",") if each not in done]
        yield re.sub(r'"wbcdet\[[^\]]+\]",?', "", own[1])


def test_what_tests_import_comes_with_the_extra() -> None:
    brought, owners = declared(), packages_distributions()
    missing = {
        module: file
        for module, file in imported().items()
        if module not in ASKED_FOR
        and not brought & {normal(owner) for owner in owners.get(module, [module])}
    }
    assert missing == {}
    assert "onnx" in brought and "torch" in brought and "ray" not in brought


def test_constraints_can_be_installed_with_the_oldest_python() -> None:
    """Of what is installed here, each version that is kept for Python 3.10 runs with it."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'^requires-python = ">=([\d.]+)"', project, re.M)
    assert oldest
    asked, refused = 0, {}
    for line in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        kept = Requirement(line)
        # As the oldest Python would read the line.
        if kept.marker and not kept.marker.evaluate(
            {"python_version": oldest[1], "python_full_version": f"{oldest[1]}.0"}
        ):
            continue
        try:
            installed = distribution(kept.name)
        except PackageNotFoundError:
            continue
        needs = installed.metadata["Requires-Python"]
        if installed.version in kept.specifier and needs:
            asked += 1
            if not SpecifierSet(needs).contains(f"{oldest[1]}.13"):
                refused[kept.name] = needs
    assert refused == {} and asked
