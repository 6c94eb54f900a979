"""What the review page says at its top, in the language of its reader."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import INFO

from wbcdet.inference.domain_shift import UNLIKE, Beyond, GroundVerdict, translated_reasons
from wbcdet.records import FieldResult
from wbcdet.results.document import build_document, dump
from wbcdet.review.session import Session
from wbcdet.utils.words import LANGUAGES, speaking


def test_reasons_are_translated_where_the_figures_give_them() -> None:
    ground = GroundVerdict(UNLIKE, {"stain": Beyond(10, 10, 5.0)}).to_dict()
    assert translated_reasons(ground) == ground["reasons"]
    with speaking("es"):
        assert translated_reasons(ground) == [
            "100 % de los campos tiene otra tinción, luz o cámara (5 % en el entrenamiento)"
        ]
        by_median = GroundVerdict(UNLIKE, {"distance": Beyond(22, 1, 3.0, 21, 1.25)}).to_dict()
        assert translated_reasons(by_median) == [
            "95 % de las células está a más de 1.25 de las de entrenamiento (50 % en el "
            "entrenamiento)"
        ]
        # As another version may have said it.
        ground["reasons"] = ["looks odd"]
        assert translated_reasons(ground) == ["looks odd"]


def test_the_top_of_the_page_is_in_the_language_of_its_reader(tmp_path: Path) -> None:
    document = build_document(INFO, [FieldResult("gone.png", 640, 480)])
    ground = GroundVerdict(UNLIKE, {"stain": Beyond(10, 10, 5.0)}).to_dict()
    document["slides"][0]["ground"] = ground  # type: ignore[index]
    (tmp_path / "results.json").write_text(dump(document))
    said = {}
    for language in LANGUAGES:
        with speaking(language):
            session = Session(tmp_path)
            said[language] = session.notes
            session.close()
    english = said["en"]
    assert "1 of 1 field holds no cell that was found: look whether cells were missed" in english[0]
    assert english[1].endswith(
        "another stain, light or camera (5 % in the training). Look at every cell."
    )
    assert english[2].startswith("Fields cannot be shown: ") and len(english) == 4
    for language in LANGUAGES[1:]:
        assert len(said[language]) == 4 and not set(said[language]) & set(english)
        for text, source in zip(said[language][:2], english, strict=False):
            assert sorted(re.findall(r"\d+", text)) == sorted(re.findall(r"\d+", source))
