"""Files as they are found: every format, packing and encoding gives the same rows, and every fault is one line."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest
import zstandard

from thickets.storage.errors import InputError
from thickets.tasks.datafiles import FORMATS, Source, read_rows

ROWS = [
    {"question": "What is 40 + 2?", "answer": "42"},
    {"question": 'Who says "hé,\u2028llo; you"?\nTell me.', "answer": "007"},
]


def source(location: Path | str, **names: Any) -> Source:
    columns = {"id_column": None, "question_column": "question", "answer_column": "answer"} | names
    return Source("problem.path", str(location), "train", **columns)


def read(location: Path | str, **names: Any) -> list[tuple[str, str]]:
    return [(row.example.question, row.example.answer) for row in read_rows(source(location, **names))]


WANTED = [(row["question"], row["answer"]) for row in ROWS]


def written(kind: str, rows: list[dict[str, str]] = ROWS, separator: str | None = None) -> bytes:
    if kind == ".parquet":
        file = io.BytesIO()
        polars.DataFrame(rows).write_parquet(file)
        return file.getvalue()
    if kind == ".jsonl":
        return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    if kind == ".json":
        return json.dumps(rows, ensure_ascii=False, indent=1).encode()
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, rows[0], delimiter=separator or {".csv": ",", ".tsv": "\t"}[kind])
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("mark", ["", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_packing_and_byte_order_mark_gives_the_same_rows(
    tmp_path: Path, kind: str, packing: str, mark: str
) -> None:
    data = written(kind)
    if mark and kind == ".parquet":
        return
    if mark:
        begin = codecs.BOM_UTF16_BE if mark == "utf-16-be" else b""
        data = begin + data.decode().encode(mark)
    path = tmp_path / f"data{kind.upper() if packing else kind}{packing}"
    path.write_bytes(PACKINGS[packing](data))
    assert read(path) == WANTED


def test_parts_packed_one_after_the_other_are_one_file(tmp_path: Path) -> None:
    lines = written(".jsonl").splitlines(keepends=True)
    for packing in (".gz", ".zst"):
        path = tmp_path / f"data.jsonl{packing}"
        path.write_bytes(b"".join(map(PACKINGS[packing], lines)))
        assert read(path) == WANTED


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("kind", [".csv", ".tsv"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_the_header_tells_the_separator(tmp_path: Path, kind: str, separator: str, newline: bytes) -> None:
    path = tmp_path / f"data{kind}"
    rows = [{"note, a; b": "x", **row} for row in ROWS]
    data = written(kind, rows, separator).replace(b"\r\n", newline)
    path.write_bytes(data)
    wanted = [(q, a) for q, a in WANTED]
    assert read(path) == wanted
    path.write_bytes(f"sep={separator}".encode() + newline + data)
    assert read(path) == wanted


def test_a_header_with_two_separators_is_split_where_the_columns_are(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("question;answer;size, in m\nHow big?;3,5;2\n")
    assert read(path) == [("How big?", "3,5")]
    path.write_text('"question";"answer"\n"a;b";1\n')
    assert read(path) == [("a;b", "1")]
    path.write_text(" question , answer \na,1\n\n,,\n" + "b,2,,\n")
    with pytest.raises(InputError, match=r"row 2: column 'question' is empty \(null\)"):
        read(path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"version": 1, "data": [{"question": "a", "answer": 1}]}', [("a", "1")]),
        ('{"question": "a", "answer": 1}\n{"question": "b", "answer": 2}\n', [("a", "1"), ("b", "2")]),
        ('{\n"rows": [{"question": "a", "answer": "x"}], "tags": ["t"]}', [("a", "x")]),
    ],
)
def test_what_a_json_file_may_be(tmp_path: Path, text: str, wanted: list[tuple[str, str]]) -> None:
    path = tmp_path / "data.json"
    path.write_text(text)
    assert read(path) == wanted


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "a.json",
            b'{"train": [{"q": 1}], "test": [{"q": 1}]}',
            r"object with 2 arrays of rows, 'train', 'test'; it mu",
        ),
        ("a.json", b'{"question": {"0": "a"}}', r"object with no array of rows among 'question'; it must be an array"),
        ("a.json", b"3", r"it holds a int; it must be an array"),
        ("a.json", b'[{"question": "a", "answer": 1}, 4]', r"row 2: it holds a int; every row must be an object"),
        ("a.json", b'[\n{"question": "a",}]', r"line 2: not JSON \(.*\)"),
        ("a.json", b"[" * 100_000, r"not "),
        ("a.json", b"[]", r"there are no rows"),
        ("a.jsonl", b'[\n{"question": "a"}]', r"line 1: not JSON .*; a file that is one array is a .json file"),
        (
            "a.jsonl",
            b'{"question": "a", "answer": 1}\n{"question": "\xe9"}',
            r"line 2: not UTF-8 \(.* at byte 14\); save",
        ),
        ("a.csv", b"question,answer\na,1\nb\xff,2\n", r"line 3: not UTF-8 \(.* at byte 1\); save the file as UTF-8"),
        ("a.csv", b"\xff\xfeq\x00u\x00e", r"its byte order mark says UTF-16, and it is not"),
        ("a.csv", b"question,answer\na,1\nb,2,3\n", r"row 2: it has 3 fields, the header has 2; a text with ',' in it"),
        ("a.csv", b'question,answer\na,1\nb,"2\n', r"row 2: its double quotes are not in order"),
        ("a.csv", b'question,answer\na,1\n"b"x,2\n', r"row 2: its double quotes are not in order"),
        ("a.csv", b"question,answer,answer\na,1,2\n", r"its header has column 'answer' 2 times; rename one"),
        ("a.csv", b"question|answer\na|1\n", r"row 1: no column 'question'; it has 'question\|answer'"),
        ("a.csv", b"", r"there are no rows"),
        ("a.csv", b"PK\x03\x04rest", r"it is a .zip file or an Excel workbook; unpack it, or save it as .csv"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), r"it is packed by gzip; end its name in .gz"),
        ("a.json", zstandard.compress(b"{}"), r"it is packed by zstd; end its name in .zst"),
        ("a.csv", written(".parquet"), r"it is a Parquet file; end its name in .parquet"),
        ("a.parquet", b"PAR1 and no more", r"not a readable .parquet file"),
        ("a.csv.gz", b"question,answer", r"not a readable .gz file \(Not a gzipped file"),
        ("a.csv.gz", gzip.compress(b"x" * 999, mtime=0)[:-12], r"not a readable .gz file"),
        ("a.csv.zst", b"question,answer", r"not a readable .zst file"),
        (
            "a.csv.zst",
            zstandard.compress(b"question,answer\na,1\n" * 9)[:-3],
            r"not a readable .zst .*ends before its l",
        ),
        (
            "a.txt.gz",
            b"",
            r"unknown kind of file '.txt'; allowed are .jsonl, .csv, .tsv, .json, .parquet, each also wi",
        ),
        ("a.gz", b"", r"unknown kind of file ''; allowed are"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_what_was_found(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"problem.path is '{path}'")
    assert "\n" not in str(caught.value)


def test_what_unpacks_to_more_than_a_machine_holds_ends_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.tasks.datafiles.text._MOST_BYTES", 2**24)
    for packing in (".gz", ".zst"):
        path = tmp_path / f"bomb.jsonl{packing}"
        path.write_bytes(PACKINGS[packing](b"\0" * (2**24 + 1)))
        with pytest.raises(InputError, match=r"it unpacks to more than 16,777,216 bytes"):
            read(path)


def test_a_file_of_very_many_columns_or_rows_is_one_short_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.tasks.datafiles.formats._MOST_ROWS", 1_000)
    names = [f"c{number}" for number in range(10_001)]
    wide = tmp_path / "wide.csv"
    wide.write_text(",".join(names) + "\n")
    jsonl = tmp_path / "wide.jsonl"
    jsonl.write_text(json.dumps(dict.fromkeys(names, 1)) + "\n")
    parquet = tmp_path / "wide.parquet"
    polars.DataFrame({name: [1] for name in names}).write_parquet(parquet)
    long = tmp_path / "long.parquet"
    polars.DataFrame({"question": polars.repeat("x", 1_001, eager=True)}).write_parquet(long)
    for path, message in (
        (wide, r"its header has 10,001 columns; 10,000 are the most"),
        (jsonl, r"line 1: no column 'question'; it has 'c0', .* and 9,981 more: set problem.question_column"),
        (parquet, r"it has 10,001 columns and 1 rows; 10,000 and 1,000 are the most"),
        (long, r"it has 1 columns and 1,001 rows"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert len(str(caught.value)) < 1000
