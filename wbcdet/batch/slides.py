"""Slides as fields: which parts are counted, in which order, and where to stop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.batch.slide_claims import OVERLAP_UM, Mask, SlideClaims
from wbcdet.inference.magnification import CELL_UM
from wbcdet.inference.smear_map import SmearMap, map_smear
from wbcdet.inference.tiling import Tile, plan
from wbcdet.io.errors import FieldError
from wbcdet.io.slide_part import NO_SCALE, SlidePart
from wbcdet.io.slides.open import Slide, open_slide
from wbcdet.io.source import Source
from wbcdet.utils.schemas import JsonObject, parse_json

#: Core of a part in pixels of its level.
CORE = 2048
#: Cells narrower than this, px, are named from too few pixels; narrower than that they are not
#: found.
_MIN_NAMED, _MIN_FOUND = 38.0, 14.0
#: Part by which a scale that a person says may differ from that of the file, for roundings.
_OTHER_SCALE = 0.05
#: Cells wider than this in the next coarser level leave it enough for the classifier's crop.
_ENOUGH_PX = 100.0
#: Part of a core that lies in the zone from which it is counted; of a zone that a person drew any.
_MIN_SHARE = 0.3
#: Columns of the battlement track: of so many one is walked along.
_STEP = 3

Grid = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SlideOptions:
    """Where and how a slide is counted; all of it decides which parts are counted.

    Attributes:
        um_per_px: scale of the finest level, where a person says it.
        zone: GeoJSON file of the zone that a person drew; None looks for it.
        track: ``battlement``, or ``all`` of the zone.
        edges: count the edge and tail of the smear too, apart.
        target: stop at so many classified cells a slide.
        skip_bad: cells of parts of doubtful quality are in no count, so they reach no target.
        exclude_edge: nor do those cut by the border of the slide.
    """

    um_per_px: float | None = None
    zone: Path | None = None
    track: str = "all"
    edges: bool = False
    target: int | None = None
    skip_bad: bool = False
    exclude_edge: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class SlidePlan:
    """What is counted of one slide.

    Attributes:
        source: the slide itself.
        um_per_px: of its finest level.
        size: width and height of the finest level, px.
        map: what it looks like from afar.
        zone: of each square of the map: it is counted.
        drawn: the zone was drawn by a person.
        parts: the parts, in the order in which they are counted.
        cores: by name of a part, what it alone owns, in pixels of the finest level.
        areas: by name of a part, what of its core is counted in, mm².
        remarks: what to know of the slide, a line each.
        polygons: the zone that was drawn, as :func:`read_zone` gives it.
    """

    source: Source
    um_per_px: float
    size: tuple[int, int]
    map: SmearMap
    zone: Mask
    drawn: bool
    parts: list[Source]
    cores: dict[str, tuple[float, float, float, float]]
    areas: dict[str, float]
    remarks: tuple[str, ...]
    polygons: list[list[list[list[float]]]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Sha256 (16 hex digits) of scale and zone: equal ones keep the same cells of a part."""
        text = json.dumps([self.um_per_px, self.polygons or "cells in the squares of the zone"])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def said(self) -> list[str]:
        """Return what to know before it is counted, a line each."""
        area = sum(self.areas.values())
        zone = "drawn" if self.drawn else "found"
        return [
            *self.remarks,
            f"{self.size[0]} x {self.size[1]} px at {self.um_per_px:g} µm; zone {zone}, "
            f"{len(self.parts)} parts of it, {area:.1f} mm²",
        ]

    def renamed(self, names: Mapping[str, str]) -> SlidePlan:
        """Return the plan under the names that a report has for its parts."""
        parts = [replace(part, name=names[part.name]) for part in self.parts]
        cores = {names[name]: core for name, core in self.cores.items()}
        areas = {names[name]: area for name, area in self.areas.items()}
        return replace(self, parts=parts, cores=cores, areas=areas)

    def claims(self) -> SlideClaims:
        """Return which cells of each part are counted there."""
        return SlideClaims(
            self.um_per_px, self.size, self.cores, self.map.side, self.zone, self.map.edge,
            self.polygons,
        )  # fmt: skip


