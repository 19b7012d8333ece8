"""An explanation as plain facts: what `liif explain --json` prints, and what the report's sentences are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import liif_engine
from liif_engine.lab.attribution import BLUR, NOISE, TOP, distance
from liif_engine.lab.blocks import blocks_of, displayed_phase
from liif_engine.model_names import plain
from liif_engine.picture.consistency import Agreement
from liif_engine.picture.damage import Damage
from liif_engine.picture.loss import kept, survivors
from liif_engine.picture.tiles import Rect

if TYPE_CHECKING:
    from liif_engine.lab.explain import Explanation

#: Rings around the patch, by the distance at which each ends [input pixels]; the last ends with the network's sight.
RINGS = (0, 8, 16, 24)

#: Frequencies by their place on the diagonals of a block: what a band is called, and the first diagonal after it.
BANDS = {"mean": 1, "low": 4, "middle": 8, "high": 15}

#: A quality this much lower than the file's own tells of an earlier, coarser generation.
COARSER = 5


def as_dict(story: Explanation) -> dict[str, Any]:
    """Plain JSON values."""
    subject = story.subject
    damage = subject.damage
    return {
        "version": liif_engine.__version__,
        "file": {
            "name": subject.path.name,
            "format": subject.format,
            "sha256": subject.sha256,
            "width": subject.width,
            "height": subject.height,
        },
        "model": {"name": story.model, "precision": story.precision, "explained": plain(story.model)},
        "scale": story.scale,
        "consistent": story.consistent,
        "seconds": round(story.seconds, 2),
        "window": place(subject.window),
        "region": None if story.region is None else place(story.region),
        "patch": place(moved(story.patch, subject.window.top, subject.window.left)),
        "quality_estimate": damage.quality,
        "grid_phase": None if damage.grid_phase is None else list(damage.grid_phase),
        "grid_strength": damage.grid_strength,
        "quality": quality(damage),
        "generations": generations(story),
        "damage": damage_of(story),
        "attribution": attribution(story),
        "contributions": contributions(story),
        "consistency": consistency(story),
        "notes": [*subject.notes, *differences(story)],
    }


def differences(story: Explanation) -> list[str]:
    """In what the result that is shown is another than the one whose clues were looked for, in words."""
    found = []
    if (one := plain(story.model)) != story.model:
        found.append(
            f"The result is the mean of eight answers of {one}, to the picture turned and mirrored in all eight ways"
            f" ({story.model}). The clues and the experiments are those of one of them, to the picture as it lies."
        )
    if story.consistent:
        found.append(
            "The result was moved into the file's intervals. The clues and the experiments are those of the network's"
            " answer before that."
        )
    return found


def place(rect: Rect) -> list[int]:
    """[x, y, width, height]."""
    return [rect.left, rect.top, rect.width, rect.height]


def moved(rect: Rect, down: int, right: int) -> Rect:
    """A rectangle, moved."""
    return Rect(rect.top + down, rect.bottom + down, rect.left + right, rect.right + right)


def quality(damage: Damage) -> dict[str, Any]:
    """What the file says of its quality, and what its pixels say."""
    file = damage.file
    said = None
    if file is not None:
        said = {
            "codec": file.codec,
            "quality": file.quality,
            "exact": file.exact,
            "subsampling": file.subsampling,
        }
    return {"file": said, "pixels": damage.pixel_quality}


def generations(story: Explanation) -> list[str]:
    """What is known of the times that the picture was compressed, the last first, in words."""
    subject = story.subject
    damage, found = subject.damage, []
    own = (0, 0)
    if damage.file is not None:
        about = "" if damage.file.exact else "about "
        kind = {"jpeg": "JPEG", "webp": "WebP"}[damage.file.codec]
        found.append(f"{kind} of quality {about}{damage.file.quality}, {damage.file.subsampling}: the file itself")
        own = (displayed_phase(subject) or own) if subject.stored is not None else own
    phase, pixels = damage.grid_phase, damage.pixel_quality
    if phase is None:
        return found
    seen = f"of quality about {pixels}" if pixels is not None else "of unknown quality"
    where = f"its 8x8 grid starts at column {phase[1]}, row {phase[0]} of the pixels"
    if damage.file is None:
        cut = "" if phase == (0, 0) else ", so it was cropped or moved afterwards"
        found.append(f"a JPEG {seen}, told from the pixels alone: {where}{cut}")
    elif phase != own:
        found.append(f"before that, a JPEG {seen}: {where}, not where the file's own grid lies")
    elif pixels is not None and pixels < damage.file.quality - COARSER:
        found.append(
            f"before that, a JPEG {seen} on the same grid: the pixels keep to coarser steps than the file's own"
        )
    return found


def damage_of(story: Explanation) -> dict[str, Any] | None:
    """What is estimated to be lost; None where no grid and no tables are known."""
    if story.loss is None or story.subject.stored is None:
        return None
    luma = story.subject.stored.luma
    counts = kept(luma)
    return {
        "expected_loss": round(float(np.sqrt(np.square(story.loss).mean())), 3),
        "frequencies_kept": round(float(counts.mean()) / 63, 4),
        "survivors": [[round(float(share), 4) for share in row] for row in survivors(luma)],
        "steps": luma.steps.tolist(),
        "estimated": story.subject.stored.estimated,
    }


def attribution(story: Explanation) -> dict[str, Any]:
    """The clues: where from, and how well that is known."""
    clues, check = story.attribution, story.check
    weights, away, halo = clues.weights, distance(story.field), story.field.model.halo
    blocks = blocks_of(story.field, story.subject)
    own = float(weights[blocks.top : blocks.bottom, blocks.left : blocks.right].sum())
    reach = np.bincount(away.ravel(), weights=weights.ravel(), minlength=away.max() + 1).cumsum()
    return {
        "explained": "mean gradient magnitude of the patch's luma, grey levels per pixel",
        "baseline": round(clues.baseline, 3),
        "observed": round(clues.observed, 3),
        "blur": BLUR,
        "steps": clues.steps,
        "completeness_error": round(clues.completeness_error, 5),
        "diffusion_index": round(clues.diffusion_index, 3),
        "own_blocks": round(own, 4),
        "rings": {f"{low}-{high}": round(share, 4) for (low, high), share in rings(weights, away, halo).items()},
        "mean_distance": round(float((weights * away).sum()), 2),
        "sight": int(away.max()),
        "radius_50": int(np.searchsorted(reach, 0.5)),
        "radius_90": int(np.searchsorted(reach, 0.9)),
        "check": {
            "noise": NOISE,
            "share": TOP,
            "pixels": int(check.top.sum()),
            "inside": round(check.inside, 3),
            "nearest_outside": round(check.near, 3),
            "anywhere_outside": round(check.anywhere, 3),
        },
    }


def rings(weights: NDArray[Any], away: NDArray[np.int64], halo: int) -> dict[tuple[int, int], float]:
    """Each ring's share of the attribution, by (first, last) distance; the network sees `halo` pixels far."""
    shares, low = {}, 0
    for high in (*(ring for ring in RINGS if ring < halo), halo):
        shares[low, high] = float(weights[(away >= low) & (away <= high)].sum())
        low = high + 1
    return shares


