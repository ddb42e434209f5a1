"""The pictures of the documentation are what the engine gives today, and each stands on a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from tests.support.pictures import PICTURES, PLACE
from tests.support.svg import DARK, LIGHT

PAGE = (PLACE.parent / "time.md").read_text()


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_up_to_date(name: str) -> None:
    drawn = PICTURES[name]()
    assert (PLACE / name).read_text() == drawn.text(), (
        f"{name} is not what the engine gives: look at what has changed, run make docs"
    )
    assert re.search(rf"!\[[^\]]+\]\(pictures/{name}\)", PAGE)


def test_there_are_no_others() -> None:
    assert sorted(path.name for path in PLACE.iterdir()) == sorted(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_readable(name: str) -> None:
    """Everything lies within it, and every class has a colour on light and on dark pages."""
    root = ET.fromstring((PLACE / name).read_text())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert root.find("{*}title") is not None
    for shape in root.iter():
        tag = shape.tag.rpartition("}")[2]
        points = (
            shape.get("points", "").split()
            if tag == "polyline"
            else [f"{shape.get('x')},{shape.get('y')}"]
            if tag == "text"
            else []
        )
        for point in points:
            x, y = map(float, point.split(","))
            assert 0 <= x <= width, shape.attrib
            assert 0 <= y <= height, shape.attrib
        if tag in ("polyline", "text", "rect", "circle"):
            assert set(shape.attrib["class"].split()) & set(LIGHT), shape.attrib
    assert set(LIGHT) == set(DARK)
