"""Video: key frames behind a mask, the same every time, of what is whole and known."""

import io
from pathlib import Path

import numpy as np
import pytest
from client.preparation.made import film, pictures, remarks
from PIL import Image

from fedward_client.preparation import readers
from fedward_client.preparation.mask import Mask
from fedward_client.preparation.readers import video
from fedward_client.preparation.sandbox import Sandbox
from fedward_shared.errors import Unreadable

NOTHING = Mask(0, 0, 0, 0)
KINDS = {
    "a.mp4": ("mp4", "libx264"),
    "a.mov": ("mov", "mpeg4"),
    "a.avi": ("avi", "mjpeg"),
    "a.mkv": ("matroska", "libx264"),
    "a.webm": ("webm", "libvpx-vp9"),
    "a.mpg": ("mpeg", "mpeg2video"),
    "a.ts": ("mpegts", "libx264"),
}


def shown(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image).astype(int)


@pytest.mark.parametrize("name", KINDS)
def test_key_frames_of_every_kind(tmp_path: Path, name: str) -> None:
    data = film(*KINDS[name])
    found = pictures(tmp_path, name, data, NOTHING)
    assert [one.png for one in found] == [
        one.png for one in pictures(tmp_path, name, data, NOTHING)
    ]
    assert len(found) == (12 if name == "a.avi" else 3)
    assert found[1].provenance.place == "key frame 2"
    assert found[1].fields == {"kind": "video"}
    first = 1 if name == "a.avi" else 4
    for number, picture in enumerate(found):
        pixel_HWK = shown(picture.png)
        assert pixel_HWK[2:10].min() > 225
        bar = pixel_HWK[28:44].mean(axis=(0, 2)) > 120
        assert abs(np.flatnonzero(bar).mean() - (4 * first * number + 3.5)) < 1.5


def test_the_mask_hides_what_is_at_the_top(tmp_path: Path) -> None:
    for picture in pictures(tmp_path, "a.mp4", film(), Mask(0.25, 0, 0, 0)):
        assert not shown(picture.png)[:12].any()
        assert shown(picture.png)[12:].any()


def test_without_a_mask_nothing_of_it_is_used(tmp_path: Path) -> None:
    assert pictures(tmp_path, "a.mp4", film()) == []
    assert remarks(tmp_path, "a.mp4", film()) == [
        "3 key frames of 48 × 64, mpeg4: not used, text may be burnt in; see --mask"
    ]


def test_at_most_so_many(tmp_path: Path) -> None:
    found = readers.read(write(tmp_path, film("avi", "mjpeg", 40)), "a.avi", NOTHING)
    [told, *rest] = list(found)
    assert told.text == "40 key frames of 48 × 64, mjpeg: 16 are used"
    assert len(rest) == 16


def write(folder: Path, data: bytes) -> Path:
    path = folder / "a.bin"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("a.mpg", "a.ts")])
def test_what_is_cut_off_is_unreadable(tmp_path: Path, name: str) -> None:
    whole = film(*KINDS[name])
    for less in (1, 40, len(whole) // 3, len(whole) - 600):
        with pytest.raises(Unreadable):
            pictures(tmp_path, name, whole[:-less], NOTHING)


def test_a_fragmented_film_that_is_cut_off(tmp_path: Path) -> None:
    whole = film("mp4", "libx264", movflags="frag_keyframe+empty_moov")
    assert len(pictures(tmp_path, "a.mp4", whole, NOTHING)) == 3
    with pytest.raises(Unreadable, match="cut off"):
        pictures(tmp_path, "a.mp4", whole[: len(whole) * 2 // 3], NOTHING)


def test_spoilt_frames_are_unreadable(tmp_path: Path) -> None:
    whole = bytearray(film("avi", "mjpeg"))
    begin = whole.index(b"\xff\xd8", whole.index(b"movi"))
    whole[begin : begin + 400] = bytes(400)
    with pytest.raises(Unreadable, match="InvalidDataError"):
        pictures(tmp_path, "a.avi", bytes(whole), NOTHING)


def test_lists_of_other_files_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(film())
    for text in (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.mp4\n",
    ):
        with pytest.raises(Unreadable, match="no video that is read"):
            pictures(tmp_path, "a.mp4", text.encode(), NOTHING)


def test_texts_that_begin_like_one_are_texts() -> None:
    for text in (b"pid,wide,text\n7,1,Cough.\n", b"GATTACA " * 60):
        assert not video.takes(text)


def test_bounds_hold_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound, value, reason in (
        ("MOST_PIXELS", 1000, "its frames are 48 × 64"),
        ("MOST_SECONDS", 1, "more than 0 hours"),
        ("MOST_BYTES", 100, "more than 100 bytes"),
        ("CODECS", frozenset(), r"codec is not read \(mpeg4\)"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(video, bound, value)
            with pytest.raises(Unreadable, match=reason):
                pictures(tmp_path, "a.mp4", film(), NOTHING)


def test_it_is_the_same_in_the_sandbox(tmp_path: Path) -> None:
    path = write(tmp_path, film("mp4", "libx264"))
    mask = Mask(0.25, 0.1, 0, 0)
    with Sandbox(mask=mask) as box:
        found = list(box.read(path, "a.mp4"))
    assert found == list(readers.read(path, "a.mp4", mask))
    assert len(found) == 3
