"""The page: facts become sentences and pictures, and a template lays them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import torch
from numpy.typing import NDArray

from liif_engine.errors import printable
from liif_engine.lab import facts, sketches
from liif_engine.lab.ablation import interpolated
from liif_engine.lab.blocks import displayed_phase, spread
from liif_engine.lab.query import Query, query
from liif_engine.lab.references import METHODS, QUESTION
from liif_engine.model_names import plain
from liif_engine.network.card import shipped_models
from liif_engine.picture import consistency
from liif_engine.picture.loss import kept
from liif_engine.picture.tiles import Rect

if TYPE_CHECKING:
    from liif_engine.lab.explain import Explanation

Pixels = NDArray[np.uint8]

#: How the parts are called for people, and what taking one away means.
PARTS = {
    "beyond_block": (
        "Everything beyond the patch's own 8x8 blocks",
        "The pixels around its blocks are replaced by repeats of the blocks' edges.",
    ),
    "encoder_body": (
        "The encoder's depth",
        "All residual blocks are skipped; what is left sees two pixels far.",
    ),
    "feature_unfolding": (
        "Feature unfolding",
        "Each latent code is taken for its eight neighbours as well.",
    ),
    "local_ensemble": (
        "The local ensemble",
        "Each output pixel asks the nearest latent code only, instead of mixing four answers.",
    ),
}

#: The first of them where no grid is known; at most to the next multiple of 8 the pixels stay.
NO_BLOCKS = ("Everything beyond the patch", "The pixels around it are replaced by repeats of those at its edges.")

#: The signs that print has and a keyboard has not.
APOSTROPHE, TIMES = "\N{RIGHT SINGLE QUOTATION MARK}", "\N{MULTIPLICATION SIGN}"

#: How strongly differences are shown.
GAIN = 4.0


def html(story: Explanation) -> str:
    """One page that needs nothing but itself."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("liif_engine.lab", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["printable"] = printable  # a name may be bytes that are no text
    environment.filters["level"] = lambda value: f"{value:.1f}"
    environment.filters["typeset"] = lambda text: text.replace("'", APOSTROPHE).replace("8x8", f"8{TIMES}8")
    return environment.get_template("report.html.j2").render(context(story))


def percent(share: float, digits: int | None = None) -> str:
    """A fraction for people; with one digit behind the point, and more close to 0 and 1 where they matter."""
    if digits is None:
        near = min(share, 1 - share)
        digits = 0 if near >= 0.1 else 1 if near >= 0.002 or near <= 0 else 2
        digits = 0 if share in {0, 1} else digits
    return f"{100 * share:.{digits}f}%"


def context(story: Explanation) -> dict[str, Any]:
    """All that the template shows."""
    values = story.as_dict()
    return {
        "facts": values,
        "asked": asked(story.model, story.scale),
        "size": {"width": story.result.shape[1], "height": story.result.shape[0]},
        "photographs": photographs(story),
        "zoom": zoom(story),
        "channels": len(story.features),
        "query": drawn_query(story),
        "parts": [
            {
                "name": name,
                "meaning": meaning,
                "change": part.change,
                "picture": _shown(part.patch),
            }
            for part in sorted(story.contributions.parts, key=lambda part: -part.change)
            for name, meaning in [_part(part.name, story)]
        ],
        "gain": GAIN,
        "question": QUESTION,
        "methods": METHODS,
    }


def _part(name: str, story: Explanation) -> tuple[str, str]:
    if name == "beyond_block" and displayed_phase(story.subject) is None:
        return NO_BLOCKS
    return PARTS[name]


def asked(model: str, scale: float) -> dict[str, str]:
    """What was done by a model: the work, and what the model is not made for; the cards of shipped models tell.

    A checkpoint of somebody's own is taken for neither: only its name is known here.
    """
    known = shipped_models().get(plain(model))
    removes = known is not None and "artifacts" in known.card.get("task", "")
    work = ["artifact removal"] if removes else ["restoration"] if known is None else []
    work += [f"enlargement {TIMES}{scale:g}"] if scale != 1 else []
    limit = "" if removes or known is None else ", which is made for clean pictures and removes no artifacts"
    return {"work": " and ".join(work) or "the same size", "limit": limit}


def photographs(story: Explanation) -> dict[str, Any]:
    """The whole window: the file, the result, and maps to lie over the file."""
    pixels, reduced = story.subject.pixels, story.reduced
    change = np.abs(reduced.astype(np.float32) - pixels).mean(-1)
    maps = {"change": sketches.veil(0.9 * sketches.scaled(change), sketches.CHANGE)}
    if story.loss is not None and story.after is not None:
        loss = whole(story, story.loss)
        maps["loss"] = sketches.veil(0.85 * sketches.scaled(loss), sketches.LOSS)
        outside = whole(story, 1 - story.after.luma_by_block)
        maps["beyond"] = sketches.veil(np.sqrt(outside), sketches.BEYOND)
    return {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "file": sketches.photograph(pixels),
        "result": sketches.photograph(story.result),
        "patch": facts.place(story.patch),
        "maps": maps,
    }


def whole(story: Explanation, blocks: NDArray[Any]) -> NDArray[Any]:
    """A value for each stored block as one for each pixel of the window, as displayed."""
    return spread(blocks.astype(np.float32), story.subject)


