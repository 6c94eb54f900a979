"""The differential: exact intervals, targets, reference ranges, groups."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import make_cell
from rich.console import Console

import wbcdet
from wbcdet.differential.csv_table import TableError, number, read_table
from wbcdet.differential.differential import DIFFERENTIAL_COLUMNS, Differential, differentials
from wbcdet.differential.grouping import (
    NO_GROUP,
    GroupingError,
    check_grouping,
    group_of,
    no_group_warning,
)
from wbcdet.differential.identifiers import read_identifiers
from wbcdet.differential.reference_ranges import ReferenceRange, read_ranges
from wbcdet.io.source import RootInfo
from wbcdet.records import LABELS, CellType, FieldResult
from wbcdet.report.terminal import print_differentials
from wbcdet.results.named_apart import with_parts
from wbcdet.utils.csv_text import original
from wbcdet.utils.files import write_csv
from wbcdet.utils.intervals import clopper_pearson

#: Table of 95 % limits (C. L. Rümke, "Statistically expected variability in differential
#: leukocyte counting", in J. A. Koepke (ed.), Differential Leukocyte Counting, College of American
#: Pathologists, 1978): cells counted, percent found, limits in whole percent, the lower one
#: rounded down and the upper one up.
RUEMKE = [
    *((100, 0, 0, 4), (100, 1, 0, 6), (100, 2, 0, 8), (100, 5, 1, 12), (100, 9, 4, 17)),
    *((100, 10, 4, 18), (100, 25, 16, 35), (100, 40, 30, 51), (100, 50, 39, 61)),
    *((200, 0, 0, 2), (200, 5, 2, 10), (200, 10, 6, 16), (200, 50, 42, 58)),
    *((500, 5, 3, 8), (500, 50, 45, 55), (1000, 5, 3, 7), (1000, 50, 46, 54)),
]


def field(
    file: str = "a.jpg", unclassified: dict[str, int] | None = None, **counts: int
) -> FieldResult:
    """Return a field with so many cells of each label, and unclassified ones by reason."""
    cells = [make_cell(0, label=CellType(label)) for label, n in counts.items() for _ in range(n)]
    for reason, times in (unclassified or {}).items():
        cells += [make_cell(0, label=CellType.UNCLASSIFIED, reason=reason)] * times
    return FieldResult(file, 640, 480, tuple(cells))


@dataclass(frozen=True)
class Reviewed:
    """A cell under a name that the classifier does not have."""

    label: str
    reason: str | None = None
    touches_edge: bool = False


@dataclass(frozen=True)
class ReviewedField:
    file: str
    cells: tuple[Reviewed, ...]
    failure: str | None = None


def only(results: list[FieldResult], **options: object) -> Differential:
    [differential] = differentials(results, **options)  # type: ignore[arg-type]
    return differential


@pytest.mark.parametrize(("total", "percent", "low", "high"), RUEMKE)
def test_ruemkes_table_falls_out(total: int, percent: int, low: int, high: int) -> None:
    ends = clopper_pearson(percent * total // 100, total)
    assert (math.floor(100 * ends[0]), math.ceil(100 * ends[1])) == (low, high)


def test_interval_is_the_exact_one() -> None:
    low, high = clopper_pearson(5, 100)
    assert (round(100 * low, 1), round(100 * high, 1)) == (1.6, 11.3)
    # The definition: at the lower end 5 or more have 2.5 %, at the upper end 5 or fewer.
    weights = [math.comb(100, k) for k in range(101)]
    above = sum(weights[k] * low**k * (1 - low) ** (100 - k) for k in range(5, 101))
    below = sum(weights[k] * high**k * (1 - high) ** (100 - k) for k in range(6))
    assert above == pytest.approx(0.025) and below == pytest.approx(0.025)
    assert clopper_pearson(0, 7)[0] == 0 and clopper_pearson(7, 7)[1] == 1
    for wrong in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(ValueError):
            clopper_pearson(*wrong)


def test_percentages_are_of_the_classified_cells() -> None:
    differential = only(
        [
            field(neutrophil=5, monocyte=1, unclassified={"low-score": 2}),
            field(lymphocyte=2, unclassified={"artefact": 1, "low-score": 1}),
            FieldResult.failed("b.jpg", "file is empty"),
        ]
    )
    assert differential.counts == {"eosinophil": 0, "lymphocyte": 2, "monocyte": 1, "neutrophil": 5}
    assert differential.classified == 8
    assert differential.unclassified == {"low-score": 3, "artefact": 1}
    assert (differential.fields, differential.not_read) == (2, 1)
    shares = {share.label: share for share in differential.shares()}
    assert shares["neutrophil"].percent == 62.5
    assert [round(100 * end, 6) for end in clopper_pearson(5, 8)] == [
        round(shares["neutrophil"].ci_low or 0, 6),
        round(shares["neutrophil"].ci_high or 0, 6),
    ]
    assert sum(share.percent or 0 for share in shares.values()) == pytest.approx(100)


def test_edge_cells_are_counted_apart_and_left_out_on_demand() -> None:
    cut = Reviewed("neutrophil", touches_edge=True)
    cells = (cut, Reviewed("neutrophil"), Reviewed("unclassified", "low-score", True))
    kept = only([ReviewedField("a.jpg", cells)])  # type: ignore[list-item]
    left = only([ReviewedField("a.jpg", cells)], exclude_edge=True)  # type: ignore[list-item]
    assert (kept.counts["neutrophil"], kept.edge, kept.unclassified) == (2, 2, {"low-score": 1})
    assert (left.counts["neutrophil"], left.edge, left.unclassified) == (1, 2, {})
    assert [counted.rows()[-1]["reason"] for counted in (kept, left)] == [
        "counted above",
        "left out",
    ]


def test_labels_added_by_a_person() -> None:
    names = ("basophil", "neutrophil", "artefact", "blast", "basophil")
    differential = only([ReviewedField("a.jpg", tuple(map(Reviewed, names)))])  # type: ignore[list-item]
    assert list(differential.counts) == [*(str(label) for label in LABELS), "basophil", "blast"]
    # A basophil is a leukocyte and in the denominator, an artefact is neither.
    assert differential.classified == 4 and differential.artefacts == 1
    assert {share.label: share.percent for share in differential.shares()}["basophil"] == 50
    assert {"label": "artefact", "count": 1}.items() <= differential.rows()[-2].items()


def test_nothing_counted_has_no_percentages() -> None:
    for results in ([], [field()], [field(unclassified={"low-score": 3})]):
        differential = only(results, target=100, ranges=read_ranges())
        assert {share.percent for share in differential.shares()} == {None}
        assert {share.flag for share in differential.shares()} == {""}
        assert differential.missing == 100
        assert "nothing can be said" in (differential.warning() or "")


def test_warning_says_what_is_missing() -> None:
    assert only([field(neutrophil=100)], target=100).warning() is None
    assert only([field(neutrophil=3)]).warning() is None
    line = only([field(neutrophil=60, lymphocyte=40)], target=200).warning()
    assert line is not None and "\n" not in line
    assert "all: 100 of 200 cells classified, 100 are missing" in line
    # 60 of 100: 49.72 to 69.67; 120 of 200: 52.86 to 66.85 (Clopper-Pearson).
    assert "of neutrophil (60.0 %) is 19.9 points wide and would be 14.0 with 200" in line


def test_flags_only_where_the_interval_leaves_the_range() -> None:
    ranges = {"neutrophil": ReferenceRange(40, 60, "test")}

    def flag(neutrophils: int, others: int) -> str:
        differential = only([field(neutrophil=neutrophils, lymphocyte=others)], ranges=ranges)
        shares = {share.label: share for share in differential.shares()}
        assert shares["lymphocyte"].flag == "" and shares["lymphocyte"].range is None
        return shares["neutrophil"].flag

    # 69 of 100: 59.0 to 77.9 still reaches into the range, 71 of 100: 61.1 to 79.6 does not.
    assert [flag(69, 31), flag(71, 29)] == ["", "high"]
    assert [flag(31, 69), flag(29, 71)] == ["", "low"]
    assert flag(7, 3) == ""  # ten cells say nothing


def test_shipped_ranges_have_a_source_and_fit_the_labels() -> None:
    ranges = read_ranges()
    assert {str(label) for label in LABELS} <= set(ranges)
    assert ranges["neutrophil"].low == 39 and ranges["eosinophil"].high == 7
    assert all("https://" in reference.source for reference in ranges.values())


def test_own_ranges_and_their_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    head = "label,low_percent,high_percent,source\n"
    path.write_bytes(
        "\ufefflabel;low_percent;high_percent;source\nNeutrophil;42,5;71;our lab\n".encode()
    )
    assert read_ranges(path) == {"neutrophil": ReferenceRange(42.5, 71, "our lab")}
    wrong = {
        "": "empty",
        head: "no row",
        "label,low_percent\nneutrophil,1\n": "column high_percent, source is missing",
        head + "neutrofil,1,2,x\n": "line 2: label 'neutrofil' is not one of",
        head + "neutrophil,one,2,x\n": "line 2: low_percent 'one' is no number",
        head + "neutrophil,1,200,x\n": "line 2: high_percent '200' is no number between 0 and 100",
        head + "neutrophil,nan,20,x\n": "low_percent 'nan'",
        head + "neutrophil,60,40,x\n": "low_percent 60 is not below 40",
        head + "neutrophil,40,60,\n": "source is empty",
        head + "monocyte,1,2,x\n\nmonocyte,1,2,x\n": "line 4: there is a second range for monocyte",
        head + "monocyte,1,2,x,y,z\n": "line 2 has 6 columns",
    }
    for text, expected in wrong.items():
        path.write_text(text, encoding="utf-8")
        with pytest.raises(TableError) as error:
            read_ranges(path)
        assert expected in str(error.value) and str(path) in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(TableError, match=r"none\.csv: cannot be read: .*; check its name"):
        read_ranges(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (("0.39,0.75", "0.16,0.47", "0.04,0.12", "0,0.07"), "upper limits add up to 1.41 %"),
        (("1.5,7.5", "1,4", "0.2,0.8", "0,0.5"), "upper limits add up to 12.8 %"),
        (("60,75", "30,47", "10,12", "5,7"), "lower limits add up to 105 %"),
    ],
)
def test_ranges_that_are_no_percentages(tmp_path: Path, limits: tuple[str, ...], said: str) -> None:
    """Shares of 1 and cells per litre would flag every slide as high."""
    path = tmp_path / "ranges.csv"
    labels = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")
    lines = [f"{label},{limit},mine" for label, limit in zip(labels, limits, strict=True)]
    path.write_text("\n".join(["label,low_percent,high_percent,source", *lines]))
    with pytest.raises(TableError, match=said) as error:
        read_ranges(path)
    assert str(path) in str(error.value) and "give percent" in str(error.value)


def test_a_column_that_stands_twice(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("label,Label,low_percent,high_percent,source\nneutrophil,monocyte,3,5,x\n")
    with pytest.raises(TableError, match="column label stands twice"):
        read_ranges(path)
    path.write_text("group,patient,Patient\nanna,P-1,P-2\n")
    with pytest.raises(TableError, match="column patient stands twice"):
        read_identifiers(path)
    assert number("1_000") is None


def test_rows_have_one_header() -> None:
    differential = only([field(neutrophil=5, eosinophil=95)], ranges=read_ranges())
    rows = differential.rows()
    assert all(tuple(row) == DIFFERENTIAL_COLUMNS for row in rows)
    found = next(row for row in rows if row["label"] == "neutrophil")
    assert found == {
        "group": "all",
        "label": "neutrophil",
        "count": 5,
        "percent": 5.0,
        "ci_low": 1.64,
        "ci_high": 11.28,
        "range_low": 39.0,
        "range_high": 75.0,
        "flag": "low",
        "classified": 100,
        "reason": None,
    }
    assert [row["label"] for row in rows] == [*(str(label) for label in LABELS), "edge"]


def test_groups_by_folder_and_pattern() -> None:
    names = ["p1/s1/a.jpg", "p1/s2/a.jpg", "p2/s1/a.jpg", "top.jpg", "p1/s1/b.jpg"]
    results = [field(name, neutrophil=n + 1) for n, name in enumerate(names)]
    by_folder = differentials(results, by="folder")
    assert [group.group for group in by_folder] == ["p1/s1", "p1/s2", "p2/s1", NO_GROUP]
    assert [group.classified for group in by_folder] == [6, 2, 3, 4]
    # As the command line groups them: below the folder that was given, whose name may match too.
    roots: list[RootInfo] = [{"name": "run7", "path": "/data/run7"}]
    inside = [replace(result, file=f"run7/{result.file}") for result in results]
    for by in ("folder", r"(\d+)"):
        groups = [one.group for one in differentials(results, by=by)]
        assert [one.group for one in differentials(inside, by=by, roots=roots)] == groups
    by_patient = differentials(results, by=r"^(p\d+)/")
    assert {group.group: group.classified for group in by_patient} == {
        "p1": 8,
        "p2": 3,
        NO_GROUP: 4,
    }
    assert sum(group.classified for group in by_patient) == only(results).classified


def test_group_of() -> None:
    assert group_of("a/б/x.jpg", "folder") == "a/б"
    assert group_of("x.jpg", "folder") == group_of("/x.jpg", "folder") == NO_GROUP
    assert group_of("day1-slide7-03.jpg", r"slide(\d+)") == "7"
    assert group_of("a-b", r"(?P<x>a)-(?P<group>b)") == "b"
    assert group_of("nothing", r"slide(\d+)") == NO_GROUP
    assert group_of("slide", r"slide(\d*)") == NO_GROUP  # an empty name is no group
    for by, expected in {
        "(": "neither 'folder' nor a valid pattern",
        "slide": "captures no part",
        "(a)(b)": "captures 2 parts",
    }.items():
        with pytest.raises(GroupingError, match=expected.replace("(", r"\(")) as error:
            check_grouping(by)
        assert "\n" not in str(error.value)
    check_grouping("folder")


def test_fields_without_a_group_are_named() -> None:
    assert no_group_warning([]) is None
    line = no_group_warning([f"line\nbreak {n}.jpg" for n in range(7)])
    assert line is not None and "\n" not in line
    assert line.startswith("7 fields have no group") and line.endswith("and 2 more")


def test_tables_as_spreadsheets_write_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for data in (b"a,b\r\n1,2\r\n\r\n", b"a;b\n1;2\n;\n", "a\tb\n1\t2".encode("utf-16")):
        path.write_bytes(data)
        assert read_table(path).header == ("a", "b")
        assert [cells for _, cells in read_table(path).rows] == [("1", "2")]
    path.write_bytes("näme,b\nü,2\n".encode("cp1252"))
    assert read_table(path).rows == ((2, ("ü", "2")),)
    for data, expected in ((b"PK\x03\x04", "save the sheet as CSV"), (b"a\0\xff", "no text file")):
        path.write_bytes(data)
        with pytest.raises(TableError, match=expected):
            read_table(path)
    assert [number(text) for text in ("1,5", " 2.5 %", "x", "inf", "", "1e2")] == [
        *(1.5, 2.5, None, None, None, 100.0)
    ]


def test_texts_with_line_ends_stay_in_one_cell(tmp_path: Path) -> None:
    """A lone carriage return ends a row for whoever reads the table, unless it is in quotes."""
    names = ["a\rb.png", "a\nb.png", "a\r\nb.png", "a\u2028b.png", "\r", 'a"b,c']
    write_csv(tmp_path / "t.csv", ("file", "n"), ({"file": name, "n": 1} for name in names))
    data = (tmp_path / "t.csv").read_bytes()
    assert data.startswith(b"file,n\n") and data.endswith(b",1\n")
    table = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert [(original(name), n) for name, n in table[1:]] == [(name, "1") for name in names]


def test_the_table_of_several_slides_has_every_label() -> None:
    """Also those that a laboratory has taught: the shares of a line add up to 100 %."""
    four = field("a/1.jpg", neutrophil=4)
    taught = replace(four.cells[0], label="basophil")
    results = [
        replace(four, cells=(taught, *four.cells[1:])),
        field("b/1.jpg", neutrophil=4),
        field("c/1.jpg", {"low-score": 1}),
    ]
    text = io.StringIO()
    print_differentials(Console(file=text, width=200), differentials(results, by="folder"))
    assert "basophil" in text.getvalue()
    rows = {line.split()[0]: line.split()[1:] for line in text.getvalue().splitlines() if line}
    assert [float(share) for share in rows["a"][1:6]] == [0, 0, 0, 75, 25]
    assert [float(share) for share in rows["b"][1:6]] == [0, 0, 0, 100, 0]
    assert "0.0" not in rows["c"]


def test_each_reason_has_a_row_with_its_share_of_all_white_cells() -> None:
    differential = only(
        [
            field(neutrophil=100, lymphocyte=30, unclassified={"low-score": 8, "artefact": 5}),
            field(unclassified={"basophil-like": 2, "blast-like": 1, "unlike-trained": 1}),
        ]
    )
    # Artefacts are no white cells.
    assert (differential.classified, differential.white_cells) == (130, 142)
    found = {share.label: share for share in differential.reasons()}
    assert list(found) == ["blast-like", "basophil-like", "unlike-trained", "low-score", "artefact"]
    assert found["basophil-like"].count == 2
    assert found["basophil-like"].percent == pytest.approx(100 * 2 / 142)
    low, high = clopper_pearson(2, 142)
    assert (found["basophil-like"].ci_low, found["basophil-like"].ci_high) == pytest.approx(
        (100 * low, 100 * high)
    )
    assert (found["artefact"].count, found["artefact"].percent) == (5, None)
    # The four keep their shares of the classified cells.
    assert differential.shares()[3].percent == pytest.approx(100 * 100 / 130)
    rows = [row for row in differential.rows() if row["label"] == "unclassified"]
    assert [row["reason"] for row in rows] == list(found)
    assert rows[1]["percent"] == 1.41 and rows[4]["percent"] is None
    assert all(tuple(row) == DIFFERENTIAL_COLUMNS for row in differential.rows())


@pytest.mark.parametrize("reason", ["blast-like", "immature-like", "erythroblast-like"])
def test_a_single_alarming_cell_is_flagged(reason: str) -> None:
    differential = only([field(neutrophil=400, unclassified={reason: 1, "basophil-like": 9})])
    flags = {share.label: share.flag for share in differential.reasons()}
    assert flags == {reason: "present", "basophil-like": ""}
    alarm = differential.alarm()
    assert alarm is not None and f"1 {reason}" in alarm and "\n" not in alarm
    assert {row["flag"] for row in differential.rows() if row["reason"] == reason} == {"present"}
    calm = only([field(neutrophil=400, unclassified={"basophil-like": 9, "low-score": 3})])
    assert calm.alarm() is None


def test_reasons_without_a_classified_cell_and_of_a_person() -> None:
    differential = only([field(unclassified={"by-reviewer": 1, "low-score": 1})])
    assert [share.label for share in differential.reasons()] == ["low-score", "by-reviewer"]
    assert [share.percent for share in differential.reasons()] == [50, 50]
    dirt = only([field(unclassified={"artefact": 3})])
    assert dirt.white_cells == 0
    assert [(share.count, share.percent) for share in dirt.reasons()] == [(3, None)]
    assert only([field()]).reasons() == []


@pytest.mark.parametrize(
    "name",
    [
        *("blast", "lymphoblast", "Mieloblastos", "бласты", "promyelocyte", "Metamyelozyt", "ig"),
        *("immature granulocyte", "granulocito inmaduro", "unreif", "nRBC", "erythroblast"),
        *("normoblast", "prolymphocyte", "миелоцит", "юные", "早幼粒", "原始细胞", "有核红"),
        *("miyelosit", "Jugendliche", "kernhaltige Rote", "hematíes nucleados", "neutrófilo joven"),
        *("globuli rossi nucleati", "globules rouges nucléés", "hemácias nucleadas"),
        *("kernhoudende erytrocyten", "erytrocyty jądrzaste", "çekirdekli eritrosit"),
        *(
            "eritrocitos nucleados",
            "hématies nucléées",
        ),
        *("eritrociti nucleati", "nucleated erythrocyte", "RBC, nucleated"),
        *(
            "未成熟粒细胞",
            "未熟顆粒球",
            "後骨髄球",
            "骨髓球",
            "成红细胞",
            "미성숙 과립구",
            "유핵적혈구",
        ),
        *("eritrócitos nucleados", "krwinki jądrzaste", "metarubricyte", "原母細胞"),
    ],
)
def test_a_name_of_which_a_single_cell_matters(name: str) -> None:
    """A classifier that was taught blasts names what the shipped one leaves unclassified as
    blast-like: the warning must not be lost with that."""
    fields = [ReviewedField("a.png", (*[Reviewed("neutrophil")] * 9, Reviewed(name)))]
    differential = only(fields)  # type: ignore[arg-type]
    assert {share.label: share.flag for share in differential.shares() if share.flag} == {
        name: "present"
    }
    assert str(differential.alarm()).startswith(f"all: 1 {name}: look at each")
    assert [row["label"] for row in differential.rows() if row["flag"] == "present"] == [name]


@pytest.mark.parametrize(
    "name",
    [
        *("band", "basophil", "reactive lymphocyte", "plasma cell", "pigment", "segmented"),
        *("polinucleado", "granulocyty wielojądrzaste", "parçalı çekirdekli nötrofil"),
        *("polynucléaire neutrophile", "polymorphonucleated", "çekirdekli parçalı", "分葉核球"),
        *("mononucleated cell", "成熟リンパ球", "성숙 림프구", "mononucleati"),
    ],
)
def test_other_names_are_not_alarming(name: str) -> None:
    differential = only([ReviewedField("a.png", (Reviewed(name),))])  # type: ignore[list-item]
    assert differential.alarm() is None


def test_the_terminal_has_neutrophils_with_their_bands() -> None:
    """Of 40 cells 18 bands and 18 others are 90 % neutrophils, above their range."""
    cells = [Reviewed(name) for name in ["band"] * 18 + ["neutrophil"] * 18 + ["lymphocyte"] * 4]
    fields = [ReviewedField("a.png", tuple(cells))]
    [counted] = differentials(fields, ranges=read_ranges())
    differential = with_parts(counted)
    [public] = wbcdet.differentials(fields, ranges=read_ranges())
    assert public == differential
    for slides, said in (
        ([differential], "neutrophil + band 36 90.0 76.3 - 97.2 39 - 75 high"),
        (
            [differential, replace(counted, group="b")],
            "all: neutrophil + band: 36 together, 90.0 %, 95 % interval 76.3 – 97.2; reference "
            "range of all of them: 39 – 75 (above reference).",
        ),
    ):
        out = io.StringIO()
        print_differentials(Console(file=out, width=200), slides)
        assert said in " ".join(out.getvalue().split())
