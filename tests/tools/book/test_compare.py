"""What counts as the same output, and what does not."""

import base64
import io

import numpy as np
import pytest
from nbformat.v4 import new_output
from PIL import Image

from tools.book.compare import LAST_DIGITS, Tolerance, close_text, same_picture, settled
from tools.book.compare import tolerance_of as told


def png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("R² 0.990, MAE 0.0071", "R² 0.991, MAE 0.0070"),
        ("−0.001", "0.000"),
        ("1.2e-05", "1.3e-05"),
        ("12,345.6 ms", "12,345.7 ms"),
        ("<td>0.10</td>", "<td>0.09</td>"),
    ],
)
def test_one_unit_of_the_last_digit_is_the_same(a, b):
    assert close_text(a, b)
    assert close_text(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("R² 0.990", "R² 0.992"),
        ("7 runs", "8 runs"),
        ("12,345", "12,346"),
        ("0.99 better", "0.99 worse"),
        ("0.5", "0.50"),
        ("0.5", "-0.5"),
        ("1.2e-05", "1.2e-04"),
        ("nan", "0.1"),
    ],
)
def test_everything_else_is_not(a, b):
    assert not close_text(a, b)


def test_a_cell_may_say_how_far_its_numbers_move():
    assert told("x = 1  # compared within 10 %: hundreds of steps\nsay(x)") == Tolerance(share=0.1)
    assert told("# compared within 0.2: t-SNE is chaotic") == Tolerance(amount=0.2)
    assert told("# compared within 0.2:") == told("# compared") == LAST_DIGITS  # needs a reason
    assert close_text("67 % of 0.50", "61 % of 0.46", Tolerance(share=0.1))
    assert not close_text("67 %", "57 %", Tolerance(share=0.1))
    assert close_text("0.21", "0.30", Tolerance(amount=0.1))
    assert not close_text("0.21", "0.35", Tolerance(amount=0.1))


def test_pictures_are_compared_as_the_eye_does():
    picture = np.full((160, 240, 3), 255)
    picture[20:40, 30:230] = 90
    moved = picture.copy()
    moved[20:40, 30] = 170  # a line half a pixel further
    other = picture.copy()
    other[60:80, 60:80] = 90
    assert same_picture(png(picture), png(moved))
    assert not same_picture(png(picture), png(other))
    assert not same_picture(png(picture), png(picture[:, 1:]))


def test_each_part_is_settled_by_itself():
    stored = [
        new_output("stream", text="0.50 s"),
        new_output("display_data", {"text/html": "<b>1.0</b>", "text/plain": "7"}),
    ]
    fresh = [
        new_output("stream", text="0.51 s"),
        new_output("display_data", {"text/html": "<b>1.1</b>", "text/plain": "8"}),
    ]
    found = settled(fresh, stored)
    assert found[0] == stored[0]
    assert found[1]["data"] == {"text/html": "<b>1.0</b>", "text/plain": "8"}
    assert settled(fresh[:1], stored) == fresh[:1]


def test_plotted_numbers_may_move_in_their_fifth_digit():
    mime = "application/vnd.plotly.v1+json"

    def plot(x: float, n: int = 3) -> list:
        return [new_output("display_data", {mime: {"data": [{"x": [x, 0.5], "n": n}]}})]

    assert settled(plot(1.23456), plot(1.23457)) == plot(1.23457)
    assert settled(plot(1.23456), plot(1.24)) == plot(1.23456)
    assert settled(plot(1.23456, 4), plot(1.23457)) == plot(1.23456, 4)