def contributions(story: Explanation) -> dict[str, Any]:
    """What the patch loses with each part, in grey levels."""
    parts = story.contributions
    return {
        "restoring": round(parts.restoring, 3),
        **{part.name: round(part.change, 3) for part in parts.parts},
        "by_depth": [[depth, round(change, 3)] for depth, change in parts.by_depth],
        "by_reach": [[reach, round(change, 3)] for reach, change in parts.by_reach],
    }


def consistency(story: Explanation) -> dict[str, Any]:
    """Shares of coefficients inside the file's intervals; null where no intervals are known."""
    stored = story.subject.stored
    if story.before is None or story.after is None or stored is None:
        why = "the file is no JPEG, and its pixels keep to no JPEG's steps"
        return {"basis": None, "input": None, "result": None, "why": why}
    within, beyond = (
        float(sum(np.square(part).sum() for part in parts)) for parts in (story.after.within, story.after.beyond)
    )
    return {
        "basis": "pixels" if stored.estimated else "file",
        "input": round(story.before.share, 6),
        "result": round(story.after.share, 6),
        # Chroma at half the size has no whole block in a picture of less than 16 pixels.
        "components": [round(float(part.mean()), 6) if part.size else None for part in story.after.inside],
        "kept": round(by_fate(story)[0], 6),
        "lost": round(by_fate(story)[1], 6),
        "bands": by_band(story.after),
        "change_allowed": round(within / (within + beyond), 4) if within + beyond else 1.0,
        "earlier_generations": len(generations(story)) > 1,
    }


def by_fate(story: Explanation) -> tuple[float, float]:
    """The share inside of the coefficients that the file kept, and of those that it made zero; over all components."""
    assert story.subject.stored is not None
    assert story.after is not None
    counts = np.zeros((2, 2))
    for component, inside in zip(story.subject.stored.components, story.after.inside, strict=True):
        kept_here = component.levels[: inside.shape[0], : inside.shape[1]] != 0
        for row, chosen in enumerate((kept_here, ~kept_here)):
            counts[row] += inside[chosen].sum(), chosen.sum()
    kept_share, lost_share = (float(hits / count) if count else 1.0 for hits, count in counts)
    return kept_share, lost_share


def by_band(agreement: Agreement) -> dict[str, float]:
    """The share inside of the luma's coefficients, by band of frequency."""
    diagonal = np.add.outer(np.arange(8), np.arange(8))
    shares, first = {}, 0
    for name, end in BANDS.items():
        shares[name] = round(float(agreement.inside[0][..., (diagonal >= first) & (diagonal < end)].mean()), 5)
        first = end
    return shares
