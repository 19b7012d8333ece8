"""Reports of several pictures, and their figures as a table: docs/clues.md.

    python bench/clues.py PICTURE... --out FOLDER [--scale 2] [--model auto]

Writes NAME.html and NAME.json for each picture, and prints a row for each as soon as it is done.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from liif_engine.lab.explain import explain
from liif_engine.restore import Engine

HEAD = (
    "| picture | compression | own blocks | nine tenths within | diffusion index | completeness error"
    " | noise inside / nearest outside / anywhere outside | beyond the blocks / unfolding / ensemble / depth"
    " | inside the intervals: file, result | seconds |\n" + "|---" * 10 + "|"
)


def row(name: str, facts: dict[str, Any]) -> str:
    """A picture's figures."""
    clues, parts, kept = facts["attribution"], facts["contributions"], facts["consistency"]
    check = clues["check"]
    noise = " / ".join(f"{check[key]:.2f}" for key in ("inside", "nearest_outside", "anywhere_outside"))
    names = ("beyond_block", "feature_unfolding", "local_ensemble", "encoder_body")
    taken = " / ".join(f"{parts[key]:.1f}" for key in names)
    shares = "-" if kept["basis"] is None else f"{100 * kept['input']:.2f}%, {100 * kept['result']:.2f}%"
    quality = facts["quality_estimate"]
    compression = "none found" if quality is None and facts["grid_phase"] is None else f"quality {quality or 'unknown'}"
    if facts["grid_phase"] not in (None, [0, 0]):
        compression += f", grid at {facts['grid_phase'][1]}, {facts['grid_phase'][0]}"
    return (
        f"| {name} | {compression}; {facts['model']['name']} | {100 * clues['own_blocks']:.0f}%"
        f" | {clues['radius_90']} px | {clues['diffusion_index']:.1f} | {100 * clues['completeness_error']:.2f}%"
        f" | {noise} | {taken} | {shares} | {facts['seconds']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--model", default="auto")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    engine = Engine(options.model)
    print(HEAD, flush=True)
    for path in options.picture:
        story = explain(path, scale=options.scale, engine=engine)
        facts = story.as_dict()
        (options.out / f"{path.stem}.html").write_text(story.html(), encoding="utf-8")
        (options.out / f"{path.stem}.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
        print(row(path.name, facts), flush=True)


if __name__ == "__main__":
    main()
