"""Measure what an installation brings: bytes, seconds, and the largest packages.

    python scripts/install_size.py . '.[slides]'
    python scripts/install_size.py '.[train]' --pip-option=--extra-index-url=URL

Each requirement goes into a fresh environment of the running Python, which is deleted afterwards.
Bytes are those of the files, byte code included, without what the empty environment held (pip).
Seconds are by the clock, with what was downloaded, and of the processor.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from importlib import metadata
from pathlib import Path

MB = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requirements", nargs="+", help="as pip takes them: . '.[train]'")
    parser.add_argument("--packages", type=int, default=0, help="list that many of the largest")
    parser.add_argument("--pip-option", action="append", default=[], help="handed to pip install")
    parser.add_argument("--then", help="shell command to run in the environment, timed with it")
    options = parser.parse_args()
    print("requirement\tMB\tpackages\tseconds\tprocessor seconds")
    for requirement in options.requirements:
        with tempfile.TemporaryDirectory() as folder:
            measure(requirement, Path(folder), options)


def measure(requirement: str, folder: Path, options: argparse.Namespace) -> None:
    """Install a requirement into an environment and print its line."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    empty, started, used = size(folder), time.monotonic(), processor_seconds()
    command = [programs / "python", "-m", "pip", "install", "--quiet", *options.pip_option]
    subprocess.run([*command, requirement], check=True)
    if options.then:
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(options.then, shell=True, check=True, env={**os.environ, "PATH": path})
    seconds, processor = time.monotonic() - started, processor_seconds() - used
    packages = package_sizes(folder)
    megabytes = (size(folder) - empty) / MB
    print(
        f"{requirement}\t{megabytes:.1f}\t{len(packages)}\t{seconds:.0f}\t{processor:.0f}",
        flush=True,
    )
    for name, taken in packages[: options.packages]:
        print(f"  {name}\t{taken / MB:.1f}")


def size(folder: Path) -> int:
    """Count the bytes of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def package_sizes(folder: Path) -> list[tuple[str, int]]:
    """Return the installed packages and the bytes of the files that pip recorded, largest first."""
    places = [str(path) for path in folder.rglob("site-packages")]
    sizes = []
    for package in metadata.distributions(path=places):
        files = {Path(str(package.locate_file(file))).resolve() for file in package.files or ()}
        sizes.append(
            (package.metadata["Name"], sum(f.stat().st_size for f in files if f.is_file()))
        )
    return sorted(sizes, key=lambda package: -package[1])


def processor_seconds() -> float:
    """Return what the finished child processes used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
