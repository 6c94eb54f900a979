"""The colours of a stained slide, as optical densities under one lamp and camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Bgr = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Stain:
    """Colours of one laboratory's slides.

    Every colour but the ground is an optical density per channel (B, G, R; natural logarithm) at
    usual thickness: a layer of density d lets exp(-d) of the light through.

    Attributes:
        name: short name of the look.
        ground: B, G, R of clear glass, 1..255.
        red: haemoglobin and eosin of a red cell.
        nucleus: chromatin, also the base of platelets and basophil granules.
        pink: cytoplasm of a neutrophil.
        blue: cytoplasm of lymphocytes and monocytes.
        eosin: granules of an eosinophil.
        azure: fine granules of neutrophils and monocytes.
        pallor: usual depth of the pale centre of red cells, 0..1.
    """

    name: str
    ground: Bgr
    red: Bgr
    nucleus: Bgr
    pink: Bgr
    blue: Bgr
    eosin: Bgr
    azure: Bgr
    pallor: float = 0.5

    def __post_init__(self) -> None:
        if not all(1 <= value <= 255 for value in self.ground):
            raise ValueError(f"stain {self.name!r}: ground must lie in 1..255, not {self.ground}")
        for part in ("red", "nucleus", "pink", "blue", "eosin", "azure"):
            if not all(0 <= value <= 5 for value in getattr(self, part)):
                raise ValueError(f"stain {self.name!r}: density of {part} must lie in 0..5")
        if not 0 <= self.pallor <= 1:
            raise ValueError(f"stain {self.name!r}: pallor must lie in 0..1, not {self.pallor}")


#: Looks with the grounds and densities that public smears of several laboratories show.
STAINS: tuple[Stain, ...] = (
    Stain(
        "grey",
        ground=(199, 203, 199),
        red=(0.25, 0.31, 0.14),
        nucleus=(0.10, 1.35, 0.75),
        pink=(0.09, 0.40, 0.19),
        blue=(0.07, 0.38, 0.29),
        eosin=(0.42, 0.78, 0.22),
        azure=(0.10, 0.55, 0.28),
        pallor=0.62,
    ),
    Stain(
        "buff",
        ground=(202, 228, 253),
        red=(0.25, 0.36, 0.25),
        nucleus=(0.41, 2.00, 1.25),
        pink=(0.14, 0.32, 0.21),
        blue=(0.17, 0.50, 0.44),
        eosin=(0.50, 0.92, 0.40),
        azure=(0.25, 0.60, 0.42),
        pallor=0.68,
    ),
    Stain(
        "pinkish-grey",
        ground=(176, 187, 223),
        red=(0.30, 0.58, 0.40),
        nucleus=(0.55, 2.30, 0.90),
        pink=(0.21, 0.44, 0.21),
        blue=(0.15, 0.38, 0.22),
        eosin=(0.48, 0.86, 0.30),
        azure=(0.35, 0.75, 0.40),
        pallor=0.8,
    ),
    Stain(
        "blue-green",
        ground=(178, 176, 148),
        red=(0.44, 0.62, 0.38),
        nucleus=(0.75, 2.05, 1.00),
        pink=(0.28, 0.56, 0.16),
        blue=(0.23, 0.60, 0.28),
        eosin=(0.56, 0.96, 0.24),
        azure=(0.35, 0.75, 0.22),
        pallor=0.62,
    ),
    Stain(
        "yellow",
        ground=(112, 160, 176),
        red=(0.45, 0.62, 0.42),
        nucleus=(0.65, 1.95, 0.95),
        pink=(0.26, 0.54, 0.20),
        blue=(0.22, 0.60, 0.34),
        eosin=(0.56, 0.92, 0.30),
        azure=(0.32, 0.72, 0.30),
        pallor=0.5,
    ),
    Stain(
        "warm-grey",
        ground=(160, 158, 166),
        red=(0.42, 0.58, 0.40),
        nucleus=(0.70, 2.05, 1.05),
        pink=(0.27, 0.54, 0.20),
        blue=(0.22, 0.60, 0.34),
        eosin=(0.55, 0.95, 0.30),
        azure=(0.34, 0.72, 0.28),
        pallor=0.62,
    ),
)


def vary(stain: Stain, rng: np.random.Generator) -> Stain:
    """Vary a stain as slides of one laboratory do, with staining time, pH and lamp.

    Args:
        stain: the usual look.
        rng: source of chance; drawn from the same number of times for every stain.

    Returns:
        A stain near the given one.
    """
    lamp = np.exp(rng.normal(0, 0.02, 3))

    def shift(usual: Bgr) -> Bgr:
        strength = np.exp(rng.normal(0, 0.08)) * np.exp(rng.normal(0, 0.035, 3))
        b, g, r = np.clip(np.asarray(usual) * strength, 0, 5)
        return float(b), float(g), float(r)

    b, g, r = np.clip(np.asarray(stain.ground) * lamp, 1, 255)
    return replace(
        stain,
        ground=(float(b), float(g), float(r)),
        red=shift(stain.red),
        nucleus=shift(stain.nucleus),
        pink=shift(stain.pink),
        blue=shift(stain.blue),
        eosin=shift(stain.eosin),
        azure=shift(stain.azure),
        pallor=float(np.clip(stain.pallor + rng.normal(0, 0.1), 0.05, 0.95)),
    )
