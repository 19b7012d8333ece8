"""What the dialog's list of models offers, and which model draws the preview."""

from __future__ import annotations

import pytest

from gimp_plugin.liif_restore import models
from gimp_plugin.liif_restore.order import Order

SHIPPED = ["fast", "published", "web"]


def test_every_name_that_is_offered_says_what_it_is_for() -> None:
    offered = dict(models.offered(SHIPPED))
    assert list(offered) == ["auto", "auto+", "web", "web+", "fast", "published"]
    assert all(offered.values())


def test_what_takes_eight_times_as_long_is_said() -> None:
    slow = {name: words for name, words in models.offered(SHIPPED) if name.endswith("+")}
    assert slow
    assert all("8 times as slow" in words for words in slow.values())


def test_only_what_the_engine_has_is_offered_and_what_it_has_beside_too() -> None:
    assert [name for name, _ in models.offered(["web", "own"])] == ["auto", "auto+", "web", "web+", "own"]


def test_the_engines_own_model_is_offered_and_called_so() -> None:
    own = dict(models.offered(SHIPPED, "/a/own.safetensors"))
    assert list(own) == ["auto", "auto+", "web", "web+", "fast", "published", "/a/own.safetensors"]
    assert "the engine's own" in own["/a/own.safetensors"]
    among = dict(models.offered(SHIPPED, "web"))
    assert list(among) == list(own)[:-1]
    assert [name for name, words in among.items() if "the engine's own" in words] == ["web"]
    assert models.offered(SHIPPED, "auto") == models.offered(SHIPPED)


def test_the_preview_is_never_asked_eight_times() -> None:
    for chosen in ("auto+", "web+", "published+", "/a/own.safetensors+"):
        for names, device in ((SHIPPED, "cpu"), (["web"], "cpu"), (SHIPPED, "cuda:0")):
            model, words = models.for_preview(chosen, names, [device])
            assert not model.endswith("+")
            assert words


def test_the_preview_is_by_the_model_itself_where_that_is_quick_or_no_other_is_like_it() -> None:
    assert models.for_preview("web", SHIPPED, ["cuda:0"]) == ("web", "")
    assert models.for_preview("published", SHIPPED, ["cpu"]) == ("published", "")
    assert models.for_preview("fast", SHIPPED, ["cpu"]) == ("fast", "")


def test_a_quick_preview_names_both_models() -> None:
    model, words = models.for_preview("auto", SHIPPED, ["cpu"])
    assert model == "fast"
    assert "“fast”" in words
    assert "“auto”" in words


def test_auto_is_auto_whatever_the_engine_takes_where_nothing_is_said() -> None:
    assert Order().engine_options()["model"] == "auto"
    assert Order(model="").engine_options()["model"] is None
    assert models.for_preview("", SHIPPED, ["cpu"]) == ("", ""), "the engine's own may be any model"


def test_a_path_may_begin_at_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/eve")
    monkeypatch.setenv("USERPROFILE", "/home/eve")
    for model in ("~/own.safetensors", "~/own.safetensors+"):
        assert Order(model=model).engine_options()["model"] == model.replace("~", "/home/eve")
