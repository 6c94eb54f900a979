"""Tell which names of cells are of a kind of which a single one matters, as of a blast."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

#: What such names hold, without accents: blasts of any line, the stages of granulocytes before
#: bands, nucleated red cells; English, Spanish, Portuguese, Italian, French, German, Dutch, Polish,
#: Turkish, Russian, Chinese, Japanese and Korean.
_KINDS = re.compile(
    r"blast|бласт|m(i|y|iy)elo[ckzs]|миелоц|immatur|inmadur|imatur|unreif|niedojrzal|onrijp"
    r"|незрел|\bюн|\bpro(lympho|linfo|mono)|про(лимфо|моно)|\bigs?\b|\bnrbcs?\b"
    r"|juvenil|jugendlich|\bjov(en|em)|\bgiovan|\bjeunes?\b|kernhaltig|ядросодерж"
    r"|olgunlasmamis|nucleated (red|rbc|eryth)|cekirdekli (eritro|alyuvar)"
    # "Polinucleado" and "wielojądrzasty" are segmented granulocytes.
    r"|(eritro|erythro|hemati|hemaci|globul)\w*( \w+)* nucle(ad|at|e)|\bjadrzast"
    r"|kernhoudende? (eryt|rode)|幼|原始|芽球|有核|아세포|골수구"
)
#: Letters whose accent is no sign of its own.
_UNACCENTED = str.maketrans("łøıđ", "loid")


@lru_cache(maxsize=4096)
def is_alarming(label: str) -> bool:
    """Say whether a name that a person or a taught classifier gives is of such a kind."""
    text = unicodedata.normalize("NFKD", label.casefold().translate(_UNACCENTED))
    text = "".join(sign for sign in text if not unicodedata.combining(sign))
    # Korean letters were taken apart, too.
    text = unicodedata.normalize("NFC", re.sub(r"[\W_]+", " ", text))
    return _KINDS.search(text) is not None
