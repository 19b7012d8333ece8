"""The models as people choose them: what the list offers, in which words, and which of them draws the preview."""

from __future__ import annotations

#: The engine's own choice among its models.
AUTO = "auto"

#: At the end of a name: the model is asked eight times, about the picture in all eight ways to lay it.
SELF_ENSEMBLE = "+"

#: What people are told of a self-ensemble that they have chosen.
SLOWER = "asks the model eight times: the best result, in eight times the time."

#: What is offered, in this order, and what each is for; others follow without words.
WORDS = {
    AUTO: "suited to the damage of the picture",
    "auto+": "likewise, asked 8 times: better, 8 times as slow",
    "web": "compressed pictures",
    "web+": "likewise, asked 8 times: better, 8 times as slow",
    "fast": "compressed pictures, with much less work",
    "published": "pictures without damage",
}

#: What is said of the engine's own model, `liif serve --model`, where that is another one than `auto`.
OWN = "the engine's own, by `liif serve --model`"

#: The model that does the least work, and those that it stands in for: its result is like theirs.
QUICK, LIKE_QUICK = "fast", (AUTO, "web")


def plain(model: str) -> str:
    """A model's name or path without the sign of a self-ensemble."""
    return model[: -len(SELF_ENSEMBLE)] if is_slower(model) else model


def is_slower(model: str) -> bool:
    """Whether a self-ensemble is asked for."""
    return model.endswith(SELF_ENSEMBLE)


def offered(names, own: str = AUTO) -> list[tuple[str, str]]:
    """The names to choose from and their words.

    Args:
        names: of the models that the engine has.
        own: the one that it takes where nothing is said.
    """
    known = [name for name in WORDS if plain(name) in (AUTO, *names)]
    rows = {name: WORDS.get(name, "") for name in (*known, *sorted({*names, own} - {*known, ""}))}
    if own not in (AUTO, ""):
        rows[own] = "; ".join(filter(None, (rows[own], OWN)))
    return list(rows.items())


def for_preview(model: str, names, devices) -> tuple[str, str]:
    """The model that draws the preview, and words for people if that is another one than the result's.

    Args:
        model: that is chosen.
        names: of the engine's models.
        devices: that the engine works on.
    """
    if QUICK in names and plain(model) in LIKE_QUICK and all(device == "cpu" for device in devices):
        return QUICK, f"Preview by the quick model “{QUICK}”; the result will be by “{model}”."
    if is_slower(model):
        return plain(model), "Preview by the model asked once; for the result it is asked eight times."
    return model, ""
