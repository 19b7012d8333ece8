"""2,000 files at once, one in twenty broken: the rest go on, and each is restored once."""

from __future__ import annotations

import shutil

import pytest

from .workshop import Copying, Workshop, draw, sha, size_of, wait_until

COUNT, BROKEN_EACH = 2000, 20


@pytest.mark.timeout(300)
def test_two_thousand_files_at_once(workshop: Workshop) -> None:
    workshop.daemon_values["jobs_at_once"] = 3
    incoming = workshop.base / "incoming"
    originals = {}
    for number in range(COUNT):
        path = incoming / f"{number % 40}" / f"{number}.bmp"
        data = draw(path, number, 16, 16)
        if number % BROKEN_EACH == 0:
            path.write_bytes(data[: len(data) // 3])
        originals[workshop.folder / path.relative_to(incoming)] = path.read_bytes()
    broken = {path for path in originals if int(path.stem) % BROKEN_EACH == 0}
    with workshop.running() as daemon:
        for folder in sorted(incoming.iterdir()):
            shutil.copytree(folder, workshop.folder / folder.name)
        wait_until(lambda: sum(workshop.counts().values()) == COUNT and not len(daemon.settling), 240)
        done = COUNT - len(broken)
        wait_until(lambda: workshop.counts() == {"done": done, "failed": len(broken)}, 240)
    assert isinstance(workshop.engine, Copying)
    assert len({order.source for order in workshop.engine.orders}) == len(workshop.engine.orders)
    for path, data in originals.items():
        if path in broken:
            assert path.read_bytes() == data
        else:
            assert size_of(path) == (32, 32)
            assert workshop.store.path_of(sha(data)).read_bytes() == data
    assert workshop.leftovers() == []
    print(f"\n{COUNT} files at once: {done} restored, {len(broken)} failed with a reason, 0 lost, 0 done twice")
