"""The recursive reasoner: one tiny network applied again and again to its own latents (TRM, arXiv 2510.04871)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from latent_rl.agents.network.blocks import Linear, SharedNetwork, truncated_normal_
from latent_rl.agents.network.puzzle_embedding import PuzzleEmbedding


@dataclass(frozen=True)
class ReasonerConfig:
    """Shape and schedule of a `RecursiveReasoner`.

    Attributes:
        vocab_size: tokens, padding included (V).
        seq_len: cells of a puzzle (L).
        width: features of a position (D).
        layers: blocks of the shared network.
        heads: attention heads; unused with `mixer="mlp"`.
        expansion: inner width of a gated MLP, before the factor 2/3 and rounding up to `multiple_of`.
        multiple_of: see `expansion`; the official code uses 256, which is generous for a small width.
        mixer: how positions see each other, `"attention"`, `"mlp"` (an MLP along the positions) or, over candidates,
            `"units"`: every pair of a cell and a symbol hears the means over its units (`UnitReasoner`).
        peer_attention: with `mixer="units"`, whether cells of a unit attend to one another besides (`PeerAttention`).
        positions: `"rope"`, `"learned"` or `"none"`; MLP mixing wants `"none"`.
        kernel: 0, or the odd number of cells across of a depthwise convolution over the board in every gated MLP
            (Universal Reasoning Model, arXiv 2512.14693); it needs `grid_shape`.
        grid_shape: rows and columns of the board; None where no part of the network asks for them.
        puzzle_positions: positions in front of the cells (P); they hold the puzzle embedding, or zeros.
        puzzle_embedding_width: width of a puzzle's embedding, at most `P * D`; 0 for none.
        num_puzzle_ids: rows of the puzzle-embedding table.
        step_embedding_steps: 0 for none, else the longest episode: a learned vector tells the network which step
            it is in (DIS). The table has two more rows than steps, the first and last unused, as in the official code.
        cycles: cycles of a recursion step (T); only the last carries gradient.
        inner_updates: updates of `z` in a cycle (n), before the one of `y`.
        feed: `"puzzle"`: every step sees the puzzle; `"answer"`: from the second step on the network is fed its own
            last answer instead, as the official DIS code does.
        state: what is carried from step to step, `"latents"`, or `"candidates"` (`CandidateReasoner`).
        units: of `mixer="units"`, for every kind of unit the unit of each cell, as `Puzzle.units`.
        interchangeable: of `mixer="units"`, tokens that are only names, as `Puzzle.interchangeable`.
        symbols: of `mixer="units"`, the tokens that cells can turn out to hold.
    """

    vocab_size: int
    seq_len: int
    width: int = 512
    layers: int = 2
    heads: int = 8
    expansion: float = 4.0
    multiple_of: int = 256
    mixer: Literal["attention", "mlp", "units"] = "attention"
    peer_attention: bool = False
    positions: Literal["rope", "learned", "none"] = "rope"
    kernel: int = 0
    grid_shape: tuple[int, int] | None = None
    puzzle_positions: int = 1
    puzzle_embedding_width: int = 0
    num_puzzle_ids: int = 0
    step_embedding_steps: int = 0
    cycles: int = 3
    inner_updates: int = 6
    feed: Literal["puzzle", "answer"] = "puzzle"
    state: Literal["latents", "candidates"] = "latents"
    units: tuple[tuple[int, ...], ...] = ()
    interchangeable: tuple[int, ...] = ()
    symbols: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """Positions of a latent, `P + L`."""
        return self.puzzle_positions + self.seq_len

    @property
    def passes_per_step(self) -> int:
        """Network passes of one recursion step, `T (n + 1)`; `n` over candidates. The ledger counts the real ones."""
        if self.state == "candidates":
            return self.inner_updates
        return self.cycles * (self.inner_updates + 1)


class StepOutput(NamedTuple):
    """What one recursion step gives.

    Attributes:
        y: answer latent, `[B, P + L, D]`.
        z: scratchpad latent, `[B, P + L, D]`.
        logits: `[B, L, V]`, float32, of the answer decoded from `y`.
        q: `[B, 2]`, float32, logits of "the answer is right now" (halt) and of "it will be, if I go on" (continue).
    """

    y: Tensor
    z: Tensor
    logits: Tensor
    q: Tensor

    @property
    def readouts(self) -> dict[str, Tensor]:
        """What losses learn from, by the keys that they read."""
        return {"logits": self.logits, "q": self.q}


class RecursiveReasoner(nn.Module):
    """A shared network and what surrounds it: embeddings, initial latents, output head and q head.

    Weight-compatible with the official TRM and DIS models; `latent_rl.agents.official` translates their names.

    Attributes:
        compute_dtype: what network and output head compute in, such as `torch.bfloat16`; weights, embeddings and the q
            head stay as they are. None (the default) leaves the dtype of the weights.
        step_keys: what `step` takes, as observations name it.
    """

    compute_dtype: torch.dtype | None = None
    step_keys: ClassVar[tuple[str, ...]] = ("inputs", "puzzle_id", "y", "z", "step")

    def __init__(self, config: ReasonerConfig) -> None:
        super().__init__()
        if config.puzzle_embedding_width > config.puzzle_positions * config.width:
            raise ValueError(
                f"puzzle_embedding_width: an embedding of width {config.puzzle_embedding_width} does not fit into "
                f"{config.puzzle_positions} positions of width {config.width}"
            )
        if config.kernel and (config.kernel % 2 == 0 or config.grid_shape is None):
            raise ValueError(f"a convolution needs an odd kernel and a board, got {config.kernel}, {config.grid_shape}")
        self.config = config
        self._build(config)
        # Not trained, and the same for every puzzle and position.
        self.register_buffer("initial_y", truncated_normal_(torch.empty(config.width), 1.0))
        self.register_buffer("initial_z", truncated_normal_(torch.empty(config.width), 1.0))
        self._build_heads(config)

    def _build(self, config: ReasonerConfig) -> None:
        """Make the shared network, and what its input is embedded by."""
        if config.mixer == "units":
            raise ValueError("mixer=units is for state=candidates")
        if config.peer_attention:
            raise ValueError(f"peer_attention is for mixer=units, got mixer={config.mixer}")
        width = config.width
        self.network = SharedNetwork(
            config.layers,
            width=width,
            heads=config.heads,
            expansion=config.expansion,
            length=config.length,
            mixer=config.mixer,
            rotary=config.positions == "rope",
            multiple_of=config.multiple_of,
            kernel=config.kernel,
            grid_shape=config.grid_shape,
        )
        self.embedding_scale = math.sqrt(width)
        self.embed_tokens = self._embedding(config.vocab_size)
        self.embed_positions = self._embedding(config.length) if config.positions == "learned" else None
        self.embed_step = self._embedding(config.step_embedding_steps + 2) if config.step_embedding_steps else None
        self.embed_puzzle = None
        if config.puzzle_embedding_width:
            self.embed_puzzle = PuzzleEmbedding(config.num_puzzle_ids, config.puzzle_embedding_width)

    def _build_heads(self, config: ReasonerConfig) -> None:
        """Make what reads latents."""
        width = config.width
        self.output_head = Linear(width, config.vocab_size)
        self.q_head = nn.Linear(width, 2)
        # Start sure that the answer is wrong: early halting would end episodes before anything is learned.
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)

    def _embedding(self, rows: int) -> nn.Embedding:
        table = nn.Embedding(rows, self.config.width)
        truncated_normal_(table.weight.data, 1 / math.sqrt(self.config.width))
        return table

    def initial_latents(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """The latents `(y, z)` before the first step, each float32 `[batch_size, P + L, D]`."""
        shape = (batch_size, self.config.length, self.config.width)
        return self.initial_y.expand(shape), self.initial_z.expand(shape)

    def embed(self, inputs: Tensor, puzzle_id: Tensor, step: Tensor) -> Tensor:
        """The injected input `x`, `[B, P + L, D]`: tokens `[B, L]`, puzzle ids `[B]`, steps taken so far `[B]`."""
        config = self.config
        x = self.embed_tokens(inputs)
        if config.puzzle_positions:
            front = x.new_zeros(inputs.shape[0], config.puzzle_positions * config.width)
            if self.embed_puzzle is not None:
                embedding = self.embed_puzzle(puzzle_id)
                front = torch.cat((embedding, front[:, embedding.shape[1] :]), dim=1)
            x = torch.cat((front.unflatten(1, (config.puzzle_positions, config.width)), x), dim=1)
        if self.embed_positions is not None:
            # Halves the variance of the sum of two unit-variance embeddings.
            x = math.sqrt(0.5) * (x + self.embed_positions.weight)
        if self.embed_step is not None:
            # Steps are counted from 1 here; beyond the trained horizon the last trained row serves.
            row = (step + 1).clamp(max=config.step_embedding_steps)
            x = x + self.embed_step(row).unsqueeze(1)
        return self.embedding_scale * x

    def _cycle(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        injection = x + y
        for _ in range(self.config.inner_updates):
            z = self.network(z, injection)
        return self.network(y, z), z

    def step(self, inputs: Tensor, puzzle_id: Tensor, y: Tensor, z: Tensor, step: Tensor) -> StepOutput:
        """One recursion step: `T` cycles of `n` updates of `z` and one of `y`, gradient through the last cycle only.

        Args:
            inputs: int64 `[B, L]`, tokens of the puzzle.
            puzzle_id: int64 `[B]`.
            y, z: float32 `[B, P + L, D]`, the latents; gradient does not flow into them.
            step: int64 `[B]`, recursion steps taken so far, 0 at the first.

        Raises:
            ValueError: the latents are of another shape than the reasoner's.
        """
        shape = (self.config.length, self.config.width)
        if tuple(y.shape[1:]) != shape or tuple(z.shape[1:]) != shape:
            raise ValueError(
                f"latents of shape {tuple(y.shape[1:])} and {tuple(z.shape[1:])} met a reasoner whose own are {shape} "
                "(positions, width): make the environment with config=MDPConfig.of_reasoner(reasoner)"
            )
        y, z = self._step(inputs, puzzle_id, self._computed(y.detach()), self._computed(z.detach()), step)
        y, z = y.float(), z.float()
        return StepOutput(y, z, self.decode(y), self.q_logits(y))

    def _step(self, inputs: Tensor, puzzle_id: Tensor, y: Tensor, z: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.feed == "answer":
            with torch.no_grad():
                answer = self.decode(y).argmax(-1)
            inputs = torch.where(step.unsqueeze(-1) > 0, answer, inputs)
        x = self._computed(self.embed(inputs, puzzle_id, step))
        with torch.no_grad():
            for _ in range(self.config.cycles - 1):
                y, z = self._cycle(x, y, z)
        return self._cycle(x, y, z)

    def decode(self, y: Tensor) -> Tensor:
        """Logits `[B, L, V]`, float32, of the answer that `y` `[B, P + L, D]` stands for. Costs no network pass."""
        return self.output_head(self._cast(y[:, self.config.puzzle_positions :])).float()

    def q_logits(self, y: Tensor) -> Tensor:
        """Logits `[B, 2]`, float32, (halt, continue) read from the first position of `y`. Costs no network pass."""
        return self.q_head(y[:, 0]).float()

    def _computed(self, x: Tensor) -> Tensor:
        """`x` as the network works: in the dtype that it computes in, and with the memory order of `Block`."""
        if self.config.mixer == "mlp":
            x = x.transpose(0, 1).contiguous().transpose(0, 1)
        return self._cast(x)

    def _cast(self, x: Tensor) -> Tensor:
        return x if self.compute_dtype is None else x.to(self.compute_dtype)
