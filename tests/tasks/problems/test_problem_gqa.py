"""Questions about images: where an image may lie, what of it counts, and how it reaches the prompt."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from pydantic import ValidationError

from thickets.storage.errors import InputError
from thickets.tasks import images
from thickets.tasks.problems import Problem, ProblemConfig, load_problem
from thickets.tasks.problems.splits import content_sha256, draw_splits
from thickets.tasks.types import FULL, Example


def png(colour: str, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    held = io.BytesIO()
    Pillow.new("RGB", size, colour).save(held, options.pop("format", "PNG"), **options)
    return held.getvalue()


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def problem_of(path: Path | str, **more: Any) -> Problem:
    return load_problem(ProblemConfig(name="gqa", path=str(path), **more))


def read(folder: Path, image: Any) -> Example:
    path = write(folder, [{"question": "What colour?", "answer": "Red", "image": image}])
    [example] = problem_of(path).examples(0, 0)
    return example


def test_a_question_carries_its_image_and_its_gold_answer_is_right(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png("red"))
    example = read(tmp_path, "images/a.png")
    assert example.image is not None
    assert (example.image.name, example.image.width, example.image.height) == ("images/a.png", 40, 30)
    problem = problem_of(tmp_path / "questions.jsonl")
    [message] = problem.messages(example)
    assert message["image"] == example.image
    assert message["content"].startswith("What colour?\n\n")
    answer = problem.extract("The colour is:\n\nThe answer is: red.", example)
    assert answer == "red"
    assert problem.score(answer, example) == FULL
    assert example.shown == "What colour? [image: images/a.png]"


def test_one_question_about_two_images_is_two_questions(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        (tmp_path / f"{name}.png").write_bytes(png(name))
    (tmp_path / "copy.png").write_bytes(png("red"))
    rows = [{"question": "What colour?", "answer": "red", "image": f"{name}.png"} for name in ("red", "blue", "copy")]
    found = problem_of(write(tmp_path, rows)).examples(0, 0)
    assert [each.image.name for each in found if each.image] == ["red.png", "blue.png"]  # a copy is the same question
    assert len({each.id for each in found}) == 2


def test_the_content_of_an_image_counts_and_neither_its_name_nor_its_place(tmp_path: Path) -> None:
    def hashes(folder: Path, name: str, colour: str) -> tuple[str, str]:
        folder.mkdir()
        (folder / name).write_bytes(png(colour))
        example = read(folder, name)
        return example.id, content_sha256([example])

    one = hashes(tmp_path / "one", "a.png", "red")
    assert hashes(tmp_path / "two", "b.png", "red") == one
    other = hashes(tmp_path / "three", "a.png", "blue")
    assert other[0] != one[0]
    assert other[1] != one[1]


def test_splits_are_drawn_and_no_image_question_is_in_two(tmp_path: Path) -> None:
    rows = []
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(png("red", (40 + number, 30)))
        rows.append({"question": "What colour?", "answer": "red", "image": f"{number}.png"})
    splits = draw_splits(problem_of(write(tmp_path, rows)), selection=2, validation=2, test=2, seed=0)
    names = [example.image.name for split in splits for example in split.examples if example.image]
    assert sorted(names) == [f"{number}.png" for number in range(6)]


class TestWhereAnImageMayLie:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "secret.png").write_bytes(png("red"))
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "a.png").write_bytes(png("red"))
        return tmp_path / "data"

    def test_an_absolute_path_inside_the_folder_is_taken(self, folder: Path) -> None:
        example = read(folder, str(folder / "a.png"))
        assert example.image is not None
        assert example.image.name == "a.png"  # no folder of this machine in what is shown

    @pytest.mark.parametrize("how", ["../secret.png", "{outside}", "link.png", "out/secret.png", "a/../../secret.png"])
    def test_nothing_outside_is(self, how: str, folder: Path) -> None:
        outside = folder.parent / "secret.png"
        (folder / "link.png").symlink_to(outside)
        (folder / "out").symlink_to(folder.parent)
        with pytest.raises(InputError, match=r"line 1: the image .* in column 'image': it lies outside .*data"):
            read(folder, how.format(outside=outside))

    def test_a_link_inside_is_taken(self, folder: Path) -> None:
        (folder / "link.png").symlink_to(folder / "a.png")
        assert read(folder, "link.png").image is not None

    @pytest.mark.parametrize("address", ["https://example.com/a.png", "file:///etc/passwd"])
    def test_no_address_is_fetched(self, address: str, folder: Path) -> None:
        with pytest.raises(InputError, match="it is an address; nothing is fetched"):
            read(folder, address)

    def test_a_pipe_is_not_waited_for(self, folder: Path) -> None:
        os.mkfifo(folder / "pipe.png")
        with pytest.raises(InputError, match="not a plain file"):
            read(folder, "pipe.png")


class TestWhatIsNoImage:
    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "not one of PNG"),
            (b"<svg></svg>", "not one of PNG"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not one of PNG"),  # Pillow would run Ghostscript
            (png("red")[:60], "cannot be read as an image"),
            (png("red", (600, 400), format="JPEG")[:900], "cannot be read as an image"),
        ],
    )
    def test_damaged_and_unknown_files_name_row_and_column(self, content: bytes, why: str, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(InputError, match=rf"line 1: the image 'a\.png' in column 'image': .*{why}"):
            read(tmp_path, "a.png")

    def test_too_many_pixels_and_bytes_are_refused_before_they_are_unpacked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a.png").write_bytes(png("red", (9000, 9000)))  # 81 million, in some hundred kilobytes
        with pytest.raises(InputError, match="9000 x 9000; at most 50 million pixels"):
            read(tmp_path, "a.png")
        monkeypatch.setattr(images, "MOST_BYTES", 2**20)
        (tmp_path / "a.png").write_bytes(os.urandom(2**20 + 1))
        with pytest.raises(InputError, match="more than 1 MiB"):
            read(tmp_path, "a.png")

    @pytest.mark.parametrize("value", [7, ["a.png"], {"url": "a.png"}, True])
    def test_other_values_are_refused(self, value: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="must be the path of an image, or its bytes"):
            read(tmp_path, value)

    def test_a_missing_file_or_column_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"'b\.png' in column 'image': it cannot be read \(No such file"):
            read(tmp_path, "b.png")
        path = write(tmp_path, [{"question": "What?", "answer": "red", "picture": "a.png"}])
        with pytest.raises(InputError, match=r"no column 'image'.*set problem\.image_column"):
            problem_of(path).examples(0, 0)


class TestHowAnImageIsSeen:
    def test_turned_as_its_camera_says(self, tmp_path: Path) -> None:
        exif = Pillow.Exif()
        exif[0x0112] = 6  # a quarter turn
        (tmp_path / "a.jpg").write_bytes(png("red", format="JPEG", exif=exif))
        example = read(tmp_path, "a.jpg")
        assert example.image is not None
        assert (example.image.width, example.image.height) == (30, 40)
        assert images.load(example.image).size == (30, 40)

    def test_white_behind_what_is_transparent(self) -> None:
        held = io.BytesIO()
        Pillow.new("RGBA", (4, 4), (255, 0, 0, 0)).save(held, "PNG")
        assert images.decode(held.getvalue()).getpixel((0, 0)) == (255, 255, 255)


class TestDataSetsWithImages:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A data set of the hub's layout: Parquet files whose column of images holds bytes."""
        import datasets

        monkeypatch.setenv("THICKETS_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
        columns = {
            "question": ["What colour?", "What colour?"],
            "answer": ["red", "blue"],
            "image": [{"bytes": png(name), "path": f"{name}.png"} for name in ("red", "blue")],
        }
        features = datasets.Features(
            {"question": datasets.Value("string"), "answer": datasets.Value("string"), "image": datasets.Image()}
        )
        made = datasets.Dataset.from_dict(columns, features=features)
        (tmp_path / "set").mkdir()
        made.to_parquet(str(tmp_path / "set" / "train-00000-of-00001.parquet"))
        return tmp_path / "set"

    def test_their_bytes_are_laid_where_engines_find_them(self, folder: Path, tmp_path: Path) -> None:
        found = problem_of(f"hf:{folder}").examples(0, 0)
        assert [each.image.name for each in found if each.image] == ["red.png", "blue.png"]
        for example in found:
            assert example.image is not None
            assert Path(example.image.path).is_relative_to(tmp_path / "cache")
            assert (
                images.load(example.image).getpixel((0, 0)) == {"red": (255, 0, 0), "blue": (0, 0, 255)}[example.answer]
            )

    def test_the_parquet_file_itself_reads_likewise(self, folder: Path) -> None:
        as_set = problem_of(f"hf:{folder}").examples(0, 0)
        as_file = problem_of(folder / "train-00000-of-00001.parquet").examples(0, 0)
        assert as_file == as_set

    def test_an_address_in_place_of_bytes_is_not_fetched(self, tmp_path: Path) -> None:
        import polars as pl

        image = {"bytes": None, "path": "https://example.com/a.png"}
        schema = {"bytes": pl.Binary, "path": pl.String}
        rows = pl.DataFrame({"question": ["What?"], "answer": ["red"]}).with_columns(
            image=pl.Series([image], dtype=pl.Struct(schema))
        )
        rows.write_parquet(tmp_path / "rows.parquet")
        with pytest.raises(InputError, match=r"row 1: the image .* it is an address; nothing is fetched"):
            problem_of(tmp_path / "rows.parquet").examples(0, 0)

    def test_a_folder_of_images_with_a_table_is_read_by_its_paths(self, tmp_path: Path) -> None:
        folder = tmp_path / "pictures" / "train"
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(png("red"))
        (folder / "metadata.csv").write_text("file_name,question,answer\na.png,What colour?,red\n")
        [example] = problem_of(f"hf:{folder.parent}").examples(0, 0)
        assert example.image is not None
        assert example.image.name == "a.png"
        assert Path(example.image.path) == (folder / "a.png").resolve()


def test_any_verifier_of_a_file_can_judge_questions_about_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png("red"))
    path = write(tmp_path, [{"question": "How many?", "answer": "3", "image": "a.png"}])
    config = ProblemConfig(name="file", path=str(path), verifier="numeric", image_column="image")
    [example] = load_problem(config).examples(0, 0)
    assert example.image is not None


def test_settings_that_do_not_go_with_images_are_refused() -> None:
    with pytest.raises(ValidationError, match="worked examples cannot have images"):
        ProblemConfig(name="file", path="a.jsonl", image_column="image", examples=({"question": "1", "answer": "2"},))
    with pytest.raises(ValidationError, match=r"problem\.image_column is 'image', but gsm8k takes none"):
        ProblemConfig(name="gsm8k", path="a.jsonl", image_column="image")
