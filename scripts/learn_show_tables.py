"""The tables of `learn_show.py`, means over the draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from learn_show_names import BY_FIELD, NAMES

Rows = list[dict[str, Any]]


def print_tables(rows: Rows) -> None:
    """Print all tables, means over the draws."""

    def of(part: str) -> Rows:
        return [row for row in rows if row["part"] == part]

    def mean(some: Rows, name: str) -> float:
        return 100 * float(np.mean([row[name] for row in some]))

    print("\n| laboratory | reviewed | judged | right before % | right after % (95 %) | draws | "
          "others before, after % |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for lab in NAMES:
        for size in sorted({row["size"] for row in of("names")}):
            some = [r for r in of("names") if r["laboratory"] == lab and r["size"] == size]
            if some:
                low, high = (100 * float(np.mean([r["ci"][k] for r in some])) for k in (0, 1))
                print(
                    f"| {lab} | {some[0]['reviewed']} | {some[0]['judged']} | "
                    f"{mean(some, 'before'):.1f} | {mean(some, 'after'):.1f} "
                    f"({low:.1f} - {high:.1f}) | {len(some)} | "
                    f"{mean(some, 'others_before'):.1f}, {mean(some, 'others_after'):.1f} |"
                )
    for size in sorted({row["size"] for row in of("names")}):
        labs = {
            lab: [r for r in of("names") if r["laboratory"] == lab and r["size"] == size]
            for lab in NAMES
            if not lab.endswith(BY_FIELD)
        }
        shares = [mean(some, "after") for some in labs.values() if some]
        print(f"mean of {len(shares)} laboratories, {size} cells: {np.mean(shares):.1f} %, "
              f"least {min(shares):.1f} %")  # fmt: skip
    print("\n| laboratory | reviewed: fields, drawn, taken away | judged: fields, cells | found "
          "before, after % | false boxes a field | missed found % | others (found; false) | "
          "threshold | taken |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for r in of("finding"):
        gained = (r["after"] - r["before"]) / max(1 - r["before"], 1e-9)
        print(
            f"| {r['laboratory']} | {r['reviewed']}, {r['drawn']}, {r['taken']} | "
            f"{r['judged']}, {r['cells']} | {100 * r['before']:.1f}, "
            f"{100 * r['after']:.1f} | {r['false_before']:.3f}, {r['false_after']:.3f} | "
            f"{100 * gained:.0f} | {100 * r['others_before']:.1f}, {100 * r['others_after']:.1f}; "
            f"{r['others_false_before']:.3f}, {r['others_false_after']:.3f} | "
            f"{r['threshold']:.2f} | {r['better']} |"
        )
    print("\n| laboratory | judged | before % | 50 by chance % | 50 most useful % |\n"
          "|---|---|---|---|---|")  # fmt: skip
    for r in of("useful"):
        print(f"| {r['laboratory']} | {r['judged']} | {100 * r['before']:.1f} | "
              f"{100 * r['chance']:.1f} | {100 * r['useful']:.1f} |")  # fmt: skip
    print("\n| laboratory | type | cells of it learnt, judged | so named % | others so named % |\n"
          "|---|---|---|---|---|")  # fmt: skip
    for r in of("own"):
        print(f"| {r['laboratory']} | {r['type']} | {r['of_type']}, {r['judged']} | "
              f"{100 * r['named']:.1f} | {100 * r['others_so_named']:.1f} |")  # fmt: skip
    print("\n| laboratory | judged | before % | adapted without labels % |\n|---|---|---|---|")
    for r in of("adapt"):
        print(f"| {r['laboratory']} | {r['judged']} | {100 * r['before']:.1f} | "
              f"{100 * r['after']:.1f} |")  # fmt: skip
