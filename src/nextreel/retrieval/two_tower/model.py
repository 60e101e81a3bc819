"""The two towers as PyTorch modules; imported for training alone."""

from __future__ import annotations

import math
import os
from typing import Any

# Threads that spin while they wait make training 5 times slower as soon as anything else wants a core. Read by
# PyTorch's OpenMP library when it is loaded, hence before the import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from nextreel.retrieval.two_tower.inputs import GAP_BUCKETS
from nextreel.retrieval.two_tower.params import TwoTowerParams

SIDE_DIM = 16  # of the embeddings of channels and languages
CONTENT_DIM = 64  # what the content columns are projected to
MASKED = -1e4  # a score that adds nothing to a softmax, and stays finite


class VideoTower(nn.Module):
    """Unit vectors (n, dim) of videos from their id, channel, language, popularity and content."""

    def __init__(self, params: TwoTowerParams, sizes: tuple[int, int, int, int]) -> None:
        super().__init__()
        ids, channels, languages, features = sizes
        self.ids = nn.Embedding(ids, params.id_dim)
        self.channels = nn.Embedding(channels, SIDE_DIM)
        self.languages = nn.Embedding(languages, SIDE_DIM)
        self.content = nn.Linear(features, CONTENT_DIM)
        first, second = params.hidden
        width = params.id_dim + 2 * SIDE_DIM + 1 + CONTENT_DIM
        self.dense = nn.Sequential(
            nn.Linear(width, first), nn.GELU(), nn.Linear(first, second), nn.GELU(), nn.Linear(second, params.dim)
        )
        # what is particular to one video need not pass the narrow layers
        self.shortcut = nn.Linear(params.id_dim + CONTENT_DIM, params.dim, bias=False)
        self.id_dropout = params.id_dropout
        for table in (self.ids, self.channels, self.languages):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, ids: Tensor, channels: Tensor, languages: Tensor, popularity: Tensor, content: Tensor) -> Tensor:
        """Unit vectors (n, dim); while training, some videos lose what only old videos have."""
        if self.training and self.id_dropout > 0:
            kept = torch.rand(len(ids)) >= self.id_dropout
            ids = ids * kept
            popularity = popularity * kept[:, None]
        identity = self.ids(ids)
        described = self.content(content)
        joined = torch.cat(
            [identity, self.channels(channels), self.languages(languages), popularity, F.gelu(described)], -1
        )
        return F.normalize(self.dense(joined) + self.shortcut(torch.cat([identity, described], -1)), dim=-1)


class Block(nn.Module):
    """Pre-norm causal attention and a feed-forward network. Source: Vaswani et al., NeurIPS (2017)."""

    def __init__(self, params: TwoTowerParams) -> None:
        super().__init__()
        dim = params.dim
        self.heads = params.heads
        self.before = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.between = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, params.feed_forward * dim)
        self.down = nn.Linear(params.feed_forward * dim, dim)
        self.dropout = nn.Dropout(params.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, dim) to the same; position i sees 0..i."""
        b, t, dim = x.shape
        q, k, v = self.qkv(self.before(x)).view(b, t, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.out(seen.transpose(1, 2).reshape(b, t, dim)))
        return x + self._network(x)

    def _network(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.down(F.gelu(self.up(self.between(x)))))
        return out

    def at(self, x: Tensor, where: Tensor, hidden: Tensor) -> Tensor:
        """The block's output (b, dim) at one position of each row, where `hidden` (b, t) is 0 or MASKED."""
        b, t, dim = x.shape
        size = dim // self.heads
        normal = self.before(x)
        one = torch.arange(b)
        q, k, v = self.qkv(normal).view(b, t, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        q = q.transpose(1, 2)[one, where].view(b, self.heads, 1, size)
        share = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(size) + hidden[:, None, None, :], -1)
        x = x[one, where] + self.out((share @ v).reshape(b, dim))
        return x + self._network(x)


