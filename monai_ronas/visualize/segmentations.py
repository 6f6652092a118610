# SPDX-License-Identifier: Apache-2.0
"""The best, the median and the worst case in three planes."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence

import numpy as np

from monai_ronas.utils import ChildScore, Plane
from monai_ronas.visualize.colours import DIFFERENCES, class_colour, class_rgb, css

_VIEWS = ("sagittal", "coronal", "axial")
_OPACITY = 0.6  # of a class's colour over the image
_TALLEST, _WIDEST = 260, 260  # pixels of a picture
_GAPS = 24  # pixels between four pictures


def telling_cases(per_case: Sequence[float]) -> dict[str, int]:
    """The best, the median and the worst case; of two cases the best and the worst, of a single one that.

    Args:
        per_case: Dice of each case; cases without one (NaN) are left out.

    Returns:
        Index of the case by ``"best"``, ``"median"`` and ``"worst"``. Of an even number of cases the median is the
        lower one of the two in the middle.

    Example:
        >>> telling_cases([0.7, float("nan"), 0.9, 0.8, 0.1])
        {'best': 2, 'median': 0, 'worst': 4}
    """
    order = sorted((i for i, dice in enumerate(per_case) if math.isfinite(dice)), key=lambda i: per_case[i])
    found = {"best": order[-1:], "median": order[(len(order) - 1) // 2 :][: len(order) > 2], "worst": order[:-1][:1]}
    return {word: cases[0] for word, cases in found.items() if cases}


def difference(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """What is wrong with each voxel of a prediction.

    Args:
        label: class indices.
        prediction: class indices of the same shape.

    Returns:
        0 where it is right, 1 where foreground was missed, 2 where there is too much, 3 where it is another class.

    Example:
        >>> difference(np.array([0, 1, 0, 1, 2]), np.array([0, 1, 2, 0, 1])).tolist()
        [0, 0, 2, 1, 3]
    """
    wrong = label != prediction
    kinds = [wrong & (prediction == 0), wrong & (label == 0), wrong]
    return np.select(kinds, [1, 2, 3], default=0).astype(np.uint8)


def panels(plane: Plane) -> dict[str, np.ndarray]:
    """The pictures of a plane: image, label, prediction and their difference, each ``(rows, columns, 3)`` in uint8.

    As radiologists look at them: the first axis of the plane runs from right to left on the screen, the second upwards,
    so that in a volume of RAS order the patient's right is on the left. Behind differences the image is darker, as one
    of them is white.

    Args:
        plane: the plane.
    """
    image, label, found = (np.flip(x.T, (0, 1)) for x in (plane.image, plane.label, plane.prediction))
    grey = np.repeat(image[..., None], 3, axis=2)
    differences = {n: colour for n, (_, colour) in enumerate(DIFFERENCES, 1)}
    return {
        "image": grey,
        "label": _overlaid(grey, label, {int(k): class_rgb(int(k)) for k in np.unique(label) if k}),
        "prediction": _overlaid(grey, found, {int(k): class_rgb(int(k)) for k in np.unique(found) if k}),
        "difference": _overlaid(grey // 2, difference(label, found), differences),
    }


def _overlaid(grey: np.ndarray, indices: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> np.ndarray:
    picture = grey.astype(np.float32)
    for index, colour in colours.items():
        where = indices == index
        picture[where] = (1 - _OPACITY) * picture[where] + _OPACITY * np.asarray(colour, dtype=np.float32)
    return picture.astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    """A picture ``(rows, columns, 3)``, uint8, as the content of a PNG file."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(picture), format="png")
    return buffer.getvalue()


def legend(classes: Sequence[str]) -> str:
    """HTML of the colours and what they mean."""
    entries = [(class_colour(n), name) for n, name in enumerate(classes, 1)]
    differences = [(css(colour), f"difference: {word}") for word, colour in DIFFERENCES]
    return _legend(entries) + _legend(differences)


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    items = "".join(f'<li><i style="background:{c}"></i>{html.escape(text)}</li>' for c, text in entries)
    return f'<ul class="legend">{items}</ul>'


def case_section(
    word: str, name: str, planes: Sequence[Plane], dice: float, per_class: Sequence[str], spacing: Sequence[float]
) -> str:
    """HTML of a case: a row of four pictures for each plane, and its Dice.

    Args:
        word: ``"best"``, ``"median"`` or ``"worst"``.
        name: the case's name.
        planes: its planes.
        dice: its mean Dice.
        per_class: the Dice of each class, as text.
        spacing: voxel size along each axis of the volume.
    """
    case = html.escape(name)
    rows = []
    for plane in planes:
        view = _VIEWS[plane.axis]
        width, height = (
            side * spacing[a] for side, a in zip(plane.shape, [a for a in range(3) if a != plane.axis], strict=True)
        )
        across = min(_TALLEST * width / height, _WIDEST)
        figures = "".join(
            f'<figure style="width:{across:.0f}px"><img class="plane" style="aspect-ratio:{width:.4g}/{height:.4g}" '
            f'alt="{what} of case {case}, {view} plane {plane.index}" '
            f'src="data:image/png;base64,{base64.b64encode(png(picture)).decode()}">'
            f"<figcaption>{what}</figcaption></figure>"
            for what, picture in panels(plane).items()
        )
        rows.append(
            f'<div style="flex:0 1 {4 * across + _GAPS:.0f}px"><h4>{view}, plane {plane.index}</h4>'
            f'<div class="panels">{figures}</div></div>'
        )
    told = html.escape("; ".join(per_class))
    detail = f"<p>Dice {dice:.4f}{f' ({told})' if len(per_class) > 1 else ''}</p>"
    return f'<section class="case"><h3>{word}: {case}</h3><div class="planes">{"".join(rows)}</div>{detail}</section>'


def segmentations(
    planes: Sequence[Sequence[Plane]],
    names: Sequence[str],
    score: ChildScore,
    classes: Sequence[str],
    spacing: Sequence[float],
) -> str:
    """HTML of the best, the median and the worst case, with a legend.

    Args:
        planes: three planes of each case.
        names: of the cases.
        score: their score, in the same order.
        classes: names of the foreground classes.
        spacing: voxel size along each axis of the volume, which the pictures keep.
    """
    parts = []
    for word, index in telling_cases(score.per_case).items():
        found = score.per_class[index] if score.per_class else ()
        told = [f"{c} {d:.4f}" for c, d in zip(classes, found, strict=False) if math.isfinite(d)]
        parts.append(case_section(word, names[index], planes[index], score.per_case[index], told, spacing))
    return legend(classes) + "".join(parts)
