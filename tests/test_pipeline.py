"""Many files at once: order, faults, memory, and that reading, computing and writing overlap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from liif_engine import Engine, memory
from liif_engine import file as picture_file
from liif_engine.errors import LiifError, MemoryExhaustedError, OutputExistsError, TooLargeError, UsageError
from liif_engine.file import Outcome
from liif_engine.pipeline import Options, restore_files
from liif_engine.plan import Plan
from liif_engine.plan import plan as plan_of
from liif_engine.target import Target

from .conftest import picture, tiny_network

WAIT_SECONDS = 60


class Heard:
    """What a report was told, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.errors: list[Exception] = []
        self.computed: list[str] = []

    def restored(self, outcome: Outcome) -> None:
        assert outcome.plan.destination.is_file()
        self.lines.append((outcome.plan.source.name, "restored"))

    def failed(self, plan: Plan, error: Exception) -> None:
        self.errors.append(error)
        self.lines.append((plan.source.name, type(error).__name__))

    @contextmanager
    def computing(self, plan: Plan) -> Iterator[None]:
        self.computed.append(plan.source.name)
        yield


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(tiny_network(), device="cpu", precision="fp32")


@pytest.fixture
def heard() -> Heard:
    return Heard()


def plans(folder: Path, count: int, out: str = "done") -> list[Plan]:
    """Plans of small pictures 0.png, 1.png, ..., none like another."""
    (folder / out).mkdir(exist_ok=True)
    made = []
    for index in range(count):
        source = folder / f"{index}.png"
        Image.fromarray(picture(9 + index, 12, seed=index)).save(source)
        made.append(plan_of(source, Target(scale=2), out=folder / out))
    return made


def test_results_and_their_order_are_those_of_one_file_after_the_other(
    engine: Engine, heard: Heard, tmp_path: Path
) -> None:
    restore_files(engine, plans(tmp_path, 7), Options(), heard)
    assert heard.lines == [(f"{index}.png", "restored") for index in range(7)]
    for plan in plans(tmp_path, 7, "alone"):
        picture_file.run(engine, plan)
        assert plan.destination.read_bytes() == (tmp_path / "done" / plan.destination.name).read_bytes()


