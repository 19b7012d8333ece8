"""``liif evaluate --audit``: which forms of arithmetic keep to the bound, on which content, with which models."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from liif_engine.errors import DeviceError, ExitCode, OutputError, UsageError
from liif_engine.lab.audit import BOUND, AuditedTile, Summary, audit, summaries, worst_first
from liif_engine.lab.audit_pictures import pictures
from liif_engine.lab.audit_sheet import sheet
from liif_engine.model_names import AUTO, CLEAN, DAMAGED, like, plain
from liif_engine.network.card import shipped_models
from liif_engine.network.device import DTYPE, choose_device, choose_precision
from liif_engine.restore import Engine

#: The small network, and the one that it stands in for.
FAST, LIKE = "fast", "web"

#: Rows of the sheet.
WORST = 8


def run(
    model: str, images: Sequence[Path], *, scale: float, side: int, device: str, sheet_file: Path | None, as_json: bool
) -> ExitCode:
    """Audits and prints.

    Args:
        model: ``auto`` stands for every model that it chooses from, ``auto+`` for these as self-ensembles.
        images: folders of photographs; may be empty.
        scale: >= 1.
        side: of the drawn pictures.
        device: as for `Engine`.
        sheet_file: a PNG for the worst tiles.

    Returns:
        OK, or SEVERAL if a form that is a default misses the bound.

    Raises:
        UsageError: the scale or the side make no sense.
        DeviceError: the device has no reduced precision and no other form is shipped.
        OutputError: the sheet cannot be written.
    """
    if not scale >= 1 or side % 8 or side < 64:
        raise UsageError("an audit needs a scale of at least 1 and a side of 64 or more that 8 divides")
    if sheet_file is not None and not sheet_file.parent.is_dir():
        raise OutputError("its folder does not exist", path=sheet_file, remedy="Make the folder first.")
    names = tuple(like(model, name) for name in (DAMAGED, CLEAN)) if plain(model) == AUTO else (model,)
    precisions = reduced_precisions(device)
    default = choose_precision("auto", choose_device(device))
    rows: list[dict[str, Any]] = []
    worst: dict[str, list[AuditedTile]] = {}
    missed = False
    for name in names:
        exact = Engine(name, device=device, precision="fp32")
        forms = {precision: Engine(name, device=device, precision=precision) for precision in precisions}
        if name == LIKE and FAST in shipped_models():
            forms[FAST] = Engine(FAST, device=device, precision="fp32")
        if not forms:
            raise DeviceError("this device computes in no reduced precision", remedy="Audit on another --device.")
        tiles = list(audit(exact, forms, pictures(images, side=side), scale=scale))
        for form in forms:
            named = (replace(tile, form=f"{name}, {form}") for tile in tiles if tile.form == form)
            found = [*worst.get(form, []), *named]
            worst[form] = worst_first(found)[:WORST]
        for summary in summaries(tiles):
            missed = missed or (summary.form == default and not summary.passes)
            rows.append({"model": name, "default": summary.form == default, **summary.as_dict()})
            print(line(name, summary), file=sys.stderr if as_json else sys.stdout, flush=True)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print(f"bound: rms {BOUND.rms:g} levels in every tile of 64x64, and no further than saving as JPEG strays")
        if default != "fp32":
            print(f"the default for 8-bit pictures, {default}, {'misses it' if missed else 'keeps to it'}")
    if sheet_file is not None:
        _save([tile for rows in worst.values() for tile in rows], sheet_file)
    return ExitCode.SEVERAL if missed else ExitCode.OK


def reduced_precisions(device: str) -> list[str]:
    """Every precision but fp32 that the device computes in."""
    found = []
    for precision in DTYPE:
        try:
            choose_precision(precision, choose_device(device))
        except DeviceError:
            continue
        found.append(precision)
    return [precision for precision in found if precision != "fp32"]


def line(model: str, summary: Summary) -> str:
    """One row of the table."""
    overall, worst = summary.overall, summary.worst
    return (
        f"{model:10} {summary.form:5} {summary.kind:22} mean {overall.mean:.3f}  99.9% {overall.p999:.2f}"
        f"  max {overall.maximum:.2f}  worst tile: rms {worst.rms:.3f}  99.9% {worst.p999:.2f}"
        f"  {summary.share:.2f} of the bound{'' if summary.passes else '  MISSED'}"
    )


def _save(tiles: list[AuditedTile], file: Path) -> None:
    try:
        sheet(tiles).save(file, "PNG", optimize=True)
    except OSError as error:
        raise OutputError(f"cannot write the sheet ({error.strerror or error})", path=file) from error
