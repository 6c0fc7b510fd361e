"""UCF-101's lists, as they are and as editors leave them."""

from pathlib import Path

import pytest

from parvideo.datasets.annotations import read_class_index, read_split_list
from parvideo.datasets.videos import load_videos
from tests.datasets.cases import OFFICIAL


def test_the_official_lists() -> None:
    names = read_class_index(OFFICIAL / "classInd.txt")
    assert len(names) == 101
    assert (names[34], names[35], names[46], names[47]) == (
        "Hammering",
        "HammerThrow",
        "JumpingJack",
        "JumpRope",
    )
    train, test = (read_split_list(OFFICIAL / f"{name}list01.txt", names) for name in ("train", "test"))
    assert (len(train), len(test), len({*train, *test})) == (9537, 3783, 13320)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "classInd",
            "1 Hammering\n3 HammerThrow\n",
            r"classInd\.txt:2: '3 HammerThrow' should be '2 ClassName'",
        ),
        ("classInd", "1 Hammering\n2 Hammering\n", r"classInd\.txt:2: class 'Hammering' is listed twice"),
        ("classInd", "", "lists no classes"),
        (
            "trainlist01",
            "Hammering/v_Hammering_g08_c01.avi 2\n",
            r"trainlist01\.txt:1: label '2' for class 'Hammering'",
        ),
        ("trainlist01", "\nSwimming/v_Swimming_g08_c01.avi 2\n", r"trainlist01\.txt:2: class 'Swimming'"),
        (
            "trainlist01",
            "../v_Swimming_g08_c01.avi 2\n",
            r"trainlist01\.txt:1: .*should be 'Class/video\.avi'",
        ),
        ("trainlist01", "Hammering/a.avi 1\nHammering/a.avi 1\n", r"trainlist01\.txt:2: .* is listed twice"),
    ],
)
def test_a_bad_list_is_named_with_line_and_value(ucf: Path, file: str, text: str, message: str) -> None:
    (ucf.parent / f"ucfTrainTestlist/{file}.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_videos(ucf, "train", annotations=ucf.parent / "ucfTrainTestlist")


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf1 Hammering\n2 HammerThrow\n",
        b"1 Hammering\r\n2 HammerThrow\r\n",
        b"1 Hammering\r2 HammerThrow\r",
        b"1\tHammering\n2\t HammerThrow \n\n",
        b"1 Hammering\n2 HammerThrow\n\x1a",
        b"1 Hammering\r\n2 HammerThrow\r\n\x1a\r\n",
    ],
    ids=["mark", "CR LF", "CR", "tabs", "^Z", "^Z and CR LF"],
)
def test_the_index_is_read_as_editors_leave_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "classInd.txt").write_bytes(data)
    assert read_class_index(tmp_path / "classInd.txt") == ["Hammering", "HammerThrow"]


@pytest.mark.parametrize(
    "line", ["A/v.avi 1", "./A/v.avi 1", "A\\v.avi\t1", ".\\A\\v.avi", "\ufeffA/v.avi 1\r"]
)
def test_a_listed_path_is_read_as_systems_write_it(tmp_path: Path, line: str) -> None:
    (tmp_path / "trainlist01.txt").write_text(line, encoding="utf-8", newline="")
    assert read_split_list(tmp_path / "trainlist01.txt", ["A"]) == ["A/v.avi"]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-16", r"classInd\.txt is in UTF-16 or no text; save it as UTF-8"),
        ("utf-16-le", r"classInd\.txt is in UTF-16 or no text"),
        ("cp1252", r"classInd\.txt:2: byte 0xe9 is not UTF-8 \(is it Windows-1252\?\)"),
    ],
)
def test_other_encodings_are_refused_by_name(tmp_path: Path, encoding: str, said: str) -> None:
    (tmp_path / "classInd.txt").write_bytes("1 Hammering\n2 Caf\u00e9\n".encode(encoding))
    with pytest.raises(ValueError, match=said):
        read_class_index(tmp_path / "classInd.txt")