class UserTower(nn.Module):
    """Unit vectors of what comes next, from the vectors of what was watched, gaps of time and the profile.

    Token 0 is a start that holds the profile; token i is the i-th video together with the time from it to whatever
    comes next, so the last token holds the time from the last event to the request. Token i answers with a vector
    for what comes after it. Source: Kang, McAuley, Self-attentive sequential recommendation, ICDM (2018).
    """

    def __init__(self, params: TwoTowerParams, profile_sizes: tuple[int, ...], language: nn.Embedding) -> None:
        super().__init__()
        dim = params.dim
        self.video = nn.Linear(dim, dim)
        self.weight = nn.Linear(1, dim, bias=False)
        self.start = nn.Parameter(torch.randn(dim) * 0.1)
        self.gaps = nn.Embedding(GAP_BUCKETS, dim)
        self.positions = nn.Embedding(params.length + 1, dim)
        self.country = nn.Embedding(profile_sizes[0], dim)
        self.language = nn.Linear(language.embedding_dim, dim, bias=False)
        self.gender = nn.Embedding(profile_sizes[2], dim)
        self.age = nn.Embedding(profile_sizes[3], dim)
        self.blocks = nn.ModuleList(Block(params) for _ in range(params.blocks))
        self.last = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(params.dropout)
        for table in (self.gaps, self.positions, self.country, self.gender, self.age):
            nn.init.normal_(table.weight, std=0.02)

    def embed(self, vectors: Tensor, weights: Tensor, gaps: Tensor, profile: Tensor, spoken: Tensor) -> Tensor:
        """Tokens (b, 1 + l, dim) of vectors (b, l, dim), weights (b, l), gaps (b, l), profile (b, 4), spoken (b, side).

        `spoken` is the embedding of the profile's language, which both towers share.
        """
        start = self.start + self.country(profile[:, 0]) + self.gender(profile[:, 2]) + self.age(profile[:, 3])
        start = start + self.language(spoken)
        # the vectors are of unit length: with the root their entries are of the size of the other parts
        watched = self.video(vectors * math.sqrt(vectors.shape[-1])) + self.weight(weights[..., None]) + self.gaps(gaps)
        x = torch.cat([start[:, None], watched], 1)
        x = x + self.positions(torch.arange(x.shape[1]))
        dropped: Tensor = self.dropout(x)
        return dropped

    def forward(self, x: Tensor) -> Tensor:
        """Unit vectors (b, t, dim) for what comes after each of the embedded tokens (b, t, dim)."""
        for block in self.blocks:
            x = block(x)
        return F.normalize(self.out(self.last(x)), dim=-1)

    def at(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The same (b, dim) after `lengths` (b,) videos alone; what lies behind is padding."""
        hidden = (torch.arange(x.shape[1]) > lengths[:, None]) * MASKED
        for block in list(self.blocks)[:-1]:
            x = block(x)
        last: Any = self.blocks[-1]
        return F.normalize(self.out(self.last(last.at(x, lengths, hidden))), dim=-1)


class Towers(nn.Module):
    """Both towers, which share the embedding of languages."""

    def __init__(
        self, params: TwoTowerParams, video_sizes: tuple[int, int, int, int], profile_sizes: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.video = VideoTower(params, video_sizes)
        self.user = UserTower(params, profile_sizes, self.video.languages)

    def embed(self, vectors: Tensor, weights: Tensor, gaps: Tensor, profile: Tensor) -> Tensor:
        """Tokens (b, 1 + l, dim) of the user tower."""
        return self.user.embed(vectors, weights, gaps, profile, self.video.languages(profile[:, 1]))


class ServedUserTower(nn.Module):
    """The user tower as one graph with a single answer per person: what is exported."""

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        self.towers = towers

    def forward(self, vectors: Tensor, weights: Tensor, gaps: Tensor, profile: Tensor, lengths: Tensor) -> Tensor:
        """Unit vectors (b, dim)."""
        return self.towers.user.at(self.towers.embed(vectors, weights, gaps, profile), lengths)


def sampled_softmax(
    users: Tensor,
    positives: Tensor,
    negatives: Tensor,
    bias: Tensor,
    hits: Tensor,
    explicit: tuple[Tensor, Tensor] | None,
    temperature: float,
) -> Tensor:
    """Cross-entropy (b, t) of each positive against shared sampled negatives and a window's own explicit ones.

    loss = log(exp(s+) + sum_j exp(s_j + bias_j)) - s+, with s = cosine / temperature. `users` and `positives` are
    (b, t, dim), `negatives` (n, dim), `bias` (b, n): -log(n q_j), which makes the sum an unbiased estimate of that
    over all videos. `hits` (b, t, n) tells where a negative is the positive itself and does not count. `explicit` is
    vectors (b, m, dim) and bias (b, m), MASKED where there is none.
    Source: Bengio, Senecal, Adaptive importance sampling to accelerate training of a neural probabilistic language
    model, IEEE TNN (2008); Yi et al., Sampling-bias-corrected neural modeling, RecSys (2019).
    """
    b, t, _ = users.shape
    scaled = users / temperature
    positive = (scaled * positives).sum(-1)
    logits = (scaled.reshape(b * t, -1) @ negatives.t()).view(b, t, -1)  # one large product, not one per window
    logits += bias[:, None]
    logits.masked_fill_(hits, MASKED)
    others = torch.logsumexp(logits, -1)
    if explicit is not None:
        vectors, explicit_bias = explicit
        own = torch.logsumexp(torch.baddbmm(explicit_bias[:, None].expand(b, t, -1), scaled, vectors.mT), -1)
        others = torch.logaddexp(others, own)
    return F.softplus(others - positive)
