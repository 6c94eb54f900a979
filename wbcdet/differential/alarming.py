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
    r"|juvenil|jugendlich|\bjov(en|em)|\bgiovan|\bjeunes?\b|kernhaltig|ядросодерж|rubri[ck]"
    r"|olgunlasmamis|cekirdekli (eritro|kirmizi|alyuvar)"
    # "Polinucleado" and "wielojądrzasty" are segmented granulocytes.
    r"|\bnucle(ated|ad[oa]s?|at[oaie]|e+s?)\b|\bjadrzast|kernhoudende? (eryt|rode)"
    r"|(eritro|erythro|hemati|hemaci|globul)\w*( \w+)* nucle(ad|at|e)"
    r"|幼|原始|芽球|芽細胞|母細胞|母细胞|有核|未成熟|未熟|骨髄球|骨髓球|成红|成紅|아세포|골수구|미성숙|유핵"
)
#: Letters whose accent is not a character of its own.
_UNACCENTED = str.maketrans("łøıđ", "loid")


@lru_cache(maxsize=4096)
def is_alarming(label: str) -> bool:
    """Say whether a name that a person or a taught classifier gives is of such a kind."""
    text = unicodedata.normalize("NFKD", label.casefold().translate(_UNACCENTED))
    text = "".join(sign for sign in text if not unicodedata.combining(sign))
    # Korean letters were taken apart, too.
    text = unicodedata.normalize("NFC", re.sub(r"[\W_]+", " ", text))
    return _KINDS.search(text) is not None
