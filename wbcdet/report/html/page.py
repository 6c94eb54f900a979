"""The page of a count, ``report.html``: self-contained, without scripts, printed on A4."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wbcdet.differential.differential import Differential
from wbcdet.records import NOTICE
from wbcdet.report.counts import GroupNotes
from wbcdet.report.html.gallery import CellPicture, Section
from wbcdet.report.html.slide_sheet import OVERVIEW_LABELS, Sheet, make_sheet
from wbcdet.results.palette import colour_of
from wbcdet.utils.text import one_line

#: Fields in a list; the rest is in fields.csv.
_MAX_LISTED = 200
#: What fits below a thumbnail of a field's name; its end tells fields apart.
_FILE_LETTERS = 14
#: Cells of each label on a printed sheet, and sheets up to which they are on the page.
_IN_STRIP, _MAX_STRIPS = 6, 20

#: Gives the JPEG thumbnail at a place.
Picture = Callable[[tuple[int, int]], bytes]


@dataclass(frozen=True, slots=True)
class Content:
    """What a page shows.

    Attributes:
        title: name of what was counted.
        grouped: the cells were grouped to slides, each with its name.
        info: the header of the journal: versions, models, settings, date.
        how: how the cells were put together, a line each.
        differentials: one a slide.
        notes: the fields of each slide, by group.
        sections: the gallery.
    """

    title: str
    grouped: bool
    info: Mapping[str, Any]
    how: Sequence[str]
    differentials: Sequence[Differential]
    notes: Mapping[str, GroupNotes]
    sections: Sequence[Section]


def render(content: Content, picture: Picture) -> str:
    """The page as HTML.

    Args:
        content: what it shows.
        picture: gives the JPEG thumbnail at a place.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = content.differentials
    sheets = [
        make_sheet(
            number,
            one.group if content.grouped else content.title,
            one,
            content.notes[one.group],
            _strip(one, content, picture),
            last=one is found[-1],
        )
        for number, one in enumerate(found)
    ]
    page = {
        "title": one_line(content.title),
        "notice": NOTICE,
        "created": str(content.info["created"])[:16].replace("T", " ") + " UTC",
        "labels": OVERVIEW_LABELS,
        "sheets": sheets,
        "made": _made(content),
        "sections": [_section(number, one, picture) for number, one in enumerate(content.sections)],
        "cells": sum(len(one.shots) for one in content.sections),
        "shown": sum(one.shown for one in content.sections),
        "lists": _lists(content, sheets),
    }
    return environment.get_template("page.html").render(page=page)


def _strip(differential: Differential, content: Content, picture: Picture) -> list[dict[str, Any]]:
    """What the printed sheet shows of a slide's cells."""
    if len(content.differentials) > _MAX_STRIPS:
        return []
    return [
        {
            "label": section.label,
            "colour": colour_of(section.label),
            "total": len(section.shots),
            "cells": [_cell(shot, picture) for shot in section.shots[:_IN_STRIP]],
        }
        for section in content.sections
        if not content.grouped or section.group == differential.group
    ]


def _made(content: Content) -> list[str]:
    info = content.info
    models = [
        f"{info[role]['name']} (sha256 {info[role]['sha256'][:16]})"
        for role in ("detector", "classifier")
    ]
    settings = info["settings"]
    limits = [
        f"{name} {'of the model' if settings.get(key) is None else settings[key]}"
        for key, name in (("confidence", "cell threshold"), ("min_score", "name threshold"))
    ]
    sources = dict.fromkeys(
        one.source for differential in content.differentials for one in differential.ranges.values()
    )
    lines = [
        f"wbcdet {info['wbcdet']}; {'; '.join(models)}; settings {settings['fingerprint'][:16]}: "
        f"{', '.join(limits)}.",
        "Intervals: exact binomial (Clopper and Pearson), 95 %. "
        "A flag: the whole interval lies outside the reference range.",
        *content.how,
    ]
    if sources:
        lines.append(f"Reference ranges: {'; '.join(list(sources)[:2])[:300]}.")
    return lines


def _section(number: int, section: Section, picture: Picture) -> dict[str, Any]:
    return {
        "anchor": f"cells-{number}",
        "title": one_line(f"{section.group}: {section.label}" if section.group else section.label),
        "colour": colour_of(section.label),
        "total": len(section.shots),
        "shown": section.shown,
        "sheets": [
            {"link": quote(sheet), "name": sheet.rsplit("/", 1)[-1]} for sheet in section.sheets
        ],
        "cells": [_cell(shot, picture) for shot in section.shots[: section.shown]],
    }


def _cell(shot: CellPicture, picture: Picture) -> dict[str, Any]:
    file = one_line(shot.file)
    says = shot.reason or f"{shot.score:.2f}"
    return {
        "title": f"{file}, cell {shot.cell}: {shot.label} {says}",
        "alt": f"{shot.label} {says}",
        "link": quote(shot.link) if shot.link else None,
        "data": base64.b64encode(picture(shot.place)).decode(),
        "says": says,
        "row": shot.row,
        "file": file if len(file) <= _FILE_LETTERS else f"…{file[1 - _FILE_LETTERS :]}",
    }


def _lists(content: Content, sheets: Sequence[Sheet]) -> list[dict[str, Any]]:
    problems = [
        (one_line(file), "; ".join(what)) for sheet in sheets for file, what in sheet.notes.problems
    ]
    remarks = [
        (one_line(file), "; ".join(what)) for sheet in sheets for file, what in sheet.notes.remarks
    ]
    failures = [(one_line(file), why) for sheet in sheets for file, why in sheet.notes.failures]
    lists = (
        ("quality", "Fields with quality problems", problems),
        ("remarks", "Fields with remarks", remarks),
        ("failures", "Fields that could not be read", failures),
    )
    return [
        {"anchor": anchor, "title": title, "total": len(rows), "rows": rows[:_MAX_LISTED]}
        for anchor, title, rows in lists
        if rows
    ]
