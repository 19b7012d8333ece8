"""What the report stands on, in two lists: papers around the question, and the methods that the report itself uses."""

from __future__ import annotations

from typing import NamedTuple


class Reference(NamedTuple):
    """A paper: its name, where it is found, what it says about the question, and what here uses it."""

    name: str
    title: str
    address: str
    code: str
    says: str
    here: str


#: The recommended model, and papers around the question.
QUESTION = (
    Reference(
        "LIIF",
        "Learning Continuous Image Representation with Local Implicit Image Function (Chen, Liu and Wang, CVPR 2021)",
        "https://arxiv.org/abs/2012.09161",
        "https://github.com/yinboc/liif",
        "A picture can be kept as a grid of latent codes and asked for its colour at any point, so one model enlarges"
        " to any scale; each answer mixes what the four nearest codes say.",
        "A model of this kind, with EDSR as its encoder (SISR-Any-LIIF-EDSR), made this result.",
    ),
    Reference(
        "Long Tail",
        "Understanding the Effect of the Long Tail on Neural Network Compression (Dam et al., 2023)",
        "https://arxiv.org/abs/2306.06238",
        "",
        "A network made smaller can keep its score and still answer differently, most of all on rare cases that the"
        " large one had memorised; so clues may live in the weights, and an average does not show that they are gone.",
        "A cheaper way of computing is let in by how near its pixels come to the full network's (the fidelity gate),"
        " not by its score alone.",
    ),
    Reference(
        "SDComp",
        "Tell Codec What Worth Compressing: Semantically Disentangled Image Coding for Machine with LMMs"
        " (Liu et al., 2024)",
        "https://arxiv.org/abs/2408.08575",
        "",
        "Bits are best spent on what matters in a picture, and a large model can say what that is; JPEG spends them by"
        " frequency alone and knows no objects.",
        "It is why this report begins with a damage map and looks closely at one place instead of at averages.",
    ),
    Reference(
        "LCL",
        "Vision Model Pre-training on Interleaved Image-Text Data via Latent Compression Learning"
        " (Yang et al., NeurIPS 2024)",
        "https://arxiv.org/abs/2406.07543",
        "https://github.com/OpenGVLab/LCL",
        "To compress well is to know what follows from context: a model trained to compress learns representations that"
        " are useful elsewhere.",
        "The same thought, backwards, is the clue at work here: what compression left and how pictures usually go on"
        " tell together what it took.",
    ),
)

#: What the report itself uses.
METHODS = (
    Reference(
        "EDSR",
        "Enhanced Deep Residual Networks for Single Image Super-Resolution (Lim et al., CVPR Workshops 2017)",
        "https://arxiv.org/abs/1707.02921",
        "",
        "Residual blocks without batch normalisation suffice to see a picture's structure and keep its brightness.",
        "The encoder is made of such blocks.",
    ),
    Reference(
        "LAM",
        "Interpreting Super-Resolution Networks with Local Attribution Maps (Gu and Dong, CVPR 2021)",
        "https://arxiv.org/abs/2011.11036",
        "",
        "Which input pixels made a patch can be measured by integrating gradients from a blurred picture to the sharp"
        " one.",
        "The map of clues, the diffusion index, and the test that the map adds up.",
    ),
)
