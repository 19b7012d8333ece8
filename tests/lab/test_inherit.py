"""A student that begins as part of its teacher."""

from __future__ import annotations

import pytest
import torch

from liif_engine.errors import ModelError
from liif_engine.lab.inherit import inherit
from liif_engine.network.model import EdsrLiif
from tests.conftest import tiny_network


def test_a_network_of_the_same_size_inherits_everything_but_the_deeper_decoder() -> None:
    parent, student = tiny_network(1, blocks=3), tiny_network(2, blocks=3)
    inherit(student, parent)
    pixels = torch.rand(1, 3, 9, 7)
    assert torch.equal(student.encode(pixels), parent.encode(pixels))
    own, theirs = student.imnet.linears, parent.imnet.linears
    assert torch.equal(own[0].weight, theirs[0].weight)
    assert not torch.equal(own[1].weight, theirs[1].weight)


def test_the_named_blocks_are_taken_in_their_order() -> None:
    parent, student = tiny_network(1, blocks=4), tiny_network(2, blocks=2)
    inherit(student, parent, (0, 3))
    for own, place in zip(student.encoder.body, (0, 3, -1), strict=True):
        theirs = parent.encoder.body[place].state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in own.state_dict().items())


def test_the_first_units_taken_are_those_that_weigh_most() -> None:
    parent, student = tiny_network(1, hidden=(6, 5)), tiny_network(2, hidden=(2, 3))
    with torch.no_grad():
        parent.imnet.linears[0].weight[[1, 4]] *= 100
    inherit(student, parent)
    assert torch.equal(student.imnet.linears[0].weight, parent.imnet.linears[0].weight[[1, 4]])
    assert torch.equal(student.imnet.linears[0].bias, parent.imnet.linears[0].bias[[1, 4]])


@pytest.mark.parametrize(
    ("student", "blocks"),
    [
        (EdsrLiif(6, 1, (4,)), ()),
        (EdsrLiif(8, 3, (4,)), ()),
        (EdsrLiif(8, 1, (40, 4)), ()),
        (EdsrLiif(8, 1, (4,)), (0, 1)),
        (EdsrLiif(8, 1, (4,)), (2,)),
        (EdsrLiif(8, 1, (4,)), (-1,)),
    ],
)
def test_what_does_not_fit_is_refused(student: EdsrLiif, blocks: tuple[int, ...]) -> None:
    with pytest.raises(ModelError):
        inherit(student, tiny_network(blocks=2), blocks)