@pytest.mark.parametrize("part", ["read", "compute", "write"])
def test_one_bad_file_does_not_stop_the_others(
    engine: Engine, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    made = plans(tmp_path, 5)
    original = getattr(picture_file, part)

    def faulty(*arguments: Any, **rest: Any) -> Any:
        if made[2] in arguments:
            raise UsageError("scripted")
        return original(*arguments, **rest)

    monkeypatch.setattr(picture_file, part, faulty)
    restore_files(engine, made, Options(), heard)
    assert [state for _, state in heard.lines] == ["restored", "restored", "UsageError", "restored", "restored"]
    assert [name for name, _ in heard.lines] == [plan.source.name for plan in made]
    assert not made[2].destination.exists()


def test_the_next_file_is_read_and_the_last_one_written_while_one_computes(
    engine: Engine, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Computing the second waits until the third is read and the first about to be written; in turn, it would hang."""
    made = plans(tmp_path, 3)
    third_is_read, first_is_written = threading.Event(), threading.Event()
    read, compute, write = picture_file.read, picture_file.compute, picture_file.write

    def reading(engine: Engine, plan: Plan, **rest: Any) -> Any:
        found = read(engine, plan, **rest)
        if plan is made[2]:
            third_is_read.set()
        return found

    def computing(engine: Engine, plan: Plan, *rest: Any, **more: Any) -> Any:
        if plan is made[1]:
            assert third_is_read.wait(WAIT_SECONDS)
            assert first_is_written.wait(WAIT_SECONDS)
        return compute(engine, plan, *rest, **more)

    def writing(plan: Plan, *rest: Any, **more: Any) -> Any:
        if plan is made[0]:
            first_is_written.set()
        return write(plan, *rest, **more)

    for name, stand_in in (("read", reading), ("compute", computing), ("write", writing)):
        monkeypatch.setattr(picture_file, name, stand_in)
    restore_files(engine, made, Options(), heard)
    assert [state for _, state in heard.lines] == ["restored"] * 3


def test_a_format_whose_coding_takes_much_memory_is_refused_before_any_work(tmp_path: Path) -> None:
    """AVIF's encoder takes ten times as much as BMP's rows do; whoever lacks it would be killed after all the work."""
    Image.fromarray(picture(300, 300)).save(tmp_path / "a.png")
    small = Engine(tiny_network(), device="cpu", memory_bytes=400_000_000)
    for name in ("a.bmp", "a.avif"):
        plan = plan_of(tmp_path / "a.png", Target(scale=10), out=tmp_path / name)
        if name == "a.avif":
            with pytest.raises(TooLargeError, match=r"needs .* of memory"):
                picture_file.read(small, plan, may_exist=False)
        else:
            picture_file.read(small, plan, may_exist=False)


def test_memory_is_bounded(engine: Engine, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no room for two, none is read before the one before it is written."""
    monkeypatch.setattr(memory, "WAITING_BYTES", 0)
    made = plans(tmp_path, 4)
    read, order = picture_file.read, []

    def reading(engine: Engine, plan: Plan, **rest: Any) -> Any:
        order.append([other.destination.exists() for other in made])
        return read(engine, plan, **rest)

    monkeypatch.setattr(picture_file, "read", reading)
    restore_files(engine, made, Options(), heard)
    assert order == [[index < turn for index in range(4)] for turn in range(4)]


def test_what_fails_for_lack_of_memory_is_tried_again_alone(
    engine: Engine, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plans(tmp_path, 3)
    compute, tries = picture_file.compute, []

    def computing(engine: Engine, plan: Plan, *rest: Any, **more: Any) -> Any:
        tries.append(plan)
        if tries.count(plan) == 1 and plan is made[1]:
            raise MemoryExhaustedError("scripted")
        return compute(engine, plan, *rest, **more)

    monkeypatch.setattr(picture_file, "compute", computing)
    restore_files(engine, made, Options(), heard)
    assert heard.lines == [(plan.source.name, "restored") for plan in made]


def test_a_file_that_an_earlier_one_writes_is_read_afterwards(engine: Engine, heard: Heard, tmp_path: Path) -> None:
    [first] = plans(tmp_path, 1, ".")
    Image.fromarray(picture(18, 24, seed=9)).save(first.destination)
    before = first.destination.read_bytes()
    second = plan_of(first.destination, Target(scale=2), out=tmp_path / "second.png")
    restore_files(engine, [first, second], Options(overwrite=True), heard)
    assert [state for _, state in heard.lines] == ["restored"] * 2
    assert first.destination.read_bytes() != before
    result = second.destination.read_bytes()
    picture_file.run(engine, second, overwrite=True)
    assert second.destination.read_bytes() == result


def test_nothing_that_appears_meanwhile_is_overwritten(
    engine: Engine, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plans(tmp_path, 2)
    compute = picture_file.compute

    def computing(engine: Engine, plan: Plan, *rest: Any, **more: Any) -> Any:
        plan.destination.write_text("somebody else's")
        return compute(engine, plan, *rest, **more)

    monkeypatch.setattr(picture_file, "compute", computing)
    restore_files(engine, made, Options(), heard)
    assert all(isinstance(error, OutputExistsError) for error in heard.errors)
    assert [plan.destination.read_text() for plan in made] == ["somebody else's"] * 2


def test_stopped_in_the_middle_what_is_written_is_whole_and_told(
    engine: Engine, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plans(tmp_path, 4)
    compute = picture_file.compute

    def computing(engine: Engine, plan: Plan, *rest: Any, **more: Any) -> Any:
        if plan is made[2]:
            raise KeyboardInterrupt
        return compute(engine, plan, *rest, **more)

    monkeypatch.setattr(picture_file, "compute", computing)
    with pytest.raises(KeyboardInterrupt):
        restore_files(engine, made, Options(), heard)
    written = {path.name for path in (tmp_path / "done").iterdir()}
    assert {name.replace(".png", "@2x.png") for name, _ in heard.lines} == written
    assert len(written) <= 2
    for path in (tmp_path / "done").iterdir():
        Image.open(path).load()


def test_a_report_that_raises_ends_the_work(engine: Engine, tmp_path: Path) -> None:
    class Strict(Heard):
        def failed(self, plan: Plan, error: Exception) -> None:
            super().failed(plan, error)
            raise error

    made, strict = plans(tmp_path, 5), Strict()
    made[0].source.unlink()
    with pytest.raises(LiifError):
        restore_files(engine, made, Options(), strict)
    assert strict.lines[0] == ("0.png", "InputError")
    assert "4.png" not in strict.computed
