"""The page of a count, ``report.html``: self-contained, without scripts, printed on A4."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from wbcdet.differential.differential import Differential, overview_labels
from wbcdet.differential.identifiers import Identifiers
from wbcdet.inference.run_info import RunInfo
from wbcdet.records import NOTICE
from wbcdet.report.counts import GroupNotes
from wbcdet.report.html.gallery import IN_BULK, ONE_BY_ONE, CellPicture, Section
from wbcdet.report.html.slide_sheet import Sheet, Signature, make_sheet
from wbcdet.report.journal import Place
from wbcdet.report.slide_map import SlideMap
from wbcdet.results.document import describe_model
from wbcdet.results.palette import colour_of
from wbcdet.utils.pages import render_page
from wbcdet.utils.text import one_line
from wbcdet.utils.words import _

#: Fields in a list; the rest is in fields.csv.
_MAX_LISTED = 200
#: Pictures of fields without a cell.
_MAX_EMPTY_SHOWN = 60
#: Text below the thumbnail of a cell that a person decided on.
_MARKS = {"": "", ONE_BY_ONE: "✓", IN_BULK: "≡"}
#: Cells of each label on a printed sheet, and sheets up to which they are on the page.
_IN_STRIP, _MAX_STRIPS = 6, 20
#: Letters of a field's name under a printed tile: two lines.
_MAX_LEAF = 18

#: Maps on the page; all of them lie in maps/.
_MAX_MAPS = 20

#: Gives the JPEG thumbnail at a place.
Picture = Callable[[Place], bytes]


@dataclass(frozen=True, slots=True)
class EmptyField:
    """A field in which no cell was found.

    Attributes:
        file: its name.
        place: where its picture is; None without one.
        link: its annotated picture, as a path below the report folder, or None.
    """

    file: str
    place: Place | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """Contents of a page.

    Attributes:
        title: name of what was counted.
        grouped: the cells were grouped to slides, each with its name.
        info: the header of the journal: versions, models, settings, date.
        how: how the cells were put together, a line each.
        differentials: one a slide.
        notes: the fields of each slide, by group.
        sections: the gallery.
        empty: fields in which no cell was found.
        signatures: of a reviewed report: by group, who signed it; None where nobody has.
        identifiers: by group, what the laboratory calls it.
        maps: of slides: where was counted.
    """

    title: str
    grouped: bool
    info: RunInfo
    how: Sequence[str]
    differentials: Sequence[Differential]
    notes: Mapping[str, GroupNotes]
    sections: Sequence[Section]
    empty: Sequence[EmptyField] = ()
    signatures: Mapping[str, Signature | None] = field(default_factory=dict)
    identifiers: Mapping[str, Identifiers] = field(default_factory=dict)
    maps: Sequence[SlideMap] = ()


def render(content: Content, picture: Picture) -> str:
    """Return the page as HTML.

    Args:
        content: what it shows.
        picture: gives the JPEG thumbnail at a place.
    """
    differentials, made = content.differentials, _made(content)
    sheets = [
        make_sheet(
            number,
            differential.group if content.grouped else content.title,
            differential,
            content.notes[differential.group],
            _strip(differential, content, picture),
            last=differential is differentials[-1],
            signature=content.signatures.get(differential.group),
            reviewed=differential.group in content.signatures,
            identifiers=content.identifiers.get(differential.group, Identifiers()),
            made=made,
        )
        for number, differential in enumerate(differentials)
    ]
    page = {
        "title": one_line(content.title),
        "notice": _(NOTICE),
        "created": str(content.info["created"])[:16].replace("T", " ") + " UTC",
        "labels": overview_labels(differentials),
        "reviewed": bool(content.signatures),
        "sheets": sheets,
        "made": made,
        "sections": [
            _section(number, section, picture) for number, section in enumerate(content.sections)
        ],
        "cells": sum(len(section.shots) for section in content.sections),
        "shown": sum(section.shown for section in content.sections),
        "empty": _empty(content.empty, picture),
        "maps": [
            {
                "title": one_line(slide_map.title),
                "caption": slide_map.caption,
                "data": base64.b64encode(slide_map.jpeg).decode(),
            }
            for slide_map in content.maps[:_MAX_MAPS]
        ],
        "lists": _lists(content, sheets),
    }
    return render_page(__file__, page=page)


def style() -> str:
    """Return the style sheet of all pages of results."""
    return (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def _strip(
    differential: Differential, content: Content, picture: Picture
) -> list[dict[str, object]]:
    """Return what the printed sheet shows of a slide's cells."""
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
        f"{describe_model(info[role])} (sha256 {info[role]['sha256'][:16]})"
        for role in ("detector", "classifier")
    ]
    settings = info["settings"]
    fingerprint = str(settings["fingerprint"])[:16]
    sources = dict.fromkeys(
        reference.source
        for differential in content.differentials
        for reference in differential.ranges.values()
    )
    lines = [
        f"wbcdet {info['wbcdet']}; {'; '.join(models)}; {_('settings')} {fingerprint}"
        f"{', careful' if settings.get('careful') else ''}.",
        _("Thresholds in force: {thresholds}.", thresholds=thresholds_text(info)),
        _("Intervals: exact binomial (Clopper and Pearson), 95 %.")
        + " "
        + _("A flag: the whole interval lies outside the reference range."),
        *content.how,
    ]
    if sources:
        lines.append(_("Reference ranges: {sources}.", sources="; ".join(list(sources)[:2])[:300]))
    return lines


