"""The two towers as PyTorch modules; imported for training alone."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

# Threads that spin while they wait make training 5 times slower as soon as anything else wants a core. Read by
# PyTorch's OpenMP library when it is loaded, hence before the import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from nextreel.retrieval.two_tower.inputs import GAP_BUCKETS
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.types import BoolArray

SIDE_DIM = 16  # of the embeddings of channels and languages
CONTENT_DIM = 64  # what the content columns are projected to
MASKED = -1e4  # a score that adds nothing to a softmax, and stays finite


class VideoTower(nn.Module):
    """Unit vectors (n, dim) of videos from their id, channel, language, popularity and content."""

    dated: Tensor  # (features,) 1 where a content column tells of age

    def __init__(self, params: TwoTowerParams, sizes: tuple[int, int, int, int], dated: BoolArray) -> None:
        super().__init__()
        self.register_buffer("dated", torch.from_numpy(dated.astype(np.float32)), persistent=False)
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
        # With PyTorch's own start the biases outweigh what differs between videos: all vectors begin alike (a mean
        # cosine of 0.65) and, where data are few, stay so.
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, ids: Tensor, channels: Tensor, languages: Tensor, popularity: Tensor, content: Tensor) -> Tensor:
        """Unit vectors (n, dim); while training, some videos lose what only old videos have."""
        if self.training and self.id_dropout > 0:
            kept = torch.rand(len(ids), device=ids.device) >= self.id_dropout
            ids = ids * kept
            popularity = popularity * kept[:, None]
            content = content * (1.0 - self.dated * ~kept[:, None])  # as `VideoEncoder.encode` makes a new video
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
        self.dim, self.heads, self.size = dim, params.heads, dim // params.heads
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

    def of_one(self, x: Tensor, mask: Tensor) -> Tensor:
        """The same for one person: (t, dim) to (t, dim), with a mask (t, t) of 0 and MASKED."""
        normal = self.before(x)
        q, k, v = (self._part(normal, number).view(-1, self.heads, self.size).transpose(0, 1) for number in range(3))
        share = torch.softmax(q @ k.transpose(-1, -2) * self.size**-0.5 + mask, -1)
        return self._after(x, (share @ v).transpose(0, 1).reshape(-1, self.dim))

    def last_of_one(self, x: Tensor) -> Tensor:
        """The last of the positions alone: (t, dim) to (1, dim)."""
        normal = self.before(x)
        q, k, v = self._part(normal[-1:], 0) * self.size**-0.5, self._part(normal, 1), self._part(normal, 2)
        # with one query, sums over the keys as they lie are quicker than products that need them turned
        share = torch.softmax((q * k).view(-1, self.heads, self.size).sum(-1, keepdim=True), 0)
        seen = (share * v.view(-1, self.heads, self.size)).sum(0)
        return self._after(x[-1:], seen.view(1, self.dim))

    def _part(self, normal: Tensor, number: int) -> Tensor:
        """Queries, keys or values (t, dim), as 0, 1 or 2; each a product of its own needs no taking apart."""
        part = slice(number * self.dim, (number + 1) * self.dim)
        return F.linear(normal, self.qkv.weight[part], self.qkv.bias[part])

    def _after(self, x: Tensor, seen: Tensor) -> Tensor:
        """x after what attention has seen, and after the network."""
        x = x + self.out(seen)
        return x + self._network(x)


class UserTower(nn.Module):
    """Unit vectors of what comes next, from the vectors of what was watched, gaps of time and the profile.

    Token 0 is a start that holds the profile; token i is the i-th video together with the time since the one before and
    the time until somebody asked, so the last token holds the time from the last event to the request. Token i
    answers with a vector for what comes after it, to which it may add the newest video's own: what is like it need not
    pass the blocks.
    Source: Kang, McAuley, Self-attentive sequential recommendation, ICDM (2018).
    """

    def __init__(self, params: TwoTowerParams, profile_sizes: tuple[int, ...], language: nn.Embedding) -> None:
        super().__init__()
        dim = params.dim
        self.video = nn.Linear(dim, dim)
        self.scale = math.sqrt(dim)
        self.weight = nn.Parameter(torch.randn(dim) * 0.02)
        self.start = nn.Parameter(torch.randn(dim) * 0.1)
        self.gaps = nn.Embedding(2 * GAP_BUCKETS, dim)
        self.positions = nn.Embedding(params.length + 1, dim)
        self.country = nn.Embedding(profile_sizes[0], dim)
        self.language = nn.Linear(language.embedding_dim, dim, bias=False)
        self.gender = nn.Embedding(profile_sizes[2], dim)
        self.age = nn.Embedding(profile_sizes[3], dim)
        self.blocks = nn.ModuleList(Block(params) for _ in range(params.blocks))
        self.last = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim)
        self.newest = nn.Linear(dim, 1)  # how much the answer leans on the newest video itself
        nn.init.zeros_(self.newest.weight)
        nn.init.zeros_(self.newest.bias)
        self.trends = nn.Linear(dim, len(params.trends)) if params.trends else None
        self.dropout = nn.Dropout(params.dropout)
        for table in (self.gaps, self.positions, self.country, self.gender, self.age):
            nn.init.normal_(table.weight, std=0.02)

    def embed(self, vectors: Tensor, weights: Tensor, gaps: Tensor, profile: Tensor, spoken: Tensor) -> Tensor:
        """Tokens (b, 1 + l, dim) of vectors (b, l, dim), weights (b, l), gaps (b, l, 2), profile (b, 4), spoken.

        `spoken` (b, side) is the embedding of the profile's language, which both towers share.
        """
        x = torch.cat([self.begin(profile, spoken)[:, None], self.watched(vectors, weights, gaps)], 1)
        x = x + self.positions.weight[: x.shape[1]]
        dropped: Tensor = self.dropout(x)
        return dropped

    def begin(self, profile: Tensor, spoken: Tensor) -> Tensor:
        """What the start (b, dim) says of profiles (b, 4)."""
        start = self.start + self.country(profile[:, 0]) + self.gender(profile[:, 2]) + self.age(profile[:, 3])
        begun: Tensor = start + self.language(spoken)
        return begun

    def watched(self, vectors: Tensor, weights: Tensor, gaps: Tensor) -> Tensor:
        """What each video of a history says, whatever its place: (..., dim)."""
        # the vectors are of unit length: with the root their entries are of the size of the other parts
        said: Tensor = self.video(vectors * self.scale) + weights[..., None] * self.weight
        said = said + self.gaps(gaps).sum(-2)
        return said

    def forward(self, x: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """What comes after each of the tokens (b, 1 + l, dim), embedded from videos of these vectors (b, l, dim).

        Unit vectors (b, 1 + l, dim), and the weights (b, 1 + l, trends) of how popular videos are.
        """
        for block in self.blocks:
            x = block(x)
        return self.answer(x, F.pad(vectors, (0, 0, 1, 0)))  # at the start nothing is the newest

    def answer(self, x: Tensor, newest: Tensor) -> tuple[Tensor, Tensor]:
        """The same from what the last block said (..., dim) and the vector of the newest video (..., dim)."""
        x = self.last(x)
        weights = x[..., :0] if self.trends is None else self.trends(x)
        return F.normalize(self.out(x) + self.newest(x) * newest, dim=-1), weights


class Towers(nn.Module):
    """Both towers, which share the embedding of languages."""

    def __init__(
        self,
        params: TwoTowerParams,
        video_sizes: tuple[int, int, int, int],
        profile_sizes: tuple[int, ...],
        dated: BoolArray,  # (features,) see VideoEncoder
    ) -> None:
        super().__init__()
        self.video = VideoTower(params, video_sizes, dated)
        self.user = UserTower(params, profile_sizes, self.video.languages)

    def embed(self, vectors: Tensor, weights: Tensor, gaps: Tensor, profile: Tensor) -> Tensor:
        """Tokens (b, 1 + l, dim) of the user tower."""
        return self.user.embed(vectors, weights, gaps, profile, self.video.languages(profile[:, 1]))


class ServedUserTower(nn.Module):
    """The user tower for one person, whose answer is the vector after the last video: what is exported.

    The same sums as `UserTower`, written without a batch, padding or sizes that are computed on the way: a request
    is one person, and half of the time would go into such small steps.
    """

    def __init__(self, towers: Towers, params: TwoTowerParams) -> None:
        super().__init__()
        self.towers = towers
        self.temperature = params.temperature
        places = params.length + 1
        self.register_buffer("mask", torch.full((places, places), MASKED).triu(1), persistent=False)
        user, spoken = towers.user, towers.video.languages
        tables = [user.country.weight, user.language(spoken.weight), user.gender.weight, user.age.weight]
        # the tables of the profile below each other, the start among the ages: each person has one of them
        tables[-1] = tables[-1] + user.start
        starts = np.cumsum([0, *(len(table) for table in tables[:-1])])
        self.register_buffer("profile", torch.cat(tables).detach(), persistent=False)
        self.register_buffer("offsets", torch.from_numpy(starts)[None], persistent=False)

    def forward(self, vectors: Tensor, weights: Tensor, gaps: Tensor, profile: Tensor) -> Tensor:
        """Vector (1, dim + trends) from vectors (1 + l, dim), weights (1 + l,), gaps (1 + l, 2) and profile (1, 4).

        It holds the unit vector, and the weights of the trends on the scale of cosines.

        The first of the videos is none: the start takes its place, so that nothing is ever empty.
        """
        tower: UserTower = self.towers.user
        start = F.embedding(profile + self.offsets, self.profile).sum(1)  # type: ignore[operator,arg-type]
        x = torch.cat([start, tower.watched(vectors, weights, gaps)[1:]])
        x = x + tower.positions.weight[: x.shape[0]]  # not len(), which would be traced as a constant
        mask: Any = self.mask
        *first, last = list(tower.blocks)
        for block in first:
            x = block.of_one(x, mask[: x.shape[0], : x.shape[0]])  # type: ignore[operator]
        vector, trends = tower.answer(last.last_of_one(x), vectors[-1:])  # type: ignore[operator]
        return torch.cat([vector, trends * self.temperature], -1)


class Trend(torch.autograd.Function):
    """What popularity adds to the scores: weights (p, w) times the columns (n, w) that were known to each position.

    Positions are sorted by snapshot, those of snapshot s at cuts[s] to cuts[s + 1]: one small product for each instead
    of columns copied for every position.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, columns: Tensor, cuts: list[int]) -> Tensor:
        """(p, n) from weights (p, w), columns (snapshots, n, w) and cuts (snapshots + 1)."""
        ctx.columns, ctx.cuts = columns, cuts
        out = weights.new_empty(len(weights), columns.shape[1])
        with _one_thread():
            for known, (start, end) in zip(columns, pairwise(cuts), strict=True):
                torch.mm(weights[start:end], known.t(), out=out[start:end])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of the weights; the columns are data."""
        (grad,) = grads
        weights = grad.new_empty(len(grad), ctx.columns.shape[2])
        with _one_thread():
            for known, (start, end) in zip(ctx.columns, pairwise(ctx.cuts), strict=True):
                torch.mm(grad[start:end], known, out=weights[start:end])
        return weights, None, None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Products so small that waking threads takes longer than they do."""
    many = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(many)


def softmax_loss(positive: Tensor, negatives: Sequence[Tensor]) -> Tensor:
    """Cross-entropy (p,) of each positive score (p,) against its negatives, in groups of scores (p, n).

    loss = log(exp(s+) + sum_j exp(s_j)) - s+. To a sampled negative's score -log(n q_j) is added before, which makes
    the sum an unbiased estimate of that over all videos.
    Source: Bengio, Senecal, Adaptive importance sampling to accelerate training of a neural probabilistic language
    model, IEEE TNN (2008); Yi et al., Sampling-bias-corrected neural modeling, RecSys (2019).
    """
    sums = [torch.logsumexp(some, -1) for some in negatives]
    others = sums[0] if len(sums) == 1 else torch.logsumexp(torch.stack(sums), 0)
    return F.softplus(others - positive)
