"""Which device is taken, and what is said of one that cannot be used."""

from __future__ import annotations

import pytest
import torch

from liif_engine.commands.options import refuse_unknown
from liif_engine.errors import DeviceError
from liif_engine.network.device import choose_device, has_failed


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as their number goes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["cuda:2", "cuda:128", "cuda:256"])
def test_a_gpu_that_is_not_there_is_refused(name: str) -> None:
    """torch keeps an index in a byte: to it 128 is -128, and 256 is 0."""
    with pytest.raises(DeviceError, match=name):
        choose_device(name)
    assert choose_device("cuda:1").index == 1


@pytest.mark.parametrize("name", ["cpu:0", "gpu", "meta", "", "cuda:", torch.device("cpu", 0)])
def test_what_is_no_devices_name_is_refused_as_by_the_commands(name: str) -> None:
    with pytest.raises(DeviceError) as told:
        choose_device(name)
    with pytest.raises(DeviceError) as said:
        refuse_unknown(model=None, device=str(name), precision=None)
    assert (
        told.value.explain()
        == said.value.explain()
        == (f"there is no device {str(name)!r}. Use auto, cpu, cuda, cuda:N or mps.")
    )


@pytest.mark.usefixtures("two_gpus")
def test_a_driver_that_refuses_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("CUDA driver initialization failed, you might not have a CUDA gpu.")

    monkeypatch.setattr(torch.cuda, "init", refuse)
    with pytest.raises(DeviceError, match="initialization failed"):
        choose_device("cuda")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device\n..."), "cpu"),
        (RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"), "cpu"),
        (torch.OutOfMemoryError("CUDA out of memory"), "cuda"),
        (None, "cuda"),
    ],
)
def test_auto_takes_a_gpu_that_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: RuntimeError | None, kind: str
) -> None:
    """One too old for this torch, say, is there and cannot compute; one that lacks memory now may have it later."""
    ones = torch.ones

    def on_gpu(count: int, *, device: str) -> torch.Tensor:
        assert device == "cuda"
        if error is not None:
            raise error
        return ones(count)

    monkeypatch.setattr(torch, "ones", on_gpu)
    assert choose_device("auto").type == kind
    assert ("cannot be used" in caplog.text) == (kind == "cpu")


def test_only_what_a_gpu_says_is_its_failure() -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert has_failed(torch.AcceleratorError("device kernel image is invalid"), gpu)
    assert has_failed(RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), gpu)
    assert not has_failed(RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu!"), gpu)
    assert not has_failed(ValueError("CUDA"), gpu)
    assert not has_failed(RuntimeError("CUDA error: unspecified launch failure"), cpu)
