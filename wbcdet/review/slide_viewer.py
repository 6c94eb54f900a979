"""Slides of a report as a zoomable map: DeepZoom tiles from the slide itself, and where it was
counted."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np
from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from wbcdet.io.colour import Pixels
from wbcdet.io.errors import FieldError
from wbcdet.io.slide_part import slide_of
from wbcdet.io.slides.open import Slide, open_slide
from wbcdet.report.layout import MAPS
from wbcdet.report.slide_map import OVERVIEW
from wbcdet.report.thumbnails import to_jpeg
from wbcdet.results.writer import picture_name
from wbcdet.review.images import PictureError, Pictures
from wbcdet.review.machine_report import MachineReport
from wbcdet.utils.safe_files import read_own
from wbcdet.utils.schemas import parse_json

if TYPE_CHECKING:
    from wbcdet.review.session import Session

#: Side of a DeepZoom tile, px.
_TILE = 512
_QUALITY = 85
#: Pixels that are read of a slide for one tile, along a side, in tiles.
_MAX_REDUCTION = 8.0
#: Widest slide that is shown, px.
_MAX_LEVEL = 32
_HEADERS = {"Cache-Control": "private, max-age=3600"}


class SlideViews:
    """The slides of a report under review. May be shared between threads.

    Args:
        report: the machine's report.
        pictures: finds the slides' files, and checks that they are those of the report.
    """

    def __init__(self, report: MachineReport, pictures: Pictures) -> None:
        self._report, self._pictures = report, pictures
        self._parts: dict[str, list[int]] = {}
        for field in report.fields:
            if field.result.region is not None:
                self._parts.setdefault(slide_of(field.result.file), []).append(field.number)
        self._names = list(self._parts)
        self._paths: dict[int, Path] = {}
        self._overviews: dict[int, Pixels | None] = {}
        self._turn = threading.Lock()

    def describe(self) -> list[dict[str, Any]]:
        """Return what the page knows of every slide: its size, zone and counted parts."""
        return [self._describe(number, name) for number, name in enumerate(self._names)]

    def size(self, number: int) -> tuple[int, int]:
        """Return width and height of a slide in pixels of its finest level.

        Raises:
            PictureError: there is no such slide, or it cannot be opened.
        """
        slide = self._open(number)
        return slide.width, slide.height

    def tile(self, number: int, level: int, column: int, row: int) -> bytes:
        """Return a DeepZoom tile as JPEG.

        Args:
            number: the slide.
            level: of DeepZoom: the last one is the slide in full, each before it half of that.
            column, row: which tile.

        Raises:
            PictureError: there is no such slide or tile, or it cannot be read there.
        """
        slide = self._open(number)
        last = max(slide.width, slide.height, 1)
        last = math.ceil(math.log2(last))
        scale = 2.0 ** (last - level)
        width = min(_TILE, math.ceil(slide.width / scale) - column * _TILE)
        height = min(_TILE, math.ceil(slide.height / scale) - row * _TILE)
        if not 0 <= level <= last or min(column, row) < 0 or min(width, height) < 1:
            raise PictureError("there is no such part of the slide")
        fitting = [
            place for place, level in enumerate(slide.levels) if level.downsample <= scale * 1.01
        ]
        chosen = max(fitting, key=lambda place: slide.levels[place].downsample, default=0)
        by = scale / slide.levels[chosen].downsample
        if by > _MAX_REDUCTION:
            part = self._from_overview(number, slide, scale, (column, row), (width, height))
        else:
            x, y = round(column * _TILE * by), round(row * _TILE * by)
            wide, high = max(1, round(width * by)), max(1, round(height * by))
            try:
                part = slide.read(chosen, x, y, wide, high)
            except FieldError as error:
                raise PictureError(f"{self._names[number]}: {error}") from error
        if part.shape[:2] != (height, width):
            method = cv2.INTER_AREA if part.shape[0] > height else cv2.INTER_LINEAR
            part = np.asarray(cv2.resize(part, (width, height), interpolation=method), np.uint8)
        return to_jpeg(part, _QUALITY)

    def _open(self, number: int) -> Slide:
        if not 0 <= number < len(self._names):
            raise PictureError("there is no such slide")
        with self._turn:
            if number not in self._paths:
                source = self._pictures.source(self._parts[self._names[number]][0])
                assert isinstance(source.path, Path)
                self._paths[number] = source.path
        try:
            return open_slide(self._paths[number])
        except FieldError as error:
            raise PictureError(f"{self._names[number]}: {error}") from error

    def _from_overview(
        self,
        number: int,
        slide: Slide,
        scale: float,
        place: tuple[int, int],
        size: tuple[int, int],
    ) -> Pixels:
        """Return a tile of a slide without levels: nobody waits until all of it is read."""
        if number not in self._overviews:
            self._overviews[number] = self._read_overview(self._names[number])
        overview = self._overviews[number]
        if overview is None:
            raise PictureError("the slide has no reduced levels; move closer to see it")
        by = scale * overview.shape[1] / slide.width
        # Each pixel of the tile from its place on the overview, between four of its pixels.
        across, down = (
            (np.arange(length, dtype=np.float32) + at * _TILE + 0.5) * by - 0.5
            for at, length in zip(place, size, strict=True)
        )
        grid_x, grid_y = np.meshgrid(across.astype(np.float32), down.astype(np.float32))
        taken = cv2.remap(
            overview, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(taken, np.uint8)

    def _read_overview(self, name: str) -> Pixels | None:
        stem = picture_name(name).removesuffix(".jpg")
        try:
            data = read_own(self._report.folder, f"{MAPS}/{stem}{OVERVIEW}")
        except OSError:  # of a report from before there was one
            return None
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return None if picture is None else np.asarray(picture, np.uint8)

    def _describe(self, number: int, name: str) -> dict[str, Any]:
        parts, right, bottom = [], 1.0, 1.0
        um = None
        for field in self._parts[name]:
            result = self._report.fields[field].result
            region = result.region
            assert region is not None
            um = region.um_per_px / region.downsample
            x0, y0, x1, y1 = region.on_slide((0, 0, result.width, result.height))
            parts.append([field, x0, y0, x1, y1, region.downsample, region.edge])
            right, bottom = max(right, x1), max(bottom, y1)
        problem, levels = None, 0
        try:
            slide = self._open(number)
            right, bottom, levels = slide.width, slide.height, len(slide.levels)
        except PictureError as error:
            problem = str(error)
        return {
            "name": name, "width": right, "height": bottom, "um_per_px": um, "levels": levels,
            "parts": parts, "zone": list(self._zone(name)), "problem": problem,
        }  # fmt: skip

    def _zone(self, name: str) -> Iterator[list[list[float]]]:
        """Yield the outlines of the zone that was found, as the report has them for QuPath."""
        stem = picture_name(name).removesuffix(".jpg")
        try:
            document = parse_json(read_own(self._report.folder, f"{MAPS}/{stem}.geojson"))
            for feature in document["features"]:
                if feature["properties"].get("objectType") == "annotation":
                    for ring in feature["geometry"]["coordinates"]:
                        yield [[float(x), float(y)] for x, y in ring]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # the map does without


def slide_routes(session: Session, static: Path) -> APIRouter:
    """Return what the map of the slides asks for."""
    routes = APIRouter()
    views = SlideViews(session.state.report, session.pictures)

    def check(mark: str | None) -> None:
        # The browser keeps tiles by their address: none of this report under another's mark.
        if mark not in (None, session.mark):
            raise PictureError("this page shows another report; load it again")

    @routes.get("/map")
    def page() -> Response:
        return FileResponse(static / "map.html", headers={"Cache-Control": "no-cache"})

    @routes.get("/api/slides")
    def slides() -> list[dict[str, Any]]:
        return views.describe()

    @routes.get("/slide/{number}.dzi")
    def descriptor(number: int, mark: str | None = None) -> Response:
        check(mark)
        width, height = views.size(number)
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg" '
            f'Overlap="0" TileSize="{_TILE}">'
            f"<Size Width={quoteattr(str(width))} Height={quoteattr(str(height))}/></Image>"
        )
        return Response(text, media_type="application/xml")

    @routes.get("/slide/{number}_files/{level}/{column}_{row}.jpeg")
    def tile(number: int, level: int, column: int, row: int, mark: str | None = None) -> Response:
        check(mark)
        if not 0 <= level <= _MAX_LEVEL or max(column, row) > 1 << _MAX_LEVEL:
            raise PictureError("there is no such part of the slide")
        data = views.tile(number, level, column, row)
        return Response(data, media_type="image/jpeg", headers=_HEADERS)

    return routes
