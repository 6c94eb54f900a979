"""Carry over what the models in use have learnt and a run does not learn again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wbcdet.inference.weights import LEARNS, ROLES, Model, learned_folder, load_learned
from wbcdet.training.finetune.install import InstallError, learned_document


@dataclass(frozen=True, slots=True)
class Carried:
    """A learned model that goes on as it is.

    Attributes:
        model: with its card.
        rows: how it was judged: its table in ``learned.json``.
    """

    model: Model
    rows: list[dict[str, str]]

    @property
    def origin(self) -> dict[str, object]:
        """When it was made and of what, from its card."""
        said = self.model.card["learned"]
        return {
            "name": self.model.name,
            "created": said["created"],
            "wbcdet": said["wbcdet"],
            "reports": said["reports"],
            "data_sha256": said["data_sha256"],
        }


def learned_roles() -> list[str]:
    """Return which of the models in use have learnt something.

    Raises:
        InstallError, WeightsError: it cannot be read.
    """
    said = learned_document()
    return [role for role, what in LEARNS.items() if said.get(what) is not None]


def carry_over(untried: Mapping[str, str], shipped: Iterable[Model]) -> dict[str, Carried]:
    """Return the learned models in use that this run does not learn, by role.

    That all reports which they come from are named in this run is checked before.

    Args:
        untried: why a model is not learnt in this run, by role.
        shipped: detector and classifier that this run learns from.

    Raises:
        InstallError: one comes from another shipped model, and would be lost, or what they have
        learnt cannot be read.
        WeightsError: one is damaged.
    """
    folder, said = learned_folder(), learned_document()
    carried = {}
    for role, start in zip(ROLES, shipped, strict=True):
        if folder is None or role not in untried or said.get(LEARNS[role]) is None:
            continue
        model = load_learned(role, folder)
        if model.card.get("learned", {}).get("from_sha256") != start.sha256:
            raise InstallError(
                f"the {role} in use, {model.name}, comes from another shipped one and would be "
                f"lost, as {LEARNS[role]} is not learnt now ({untried[role]}): learn it too, or go "
                "back first with 'wbcdet learn --restore'"
            )
        carried[role] = Carried(model, said[LEARNS[role]])
    return carried