def plan_slide(source: Source, options: SlideOptions) -> SlidePlan:
    """Look at a slide from afar and choose the parts to count.

    Raises:
        FieldError: it cannot be read, has no scale, its objective is too low, or there is nothing
            to count; the message is one line.
    """
    assert isinstance(source.path, Path)
    slide = open_slide(source.path)
    um = options.um_per_px or slide.um_per_px
    if um is None:
        raise FieldError(NO_SCALE)
    width = CELL_UM / um
    if width < _MIN_FOUND:
        raise FieldError(
            f"slide has {um:g} µm per pixel: a white cell is {width:.0f} px wide, too few to be "
            "found; scan it with an objective of 40x"
        )
    remarks = list(slide.remarks)
    if slide.um_per_px is not None and abs(um / slide.um_per_px - 1) > _OTHER_SCALE:
        remarks.append(
            f"--um-per-px {um:g} is taken, and the slide itself says {slide.um_per_px:g} µm per "
            "pixel: where that is right, leave the option out"
        )
    if width < _MIN_NAMED:
        remarks.append(
            f"objective too low: at {um:g} µm per pixel a white cell is {width:.0f} px wide, and "
            "names are less sure than was measured; scan with 40x or more"
        )
    if len(slide.levels) == 1 and slide.width * slide.height > 100_000_000:
        remarks.append("slide has no reduced levels: parts of it stood for the map of the smear")
    level = _working_level(slide, um)
    smear = map_smear(slide, um)
    polygons = [] if options.zone is None else read_zone(options.zone)
    covered = smear.zone.astype(float) if options.zone is None else _drawn(polygons, smear)
    zone = covered > 0
    grid = _grid(slide, level, um)
    least = _MIN_SHARE if options.zone is None else 1e-9
    by = slide.levels[level].downsample
    chosen = [tile for tile in grid if _share(zone, tile, by, smear.side) >= least]
    ordered = _track(chosen, smear.direction, slide, by, only=options.track == "battlement")
    inside_zone = set(chosen)
    tiles = [(tile, False) for tile in ordered]
    if options.edges:
        tiles += [
            (tile, True)
            for tile in grid
            if tile not in inside_zone and _share(smear.edge, tile, by, smear.side) >= _MIN_SHARE
        ]
    if not tiles:
        where = (
            f"no part of it lies in {options.zone}; its coordinates are pixels of the slide"
            if options.zone is not None
            else "no zone where red cells lie side by side was found; draw it in QuPath, and give "
            "it with --zone FILE"
        )
        raise FieldError(f"nothing to count: {where}")
    parts: list[Source] = []
    cores: dict[str, tuple[float, float, float, float]] = {}
    areas: dict[str, float] = {}
    for tile, edge in tiles:
        x0, y0, x1, y1 = tile.box
        part = SlidePart(
            round(x0 * by), round(y0 * by), x1 - x0, y1 - y0, level, edge, options.um_per_px
        )
        name = part.name(source.name)
        parts.append(replace(source, name=name, problem=None, part=part, number=None))
        left, top, right, bottom = (value * by for value in tile.core)
        cores[name] = (left, top, right, bottom)
        counted = smear.edge.astype(float) if edge else covered
        area = (right - left) * (bottom - top) * (um / 1000) ** 2
        areas[name] = area * _share(counted, tile, by, smear.side)
    return SlidePlan(
        source, um, (slide.width, slide.height), smear, zone, options.zone is not None, parts,
        cores, areas, tuple(remarks), polygons,
    )  # fmt: skip


def _working_level(slide: Slide, um: float) -> int:
    """Return the coarsest level whose cells the classifier need not enlarge; else the finest."""
    good = [
        number
        for number, level in enumerate(slide.levels)
        if CELL_UM / (um * level.downsample) >= _ENOUGH_PX
    ]
    return good[-1] if good else 0


def _grid(slide: Slide, level: int, um: float) -> list[Tile]:
    chosen = slide.levels[level]
    overlap = round(OVERLAP_UM / (um * chosen.downsample))
    return plan(chosen.width, chosen.height, CORE + overlap, overlap)


def _share(mask: Mask | Grid, tile: Tile, by: float, side: float) -> float:
    """Part of a tile's core that lies in a mask of the map's squares."""
    x0, y0, x1, y1 = (value * by / side for value in tile.core)
    columns = _overlaps(x0, x1, mask.shape[1])
    rows = _overlaps(y0, y1, mask.shape[0])
    return float(rows @ mask @ columns) / max((x1 - x0) * (y1 - y0), 1e-9)