def zoom(story: Explanation) -> dict[str, Any]:
    """The field around the patch, pixel by pixel: what goes in, what comes out, and what is in between."""
    window, pixels = story.field.window, story.subject.pixels
    cut = pixels[window.top : window.bottom, window.left : window.right]
    out = _output(story, window)
    weights = story.attribution.weights
    reduced = story.reduced[window.top : window.bottom, window.left : window.right]
    beyond = None
    if story.after is not None:
        plane = np.zeros(_stored_shape(story), np.float32)
        part = np.abs(story.after.luma_beyond)
        stored = story.subject.stored
        assert stored is not None
        down, right = stored.phase
        plane[down : down + part.shape[0], right : right + part.shape[1]] = part
        shown = consistency.displayed_view(plane[..., None], story.subject.orientation)[..., 0]
        piece = shown[window.top : window.bottom, window.left : window.right]
        beyond = sketches.veil(np.clip(piece / 8, 0, 1), sketches.BEYOND)
    return {
        "width": window.width,
        "height": window.height,
        "patch": facts.place(story.field.inner),
        "grid": grid_lines(story),
        "kept": kept_counts(story),
        "file": sketches.exact(cut),
        "result": sketches.exact(out),
        "gray": sketches.exact(_faded(cut)),
        "features": sketches.exact(sketches.principal_colours(story.features.numpy())),
        "difference": sketches.exact(sketches.difference(reduced, cut, gain=GAIN)),
        "clues": sketches.veil(np.sqrt(sketches.scaled(weights, percentile=99.8)), sketches.CLUES),
        "top": outline(story.check.top),
        "beyond": beyond,
        "before": _shown(interpolated(story.field)),
        "after": _shown(story.field.answer().detach()),
    }


def grid_lines(story: Explanation) -> dict[str, list[int]]:
    """Where the file's 8x8 grid crosses the field: x and y of its lines; none where no grid is known."""
    phase = displayed_phase(story.subject)
    if phase is None:
        return {"x": [], "y": []}
    window, (down, right) = story.field.window, phase
    return {
        "x": [x - window.left for x in range(window.left, window.right) if (x - right) % 8 == 0],
        "y": [y - window.top for y in range(window.top, window.bottom) if (y - down) % 8 == 0],
    }


def kept_counts(story: Explanation) -> list[dict[str, float]]:
    """Of each whole block in the field, where it lies and how many of its 63 frequencies are left."""
    stored = story.subject.stored
    if stored is None:
        return []
    numbers = whole(story, kept(stored.luma).astype(np.float32))
    window, lines = story.field.window, grid_lines(story)
    return [
        {"x": x, "y": y, "count": int(numbers[window.top + y, window.left + x])}
        for y in lines["y"]
        for x in lines["x"]
        if y + 8 <= window.height and x + 8 <= window.width
    ]


def outline(region: NDArray[np.bool_]) -> str:
    """The border of a region as an SVG path along pixel edges."""
    padded = np.pad(region, 1)
    parts = []
    rows, columns = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    parts += [f"M{x} {y}h1" for y, x in zip(rows.tolist(), columns.tolist(), strict=True)]
    rows, columns = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    parts += [f"M{x} {y}v1" for y, x in zip(rows.tolist(), columns.tolist(), strict=True)]
    return "".join(parts)


def drawn_query(story: Explanation) -> dict[str, Any]:
    """The query in the middle of the patch, with the input pixels around it as coloured squares."""
    output = story.field.output
    found: Query = query(story.field, output.height // 2, output.width // 2)
    top = min(answer.row for answer in found.answers) - 1
    left = min(answer.column for answer in found.answers) - 1
    window, pixels = story.field.window, story.subject.pixels
    squares = [
        {"x": x - left, "y": y - top, "colour": _css(pixels[window.top + y, window.left + x] / 255)}
        for y in range(top, top + 4)
        for x in range(left, left + 4)
        if 0 <= y < window.height and 0 <= x < window.width
    ]
    return {
        "x": found.x - left,
        "y": found.y - top,
        "squares": squares,
        "mixed": _css(found.mixed),
        "answers": [
            {
                "x": answer.column - left + 0.5,
                "y": answer.row - top + 0.5,
                "weight": answer.weight,
                "colour": _css(answer.colour),
            }
            for answer in found.answers
        ],
    }


def _css(colour: Any) -> str:
    values = np.rint(np.clip(np.broadcast_to(np.asarray(colour, np.float64), 3), 0, 1) * 255).astype(int)
    return "rgb({}, {}, {})".format(*values.tolist())


def _shown(colours: torch.Tensor) -> str:
    return sketches.exact(np.rint(colours.clamp(0, 1).numpy() * 255).astype(np.uint8))


def _output(story: Explanation, window: Rect) -> Pixels:
    """The result's pixels of a stretch of the input, to the nearest output pixel."""
    height, width = story.subject.pixels.shape[:2]
    down, across = story.result.shape[0] / height, story.result.shape[1] / width
    rows = slice(round(window.top * down), round(window.bottom * down))
    return story.result[rows, round(window.left * across) : round(window.right * across)]


def _faded(pixels: Pixels) -> Pixels:
    """The pixels as pale gray, so that a colour over them is seen."""
    gray = pixels.astype(np.float32).mean(-1, keepdims=True)
    faded: Pixels = np.rint(gray * 0.45 + 140).clip(0, 255).astype(np.uint8)
    return faded


def _stored_shape(story: Explanation) -> tuple[int, int]:
    stored = story.subject.stored
    assert stored is not None
    return stored.height, stored.width
