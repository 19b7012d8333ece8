"""What cannot be taken back so easily is done when somebody has agreed to it, and only then."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from liif_daemon import asked, names
from liif_daemon.commands import prune, undo
from liif_daemon.first_run import agree, why_not_begin
from liif_daemon.settings import FolderSettings, Settings

from liif_engine.errors import ExitCode, UsageError

from .test_status import status
from .workshop import Workshop, draw, invoke, wait_until


def test_originals_do_not_go_before_their_time_unasked(
    workshop: Workshop, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    older = ("prune", "--older-than", "0 days", "--config", config)
    refused = invoke(*older).exception
    assert isinstance(refused, UsageError)
    assert "1 original," in refused.message
    assert "--yes" in refused.remedy
    assert "1 original let go," in invoke(*older, "--dry-run").output
    monkeypatch.setattr(prune, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr(prune.typer, "confirm", lambda *_, **__: False)
    with pytest.raises(UsageError, match="nothing was deleted"):
        prune._agree_to_lose(1, "3 kB")
    assert status(workshop)["originals"]["count"] == 1
    assert invoke("prune", "--config", config).output.startswith("0 originals")
    assert invoke(*older, "--yes").output.startswith("1 original let go,")
    assert status(workshop)["originals"]["count"] == 0


def test_many_originals_do_not_come_back_at_once_unasked_on_a_terminal(
    workshop: Workshop, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(question: str, **_: object) -> bool:
        asked.append(question)
        return False

    asked = list[str]()
    config.write_text("daemon: {state: state, ask_above: 1}\nfolders:\n  - path: pictures\n", "utf-8")
    for name in "ab":
        draw(workshop.folder / f"{name}.jpg", ord(name))
    workshop.once()
    command = ("undo", workshop.folder, "--config", config)
    monkeypatch.setattr(undo.typer, "confirm", answer)
    with monkeypatch.context() as terminal:
        terminal.setattr(undo, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
        refused = invoke(*command)
        assert refused.return_value == ExitCode.USAGE
        assert "nothing was undone there" in " ".join(refused.stderr.split())
        assert "2 originals" in asked.pop()
        assert workshop.counts() == {"done": 2}
        invoke(*command, "--dry-run")
        done = invoke("undo", workshop.folder, workshop.folder / "a.jpg", "--config", config)  # who says no to one...
        assert done.output.endswith("1 original is back, 1 failed\n")
        assert "2 originals" in asked.pop()
        assert workshop.counts() == {"done": 1, "undone": 1}
        invoke("retry", workshop.folder / "a.jpg", "--config", config)
        workshop.once()
        invoke(*command, "--yes")
        assert workshop.counts() == {"undone": 2}
    invoke("retry", workshop.folder, "--config", config)
    workshop.once()
    invoke(*command)  # no terminal: as a script means it
    assert workshop.counts() == {"undone": 2}
    assert not asked


def test_who_agrees_to_some_files_has_not_agreed_to_their_folder(workshop: Workshop) -> None:
    workshop.daemon_values["ask_above"] = 1
    for seed, name in enumerate(["a [1].jpg", "b.jpg"]):
        draw(workshop.folder / name, seed)
    named = asked.folders([workshop.folder / "a [1].jpg"], {})
    ledger, settings = workshop.ledger(), workshop.settings()
    try:
        agree(Settings(daemon=settings.daemon, folders=tuple(named)), ledger, None, None)
        with pytest.raises(UsageError, match="2 pictures"):
            agree(settings, ledger, None, None)
    finally:
        ledger.close()
    assert not names.names_files_alone(FolderSettings(path=workshop.folder))


@pytest.mark.parametrize("agreed", [False, True])
def test_a_folder_that_was_not_there_to_be_asked_about_is_not_begun_unasked(workshop: Workshop, agreed: bool) -> None:
    """As a share that is mounted after the service has started."""
    workshop.daemon_values["ask_above"] = 1
    draw(workshop.folder / "a.jpg", 1)
    draw(workshop.folder / "b.jpg", 2)
    away, settings = workshop.base / "away", workshop.settings()
    workshop.folder.rename(away)
    ledger = workshop.ledger()
    agree(settings, ledger, yes=agreed)
    ledger.close()
    with workshop.running() as daemon:
        daemon._why_not_begin = why_not_begin
        away.rename(workshop.folder)
        if agreed:
            wait_until(lambda: workshop.counts() == {"done": 2})
        else:
            wait_until(lambda: "2 pictures in it would be replaced for the first time" in str(daemon.folders()))
            assert workshop.counts() == {}
            (workshop.folder / "b.jpg").unlink()
            workshop.folder.rename(away)
            wait_until(lambda: "not there" in str(daemon.folders()))
            away.rename(workshop.folder)
            wait_until(lambda: workshop.counts() == {"done": 1})
            assert daemon.ledger.folders.is_agreed(workshop.folder)