def _overlaps(start: float, end: float, number: int) -> npt.NDArray[np.float64]:
    """How much of each unit from 0 on lies between two places."""
    places = np.arange(number)
    lengths = np.minimum(end, places + 1) - np.maximum(start, places)
    return np.asarray(np.clip(lengths, 0, None), np.float64)


def _track(
    tiles: Sequence[Tile],
    direction: tuple[float, float] | None,
    slide: Slide,
    by: float,
    *,
    only: bool,
) -> list[Tile]:
    """Tiles along a battlement across the smear, then the others.

    The track walks across the smear, along it, back across, and so on, as a person counts: every
    third column whole, and between two of them the tile at the end where it turns.
    """
    if not tiles:
        return []
    if direction is None:
        direction = (1.0, 0.0) if slide.width >= slide.height else (0.0, 1.0)
    middles = np.array([[t.core[0] + t.core[2], t.core[1] + t.core[3]] for t in tiles]) / 2
    along = middles @ np.array(direction)
    across = middles @ np.array([-direction[1], direction[0]])
    pitch = max(t.core[2] - t.core[0] for t in tiles)
    columns = np.floor((along - along.min()) / pitch + 1e-6).astype(int)
    track: list[int] = []
    rest: list[int] = []
    up = False
    for number, column in enumerate(np.unique(columns)):
        own = np.flatnonzero(columns == column)
        own = own[np.argsort(across[own], kind="stable")]
        if number % _STEP == 0:
            track += list(own[::-1] if up else own)
            up = not up
        else:
            end = own[-1] if up else own[0]
            track.append(int(end))
            rest += [int(index) for index in own if index != end]
    return [tiles[index] for index in (track if only else [*track, *rest])]


def read_zone(path: Path) -> list[list[list[list[float]]]]:
    """Return the polygons of a GeoJSON file, each a list of rings, in pixels of the finest level.

    Raises:
        FieldError: the file is not GeoJSON with polygons.
    """
    try:
        document = parse_json(path.read_bytes())
    except OSError as error:
        raise FieldError(
            f"--zone {path}: cannot be read ({error.strerror}); check its name, and whether you "
            "may read it"
        ) from error
    except ValueError as error:
        raise FieldError(f"--zone {path}: is no GeoJSON ({error})") from error
    try:
        polygons = [
            [[[float(x), float(y)] for x, y, *_ in ring] for ring in rings]
            for geometry in _geometries(document)
            for rings in (
                [geometry["coordinates"]]
                if geometry["type"] == "Polygon"
                else geometry["coordinates"]
                if geometry["type"] == "MultiPolygon"
                else ()
            )
        ]
        if not np.isfinite([value for p in polygons for r in p for xy in r for value in xy]).all():
            raise ValueError("a place is no number")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FieldError(f"--zone {path}: is no GeoJSON of polygons ({error})") from error
    if not polygons:
        raise FieldError(f"--zone {path}: holds no polygon; draw one in QuPath and export it")
    return polygons


def _geometries(document: Any) -> Iterator[JsonObject]:
    if isinstance(document, list):  # as QuPath writes several objects
        for item in document:
            yield from _geometries(item)
        return
    kind = document["type"]
    if kind == "FeatureCollection":
        for item in document["features"]:
            yield from _geometries(item)
    elif kind == "Feature":
        yield from _geometries(document["geometry"])
    elif kind == "GeometryCollection":
        for item in document["geometries"]:
            yield from _geometries(item)
    else:
        yield document


def _drawn(polygons: list[list[list[list[float]]]], smear: SmearMap) -> Grid:
    """Return how much of each square lies in a drawn zone; a square that it touches more than
    nothing."""
    fine = 8
    rows, columns = smear.kind.shape
    filled = np.zeros((rows * fine, columns * fine), np.uint8)
    touched = np.zeros_like(filled)
    for rings in polygons:
        zone = np.zeros_like(filled)
        outlines = [
            np.clip(np.round(np.asarray(ring) * fine / smear.side), -1e6, 1e6).astype(np.int32)
            for ring in rings
            if len(ring) > 2
        ]
        cv2.fillPoly(zone, outlines, 1)
        filled |= zone
        cv2.polylines(touched, outlines, True, 1)
    squares = (rows, fine, columns, fine)
    share = filled.reshape(squares).mean((1, 3))
    return np.asarray(np.maximum(share, 1e-6 * touched.reshape(squares).any((1, 3))), np.float64)