def thresholds_text(info: RunInfo) -> str:
    """Return the thresholds in force, as numbers.

    Args:
        info: of a run; one of an older version may name only what was asked for.
    """
    known = info.get("thresholds")
    if not known:
        settings = info["settings"]
        said = {key: settings.get(key) for key in ("confidence", "min_score")}
        cell, name = (_("of the model") if v is None else f"{v:g}" for v in said.values())
        return _("cell {cell}, name {name}", cell=cell, name=name)
    by_label = known["min_score"]
    scores = sorted(set(by_label.values()))
    name = (
        f"{scores[0]:g}"
        if len(scores) == 1
        else ", ".join(f"{_(label)} {score:g}" for label, score in by_label.items())
    )
    unlike = known["unlike_trained"]
    text = _("cell {cell}, name {name}", cell=f"{known['confidence']:g}", name=name)
    if unlike is None:
        return text
    return text + ", " + _("unlike-trained beyond a distance of {distance}", distance=f"{unlike:g}")


def _empty(empty: Sequence[EmptyField], picture: Picture) -> dict[str, object]:
    """Return the fields without a cell: pictures of the first, then names."""
    pictured = [field for field in empty if field.place is not None][:_MAX_EMPTY_SHOWN]
    shown = [
        {
            "file": one_line(field.file),
            "link": quote(field.link) if field.link else None,
            "data": base64.b64encode(picture(field.place)).decode(),
        }
        for field in pictured
        if field.place is not None
    ]
    named = {field.file for field in pictured}
    rest = [one_line(field.file) for field in empty if field.file not in named]
    return {"total": len(empty), "shown": shown, "names": rest[:_MAX_LISTED]}


def _section(number: int, section: Section, picture: Picture) -> dict[str, object]:
    label = _(section.label)
    return {
        "anchor": f"cells-{number}",
        "title": one_line(f"{section.group}: {label}" if section.group else label),
        "colour": colour_of(section.label),
        "total": len(section.shots),
        "shown": section.shown,
        "sheets": [
            {"link": quote(sheet), "name": sheet.rsplit("/", 1)[-1]} for sheet in section.sheets
        ],
        "cells": [_cell(shot, picture) for shot in section.shots[: section.shown]],
    }


def _cell(shot: CellPicture, picture: Picture) -> dict[str, object]:
    file = one_line(shot.file)
    # A person's own name or box has no score of the machine.
    label, says = _(shot.label), _(shot.reason or (f"{shot.score:.2f}" if shot.score else "–"))
    return {
        "title": f"{file}, {_('cell {n}', n=shot.cell)}: {label} {says}",
        "alt": f"{label} {says}",
        "link": quote(shot.link) if shot.link else None,
        "data": base64.b64encode(picture(shot.place)).decode(),
        "says": says,
        "row": shot.row,
        "mark": _MARKS[shot.mark],
        "file": file,
        "leaf": _leaf(file),
    }


def _leaf(file: str) -> str:
    """Return the end of a field's name, by which the names of one camera differ."""
    leaf = PurePosixPath(file).stem
    return leaf if len(leaf) <= _MAX_LEAF else f"…{leaf[1 - _MAX_LEAF :]}"


def _lists(content: Content, sheets: Sequence[Sheet]) -> list[dict[str, object]]:
    problems = [
        (one_line(file), "; ".join(map(_, what)))
        for sheet in sheets
        for file, what in sheet.notes.problems
    ]
    remarks = [
        (one_line(file), "; ".join(what)) for sheet in sheets for file, what in sheet.notes.remarks
    ]
    failures = [(one_line(file), why) for sheet in sheets for file, why in sheet.notes.failures]
    lists = (
        ("quality", _("Fields with quality problems"), problems),
        ("remarks", _("Fields with remarks"), remarks),
        ("failures", _("Fields that could not be read"), failures),
    )
    return [
        {"anchor": anchor, "title": title, "total": len(rows), "rows": rows[:_MAX_LISTED]}
        for anchor, title, rows in lists
        if rows
    ]
