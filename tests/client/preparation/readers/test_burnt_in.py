"""Text that may be burnt in is behind a mask, or the picture is not used."""

from pathlib import Path

import numpy as np
import pytest
from client.preparation.made import dicom, pictures, remarks
from client.preparation.readers.test_pixels import changed, only
from pydicom import Dataset

from fedward_client.preparation.mask import Mask
from fedward_client.preparation.readers import burnt_in

NOTHING = Mask(0, 0, 0, 0)
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
GREY = {"PhotometricInterpretation": "MONOCHROME2"}
TOP = Mask(0.25, 0, 0, 0)
US = "examples_rgb_color.dcm"
REASON = "not used, text may be burnt in; see --mask"


def region(top: object, bottom: object, left: object, right: object) -> Dataset:
    found = Dataset()
    found.RegionLocationMinY0, found.RegionLocationMaxY1 = top, bottom
    found.RegionLocationMinX0, found.RegionLocationMaxX1 = left, right
    return found


@pytest.mark.parametrize(
    ("may_be", "values"),
    [
        (False, GREY | {"Modality": "CT"}),
        (False, GREY | {"Modality": "MR", "ImageType": ["DERIVED", "SECONDARY", "MPR"]}),
        (False, {"Modality": "US", "BurnedInAnnotation": "NO"}),
        (True, GREY | {"Modality": "CT", "BurnedInAnnotation": "YES"}),
        (True, GREY | {"Modality": "CT", "SOPClassUID": CAPTURE}),
        (True, GREY | {"Modality": "OP", "SOPClassUID": f"{CAPTURE}7.1.5.1"}),
        (True, GREY | {"Modality": "CT", "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
        (True, GREY | {"Modality": "US"}),
        (True, {"Modality": "CT", "PhotometricInterpretation": "RGB"}),
        (True, {}),
    ],
    ids=str,
)
def test_where_text_may_be(may_be: bool, values: dict[str, object]) -> None:
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    assert burnt_in.may_be(data) is may_be


def test_a_real_ultrasound_with_its_hospitals_name(tmp_path: Path) -> None:
    assert pictures(tmp_path, "a.dcm", dicom(US)) == []
    assert remarks(tmp_path, "a.dcm", dicom(US))[-1].endswith(REASON)
    whole, masked = (
        only(tmp_path, dicom(US), NOTHING),
        only(tmp_path, dicom(US), Mask(0.2, 0, 0, 0)),
    )
    assert whole[:48].max() > 250  # BAPTIST MED CTR
    assert not masked[:48].any()
    assert np.array_equal(masked[48:], whole[48:])


def test_a_mask_does_not_touch_what_has_no_text(tmp_path: Path) -> None:
    assert np.array_equal(only(tmp_path, dicom(), TOP), only(tmp_path, dicom()))


def test_who_says_that_there_is_text_needs_a_mask(tmp_path: Path) -> None:
    said = changed(BurnedInAnnotation="YES")
    assert pictures(tmp_path, "a.dcm", said) == []
    assert remarks(tmp_path, "a.dcm", said)[0].endswith(REASON)
    found = only(tmp_path, said, TOP)
    assert not found[:32].any()
    assert np.array_equal(found[32:], only(tmp_path, dicom())[32:])
    regions = changed(
        US, BurnedInAnnotation="YES", SequenceOfUltrasoundRegions=[region(50, 99, 10, 200)]
    )
    assert pictures(tmp_path, "a.dcm", regions) == []


def test_outside_of_ultrasounds_regions_all_is_black(tmp_path: Path) -> None:
    whole = only(tmp_path, dicom(US), NOTHING)
    areas = [region(50, 99, 10, 199), region(120, 130, 100, 300)]
    data = changed(US, SequenceOfUltrasoundRegions=areas)
    found = only(tmp_path, data)
    inside = np.zeros(whole.shape[:2], bool)
    inside[50:100, 10:200] = inside[120:131, 100:301] = True
    assert np.array_equal(found[inside], whole[inside])
    assert not found[~inside].any()
    assert remarks(tmp_path, "a.dcm", data)[-1].endswith("black outside of its ultrasound regions")
    both = only(tmp_path, data, TOP)
    assert not both[:60].any()
    assert np.array_equal(both[60:], found[60:])


@pytest.mark.parametrize("corner", [(50, 999, 10, 20), (50, 40, 10, 20), (1, 2, 3, None)], ids=str)
def test_regions_of_another_picture_are_none(tmp_path: Path, corner: tuple[object, ...]) -> None:
    areas = [region(50, 99, 10, 199), region(*corner)]
    data = changed(US, SequenceOfUltrasoundRegions=areas)
    assert pictures(tmp_path, "a.dcm", data) == []


def test_pydicoms_own_were_scaled_after_their_regions_were_written(tmp_path: Path) -> None:
    assert pictures(tmp_path, "a.dcm", dicom("examples_palette.dcm")) == []
