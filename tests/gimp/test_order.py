"""What the dialog says will become of the image."""

from __future__ import annotations

import pytest

from gimp_plugin.liif_restore.order import Order


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (Order(), "320 × 240 becomes 640 × 480 pixels."),  # noqa: RUF001
        (Order(result="new-image"), "320 × 240 becomes 640 × 480 pixels."),  # noqa: RUF001
        (Order(result="layer"), "The image stays 320 × 240; the new layer is as large as in one of 640 × 480 "),  # noqa: RUF001
        (Order(scale=1.0), "The size stays; the selection is restored."),
        (Order(result="layer", only_artifacts=True), "The size stays; the selection is restored."),
    ],
)
def test_the_size_of_the_result_is_said_and_which_has_it(order: Order, words: str) -> None:
    assert order.outcome(320, 240, has_selection=True, has_palette=False).startswith(words)


def test_a_palette_is_said_to_go_only_where_it_does() -> None:
    said = [
        Order(result=result).outcome(9, 9, has_selection=False, has_palette=True) for result in ("image", "new-image")
    ]
    assert said[0].endswith("it becomes RGB.")
    assert said[1].endswith("the new image is RGB.")
