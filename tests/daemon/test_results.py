"""Promise 6: a result carries what its original carried; its name and size, and what is left alone."""

from __future__ import annotations

import os

from liif_daemon.why import why

from .workshop import Workshop, draw, sha, size_of


def test_what_a_file_carried_its_result_carries(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    path.chmod(0o640)
    os.utime(path, (1e9, 1e9))
    attributes = {"user.tag": b"holiday", "user.note": b"\0\1"}
    try:
        for name, value in attributes.items():
            os.setxattr(path, name, value)
    except OSError:
        attributes = {}
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    assert workshop.once() == {"done": 1}
    after = path.stat()
    assert after.st_size != before.st_size
    for key in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
        assert getattr(after, key) == getattr(before, key)
    assert {name: os.getxattr(path, name) for name in os.listxattr(path) if name in attributes} == attributes


def test_mtime_now(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    os.utime(path, (1e9, 1e9))
    workshop.once(mtime="now")
    assert path.stat().st_mtime > 1.5e9


def test_hard_links_are_left_alone_or_parted_as_set(workshop: Workshop) -> None:
    path, other = workshop.folder / "a.jpg", workshop.base / "other.jpg"
    data = draw(path, 1)
    os.link(path, other)
    assert workshop.once() == {"skipped": 1}
    assert path.read_bytes() == data
    assert workshop.once(hard_links="replace") == {"done": 1}
    assert other.read_bytes() == data
    assert size_of(path) == (40, 32)


def test_several_scales_come_from_the_original(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    assert workshop.once(scales=[2, 4, 3]) == {"done": 3}
    sizes = {one.name: size_of(one) for one in workshop.folder.iterdir()}
    assert sizes == {"a.jpg": (40, 32), "a@4x.jpg": (80, 64), "a@3x.jpg": (60, 48)}
    assert workshop.once(scales=[2, 4, 3]) == {"done": 3}
    assert workshop.store.holds(sha(data))


def test_a_taken_name_beside_the_original_is_not_overwritten(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    (workshop.folder / "a@4x.jpg").write_bytes(b"somebody's")
    counts = workshop.once(scales=[2, 4])
    assert counts["failed"] >= 1
    assert counts["done"] == 1
    assert (workshop.folder / "a@4x.jpg").read_bytes() == b"somebody's"
    os.utime(workshop.folder / "a.jpg", (1, 1))  # so that the result is looked at, which ends nothing of its original's
    workshop.once(scales=[2, 4])
    (workshop.folder / "a@4x.jpg").unlink()
    ledger = workshop.ledger()
    ledger.retry(ledger.jobs(path=workshop.folder / "a.jpg", state="failed"))
    ledger.close()
    workshop.once(scales=[2, 4])  # from the original in the store
    assert size_of(workshop.folder / "a@4x.jpg") == (80, 64)
    assert size_of(workshop.folder / "a.jpg") == (40, 32)


def test_what_is_too_small_too_large_or_undamaged_is_left_alone_with_the_reason(workshop: Workshop) -> None:
    draw(workshop.folder / "small.jpg", 1, 10, 40)
    draw(workshop.folder / "large.jpg", 2, 400, 300)
    rules = {"max_megapixels": 0.1, "only_below_quality": 90}
    draw(workshop.folder / "fine.png", 3, 64, 64)
    assert workshop.once(**rules) == {"skipped": 3}
    ledger, settings = workshop.ledger(), workshop.settings(**rules)
    for name, word in (("small", "min_side"), ("large", "max_megapixels"), ("fine", "only_below_quality")):
        path = next(workshop.folder.glob(f"{name}.*"))
        assert word in " ".join(why(path, settings, ledger, workshop.store))
    ledger.close()
    assert workshop.once(min_side=1) == {"done": 3}  # other rules: looked at again


def test_what_is_larger_already_than_what_is_asked_for_is_left_alone(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1, 64, 48)
    draw(workshop.folder / "large.jpg", 2, 200, 100)
    assert workshop.once(long_edge=128) == {"done": 1, "skipped": 1}
    assert size_of(workshop.folder / "a.jpg") == (128, 96)
    assert size_of(workshop.folder / "large.jpg") == (200, 100)
    settings, ledger = workshop.settings(long_edge=128), workshop.ledger()
    said = " ".join(why(workshop.folder / "large.jpg", settings, ledger, workshop.store))
    ledger.close()
    assert "200x100 is larger already than what is asked for (long edge 128)" in said
    workshop.once(long_edge=400)  # asked for more: looked at again
    assert size_of(workshop.folder / "large.jpg") == (400, 200)
    assert size_of(workshop.folder / "a.jpg") == (128, 96), "it is a result"


def test_why_says_of_a_folder_whether_it_is_watched_and_how_it_went(workshop: Workshop) -> None:
    draw(workshop.folder / "deep" / "a.jpg", 1)
    (workshop.folder / "bad.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    workshop.once()
    ledger, settings, store = workshop.ledger(), workshop.settings(), workshop.store
    (said,) = why(workshop.folder, settings, ledger, store)
    assert said.startswith("It is watched: ")
    assert "1 restored" in said
    assert "1 failed" in said
    (said,) = why(workshop.folder / "deep", settings, ledger, store)
    assert said == f"It is watched, as a part of {workshop.folder}: 1 restored."
    assert why(workshop.base, settings, ledger, store) == ["It is a folder that nobody watches."]
    (workshop.base / "elsewhere" / "deep").mkdir(parents=True)
    (workshop.folder / "link").symlink_to(workshop.base / "elsewhere")
    draw(workshop.folder / "link" / "c.jpg", 3)
    (said,) = why(workshop.folder / "link" / "c.jpg", settings, ledger, store)
    assert said == "It is not looked at: symbolic links are not followed."
    (said,) = why(workshop.folder / "link" / "deep", settings, ledger, store)
    assert said.startswith("It is not watched, since symbolic links are not followed: ")
    flat = workshop.settings(recursive=False)
    draw(workshop.folder / "deep" / "b.jpg", 2)
    (said,) = why(workshop.folder / "deep" / "b.jpg", flat, ledger, store)
    assert said == f"It is not looked at: it lies in a subfolder of {workshop.folder}, where recursive is false."
    (said,) = why(workshop.folder / "deep", flat, ledger, store)
    assert said.startswith(f"It is not watched, since it is a subfolder of {workshop.folder}, where recursive is false")
    ledger.close()
