"""What reads images and texts at the bottom of a split model.

Features have length 1, or 0 where nothing is: none may crowd other columns out of a clipped gradient.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from fedward_shared import adapters, base_models, names, pretrained
from fedward_shared.errors import ModelError
from fedward_shared.vertical.columns import ImageColumn, TextColumn
from fedward_shared.vertical.images import GREY

CHANNELS = 16, 32, 64
GROUPS, PLACES = 4, 2
"""A layer's channels are normalised in so many groups, of one record alone; what is found in an image is
told apart by so many places on either side."""
PROBE_TOLERANCE = 1e-3


class Pictures(nn.Module):
    """A small convolutional network."""

    def __init__(self, column: ImageColumn) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([column.channels, *CHANNELS]):
            layers.append(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False))
            layers += [nn.GroupNorm(GROUPS, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(PLACES), nn.Flatten())
        self.width = CHANNELS[-1] * PLACES**2

    def forward(self, pixel_BKHW: torch.Tensor) -> torch.Tensor:
        """Features of images in uint8, [B, D]."""
        features_BD = self.layers((pixel_BKHW.float() - GREY) / 255)
        return functional.normalize(features_BD, dim=1)


class Words(nn.Module):
    """A base model, adapted by LoRA or as it is: the mean of its last hidden states.

    Raises ModelError for a base model that is not among `folders`, that reads fewer tokens, or of which
    a position does not read those after it; CharterError for modules or layers that it has not got.
    """

    def __init__(self, column: TextColumn, folders: tuple[Path, ...]) -> None:
        super().__init__()
        folder = base_models.find(folders, column.base_model.digest)
        base = pretrained.load_encoder(folder)
        self.width = int(base.config.hidden_size)
        most = getattr(base.config, "max_position_embeddings", column.max_tokens)
        if column.max_tokens > most:
            raise ModelError(
                f"{folder}: reads {most} tokens, {column.name} has {column.max_tokens}"
            )
        self.encoder = adapters.attach(base, column.adapter).eval()
        try:
            # The others ask whether a mask is all ones, which gradients of single records cannot answer.
            base.set_attn_implementation("eager")
            reads = self._reads_all()
        except (KeyError, RuntimeError, TypeError, ValueError):
            reads = False
        if not reads:
            raise ModelError(f"{folder}: is no encoder of which each position reads all others")

    @torch.no_grad()
    def _reads_all(self) -> bool:
        """Whether it computes by our mask what it computes by the library's own."""
        token_1T = torch.tensor([[1, 2, 3, -1]])
        ours = self._hidden(token_1T)
        library = self.encoder(
            input_ids=token_1T.clamp(min=0), attention_mask=(token_1T >= 0).long()
        ).last_hidden_state
        same = torch.isclose(ours, library, atol=PROBE_TOLERANCE, rtol=PROBE_TOLERANCE)
        return bool(same[:, :-1].all())

    def _hidden(self, token_BT: torch.Tensor) -> torch.Tensor:
        """The last hidden states, [B, T, D]."""
        count, length = token_BT.shape
        unread = torch.finfo(torch.float32).min
        read_BT = torch.zeros(token_BT.shape).masked_fill(token_BT < 0, unread)
        hidden_BTD: torch.Tensor = self.encoder(
            input_ids=token_BT.clamp(min=0).long(),
            attention_mask=read_BT[:, None, None, :].expand(count, 1, length, length),
        ).last_hidden_state
        return hidden_BTD

    def forward(self, token_BT: torch.Tensor) -> torch.Tensor:
        """Features of texts of which -1 is no token, [B, D]."""
        there_BT1 = (token_BT >= 0)[:, :, None]
        # At length 1 a sum is the mean.
        return functional.normalize((self._hidden(token_BT) * there_BT1).sum(dim=1), dim=1)

    @torch.no_grad()
    def begin(self, drawn: torch.Generator) -> None:
        """Starts the adapter at numbers from `drawn`, at which it changes nothing yet."""
        for name, tensor in adapters.adapter_tensors(self.encoder).items():
            if names.part_of(name) == "A":
                width = tensor.shape[1] ** -0.5
                tensor.uniform_(-width, width, generator=drawn)
            else:
                tensor.zero_()


Reader = Pictures | Words


def reader(column: ImageColumn | TextColumn, folders: tuple[Path, ...]) -> Reader:
    """Of a column. Raises what `Words` raises."""
    return Pictures(column) if isinstance(column, ImageColumn) else Words(column, folders)
