"""DICOM's pixels are the pictures that pydicom's own functions make of them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client.preparation.made import dicom, film, pictures, remarks
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_windowing, get_decoder
from pydicom.uid import MPEG4HP41, JPEGLSLossless

from fedward_client.preparation.documents import Picture
from fedward_client.preparation.mask import Mask
from fedward_client.preparation.readers import pixels
from fedward_client.preparation.spread import MOST_FRAMES
from fedward_shared.errors import Unreadable

NOTHING = Mask(0, 0, 0, 0)
ENCODINGS = (
    *("", "_RLE", "_bigendian", "_expb"),
    *("_implicit", "_jp2klossless", "_jpeg_ls_lossless", "_padded"),
)


def changed(name: str = "CT_small.dcm", **values: object) -> bytes:
    data = dcmread(io.BytesIO(dicom(name)))
    for keyword, value in values.items():
        setattr(data, keyword, value)
    file = io.BytesIO()
    data.save_as(file)
    return file.getvalue()


def shown(picture: Picture) -> np.ndarray:
    with Image.open(io.BytesIO(picture.png)) as image:
        return np.asarray(image)


def only(folder: Path, data: bytes, mask: Mask | None = None) -> np.ndarray:
    [picture] = pictures(folder, "a.dcm", data, mask)
    return shown(picture)


def stretched(value_HW: np.ndarray) -> np.ndarray:
    least, most = int(value_HW.min()), int(value_HW.max())
    return np.rint((value_HW.astype(float) - least) / (most - least) * 255)


@pytest.mark.filterwarnings("ignore:overflow")  # of pydicom's own sigmoid
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(40, 80), (600, 1600), (0.5, 1), (-100, 3.5)])
def test_windows_are_pydicoms(function: str, centre: float, width: float) -> None:
    value_HW = np.arange(-2000, 3000, dtype=np.float32).reshape(50, 100)
    about = Dataset()
    about.PhotometricInterpretation, about.BitsStored, about.PixelRepresentation = (
        "MONOCHROME2",
        8,
        0,
    )
    about.WindowCenter, about.WindowWidth, about.VOILUTFunction = centre, width, function
    if function == "LINEAR" and width == 1:
        expected = np.where(value_HW > centre - 0.5, 255, 0)
    else:
        expected = apply_windowing(value_HW, about)
    found = pixels.window(value_HW, centre, width, function) * 255
    assert np.abs(found - expected).max() < 0.01


def test_a_ct_without_a_window_is_stretched(tmp_path: Path) -> None:
    value_HW = dcmread(io.BytesIO(dicom())).pixel_array
    assert np.abs(only(tmp_path, dicom()) - stretched(value_HW)).max() <= 1
    [picture] = pictures(tmp_path, "a.dcm", dicom())
    assert picture.fields == {"unit": "1CT1", "date": "20040119", "kind": "CT"}
    assert picture.provenance.place == "frame 1"


def test_padding_does_not_count(tmp_path: Path) -> None:
    data = dcmread(io.BytesIO(dicom()))
    value_HW = data.pixel_array.copy()
    value_HW[:10] = -2000
    data.PixelData, data.PixelPaddingValue = value_HW.tobytes(), -2000
    file = io.BytesIO()
    data.save_as(file)
    found = only(tmp_path, file.getvalue())
    assert not found[:10].any()
    assert np.abs(found[10:] - stretched(value_HW[10:])).max() <= 1


def test_the_same_picture_in_eight_encodings(tmp_path: Path) -> None:
    found = [pictures(tmp_path, "a.dcm", dicom(f"MR_small{kind}.dcm"))[0].png for kind in ENCODINGS]
    assert len(set(found)) == 1
    value_HW = dcmread(io.BytesIO(dicom("MR_small.dcm"))).pixel_array
    expected = np.clip((value_HW - 599.5) / 1599 + 0.5, 0, 1) * 255
    assert np.abs(only(tmp_path, dicom("MR_small.dcm")) - expected).max() <= 1


def test_white_may_be_zero(tmp_path: Path) -> None:
    black = only(tmp_path, dicom("MR_small.dcm")).astype(int)
    white = only(tmp_path, changed("MR_small.dcm", PhotometricInterpretation="MONOCHROME1"))
    assert np.abs(255 - white - black).max() <= 1


def test_a_window_of_the_frames_own(tmp_path: Path) -> None:
    voi, group = Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = 100, 0.5, "LINEAR_EXACT"
    group.FrameVOILUTSequence = [voi]
    value_HW = dcmread(io.BytesIO(dicom("MR_small.dcm"))).pixel_array
    for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        found = only(tmp_path, changed("MR_small.dcm", **{keyword: [group]}))
        assert np.array_equal(found == 255, value_HW > 100)


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_windows_that_are_no_numbers(value: str) -> None:
    about = Dataset()
    about.WindowCenter = [float(value), 40.0]
    with pytest.raises(Unreadable, match="its WindowCenter is no number"):
        pixels._number(about, "WindowCenter")
    assert pixels._number(Dataset(), "WindowCenter") is None


def test_colours(tmp_path: Path) -> None:
    rgb = only(tmp_path, dicom("examples_rgb_color.dcm"), NOTHING)
    assert np.array_equal(rgb, dcmread(io.BytesIO(dicom("examples_rgb_color.dcm"))).pixel_array)
    sixteen, eight = (
        only(tmp_path, dicom(f"SC_rgb_rle{bits}.dcm"), NOTHING) for bits in ("_16bit", "")
    )
    assert np.array_equal(sixteen, eight)
    palette = only(tmp_path, dicom("examples_palette.dcm"), NOTHING)
    assert palette.shape == (350, 800, 3)
    assert 20 < palette.mean() < 60
    assert (palette[..., 0] != palette[..., 2]).any()


def test_frames_at_equal_distances(tmp_path: Path) -> None:
    data = dicom("examples_ybr_color.dcm")
    found = pictures(tmp_path, "a.dcm", data, NOTHING)
    places = [picture.provenance.place for picture in found]
    assert len(found) == MOST_FRAMES
    assert (places[:3], places[-1]) == (["frame 1", "frame 3", "frame 5"], "frame 30")
    assert len({picture.png for picture in found}) == len(found)
    assert remarks(tmp_path, "a.dcm", data, NOTHING) == [
        "30 frames of 240 × 320, JPEG Baseline (Process 1): 16 frames are used"
    ]


def test_large_ones_are_scaled_down_and_that_is_said(tmp_path: Path) -> None:
    large = np.arange(2048 * 64, dtype=np.uint16).reshape(64, 2048)
    data = changed(Rows=64, Columns=2048, PixelData=large.tobytes(), PixelRepresentation=0)
    assert only(tmp_path, data).shape == (32, 1024)
    assert remarks(tmp_path, "a.dcm", data)[0].endswith("scaled down to 32 × 1024")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("JPGExtended.dcm", "no codec for it is installed"),
        ("SC_rgb_jpeg_gdcm.dcm", "no codec for it is installed"),
        ("SC_rgb_rle_32bit.dcm", "neither 8 nor 16 bits"),
        ("rtdose.dcm", "no picture"),
        ("liver_1frame.dcm", "no picture"),
    ],
)
def test_what_is_no_picture_is_said(tmp_path: Path, name: str, reason: str) -> None:
    said = remarks(tmp_path, "a.dcm", dicom(name), NOTHING)
    assert any(text.endswith(f"not used, {reason}") for text in said)


def test_without_a_codec_the_words_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_decoder(JPEGLSLossless), "_available", {})
    data = dicom("MR_small_jpeg_ls_lossless.dcm")
    assert pictures(tmp_path, "a.dcm", data) == []
    assert remarks(tmp_path, "a.dcm", data)[0].endswith("not used, no codec for it is installed")


def test_frames_too_large(tmp_path: Path) -> None:
    data = changed(Rows=8192, Columns=4096, PixelData=bytes(2**26))
    assert remarks(tmp_path, "a.dcm", data)[0].endswith("more than 16,777,216 pixels a frame")


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, of what it sees
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm"])
def test_pixels_that_are_cut_off(tmp_path: Path, name: str) -> None:
    whole = dicom(name)
    begin = whole.index(b"\xe0\x7f\x10\x00")
    for less in (1, 9, (len(whole) - begin) // 2):
        with pytest.raises(Unreadable, match="cut off"):
            pictures(tmp_path, "a.dcm", whole[:-less])


def test_fewer_frames_than_it_says(tmp_path: Path) -> None:
    data = changed("examples_ybr_color.dcm", NumberOfFrames=60)
    with pytest.raises(Unreadable):
        pictures(tmp_path, "a.dcm", data, NOTHING)


def mpeg(stream: bytes) -> bytes:
    """An ultrasound of which the frames are a video."""
    data: Any = dcmread(io.BytesIO(dicom("examples_rgb_color.dcm")))
    data.file_meta.TransferSyntaxUID = MPEG4HP41
    data.Rows, data.Columns, data.NumberOfFrames = 48, 64, 12
    data.PhotometricInterpretation = "YBR_PARTIAL_420"
    data.PixelData = encapsulate([stream])
    data["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    data.save_as(file)
    return file.getvalue()


def test_a_video_in_a_file(tmp_path: Path) -> None:
    data = mpeg(film(codec="libx264", g="4"))
    found = pictures(tmp_path, "a.dcm", data, Mask(0.25, 0, 0, 0))
    assert [one.provenance.place for one in found] == ["frame 1", "frame 5", "frame 9"]
    assert found[0].fields["kind"] == "US"
    assert not shown(found[0])[:12].any()
    assert shown(found[0])[12:].any()
    assert pictures(tmp_path, "a.dcm", data) == []
    other = mpeg(bytes(1000))
    assert pictures(tmp_path, "a.dcm", other, NOTHING) == []
