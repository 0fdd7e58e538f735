"""The configuration of a run: every value that a preset, a scheme or the command line can set.

A key that is not declared here is an error. `latent_rl.config.loading` puts a configuration together from files.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _no_truth_value(value: Any) -> Any:
    """`true` is the integer 1 to Python, and a slip to us."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


# Upper bounds refuse slips, and strangers' files that would fill the memory or never end; no sensible run is near.
Integer = Annotated[int, BeforeValidator(_no_truth_value)]
Positive = Annotated[Integer, Field(gt=0, le=10**12)]
NonNegative = Annotated[Integer, Field(ge=0, le=10**12)]
Thousand = Annotated[Integer, Field(gt=0, le=1000)]
NoneOrThousand = Annotated[Integer, Field(ge=0, le=1000)]
WIDEST = 16_384
"""The largest width of a network."""
Width = Annotated[Integer, Field(gt=0, le=WIDEST)]
Batch = Annotated[Integer, Field(gt=0, le=100_000)]
Million = Annotated[Integer, Field(gt=0, le=10_000_000)]
Number = Annotated[float, BeforeValidator(_no_truth_value), Field(le=1e12)]
Weight = Annotated[Number, Field(ge=0.0, le=1e6)]
Rate = Annotated[Number, Field(gt=0.0, le=1e6)]
Fraction = Annotated[Number, Field(ge=0.0, le=1.0)]
BelowOne = Annotated[Number, Field(ge=0.0, lt=1.0)]

LONGEST_NAME = 100
"""Characters of a run's name; file systems stop at 255 bytes, and programs append to it."""


def check_name(name: object) -> None:
    """Raise `ValueError` unless the name of a run is one plain folder name."""
    if not isinstance(name, str):
        raise ValueError("expected text")
    if not 0 < len(name) <= LONGEST_NAME or len(name.encode(errors="replace")) > 2 * LONGEST_NAME:
        raise ValueError(f"expected 1 to {LONGEST_NAME} characters")
    if not name.isprintable() or name != name.strip() or name in (".", "..") or {"/", chr(92)} & set(name):
        raise ValueError("expected one plain folder name, without separators and control characters")


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors and values are fixed once loaded."""

    # `--help` imports the schema and validates nothing: validators are built when something is first validated, which
    # a section among the defaults would be at once, but for a factory.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, defer_build=True)


class RewardConfig(Section):
    """Coefficients of the reward (docs/design.md, section 3)."""

    pass_cost: Weight = Field(0.001, description="cost of one network pass, in units of quality")
    solve_bonus: Weight = Field(1.0, description="paid when an answer becomes solved")
    quality_weight: Weight = Field(1.0, description="paid for cells that equal the answer key; 0: no key is read")
    violation_cost: Weight = Field(0.0, description="price of each violation of the puzzle's rule")


class EnvConfig(Section):
    """The puzzle and the decision process over latents or candidates."""

    id: str = Field(
        "latent_rl/Sudoku-v0", description="Gymnasium id, my_package.my_module:MyPuzzle-v0, or reasoning_gym:TASK"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the puzzle's constructor")
    state: Literal["latents", "candidates"] = Field("latents", description="what is carried from step to step")
    max_steps: Thousand = Field(6, description="recursion steps of an episode, N_sup")
    lost_steps: Thousand | None = Field(
        None, description="candidates: steps after which a training episode that has lost the answer makes room"
    )
    guided_branches: Fraction = Field(
        0.0, description="candidates: share of the branches of training that pin the symbol of the answer key"
    )
    terminate_on_solved: Fraction = Field(0.0, description="share of training episodes that end once solved")
    reward: RewardConfig = Field(default_factory=RewardConfig)


class NetworkConfig(Section):
    """The recursive reasoner; see latent_rl.agents.ReasonerConfig for the meaning of each value."""

    width: Width = 64
    layers: Thousand = 2
    heads: Thousand = 4
    expansion: Number = Field(4.0, gt=0.0, le=100.0)
    multiple_of: Width = 32
    mixer: Literal["attention", "mlp", "units"] = "attention"
    peer_attention: bool = Field(False, description="mixer=units: cells of a unit attend to one another besides")
    positions: Literal["rope", "learned", "none"] = "rope"
    kernel: Integer = Field(
        0, ge=0, le=1000, description="cells across of a depthwise convolution over the board (odd); 0: none"
    )
    puzzle_positions: NoneOrThousand = 1
    puzzle_embedding_width: Integer = Field(0, ge=0, le=1_000_000)
    step_embedding: bool = Field(False, description="tell the network which step it is in (DIS)")
    cycles: Thousand = Field(1, description="T")
    inner_updates: Thousand = Field(2, description="n")
    feed: Literal["puzzle", "answer"] = "puzzle"


class AnswersConfig(Section):
    """How training reads answers from logits; evaluation takes the likeliest. See latent_rl.agents.AnswerPolicy."""

    group: Batch | None = Field(
        None, description="answers sampled from the logits of each step, to learn from reward; none: the likeliest"
    )
    temperature: Number = Field(1.0, gt=0.0, le=100.0)
    cross_entropy: Literal["stablemax", "softmax"] = "softmax"
    act: Literal["sampled", "likeliest"] = Field("sampled", description="which answer of a step is its action")
    memory: Integer = Field(0, ge=0, le=1_000_000, description="puzzles whose best answer so far is remembered")


class DeductionConfig(Section):
    """How a step over candidates reads its logits; see latent_rl.agents.Deduction."""

    keep_threshold: Fraction = Field(0.1, description="candidates less likely than this to be right go")
    restart_decay: Fraction = Field(0.5, description="what each restart of a puzzle multiplies keep_threshold by")
    restart_floor: Fraction = Field(0.02, description="restarts bring keep_threshold no lower than this")
    conflict_threshold: Fraction = Field(
        0.98, description="states likelier than this to have lost the answer start anew"
    )
    temperature: Number = Field(1.0, gt=0.0, le=100.0, description="of the symbol that a branch tries")


class LossTerm(Section):
    """One loss of the sum: its weight, and beside it the options of its class.

    Names, types and defaults of the options stand in the signature of the class (`latent_rl.agents.losses`) and nowhere
    else, so that a new loss is one file; `latent_rl.config.terms` checks options against it and writes defaults out.
    """

    model_config = ConfigDict(extra="allow")

    weight: Weight = Field(1.0, description="0: measured and charted, but not learned from")

    @property
    def options(self) -> dict[str, Any]:
        """What is set beside the weight."""
        return dict(self.model_extra or {})


class LossConfig(Section):
    """The learning rules (docs/design.md, section 6), by their names in latent_rl.agents.LOSSES, or `module:Class`."""

    terms: dict[str, LossTerm | None] = Field(
        default_factory=lambda: {"policy": LossTerm(), "solved": LossTerm(weight=0.5)},
        description="losses by name; null is off",
    )

    def weight(self, name: str) -> float:
        """How strongly a loss counts; 0 if it is off."""
        term = self.terms.get(name)
        return 0.0 if term is None else term.weight

    @model_validator(mode="after")
    def _something_to_learn(self) -> LossConfig:
        if not any(self.weight(name) for name in self.terms):
            raise ValueError("no term has a weight above 0: there is nothing to learn")
        return self


class HaltingPPOConfig(Section):
    """Learning a halting policy, by halting.rule=learned or `latent_rl.halt`; see latent_rl.agents.HaltingLearner."""

    hidden: Width = Field(64, description="units of the two hidden layers of actor and critic")
    floor: Number = Field(0.05, ge=0.0, lt=0.5, description="least probability of either choice in training")
    lr: Rate = 1e-3
    clip: Rate = 0.2
    entropy: Weight = 0.003
    lmbda: Fraction = 0.95
    epochs: Batch = 4
    minibatch: Million = 2048
    steps: Thousand = Field(16, description="halting.rule=learned: recursion steps of every row between two phases")
    puzzles: Million = Field(2000, description="latent_rl.halt: training puzzles whose steps are stored")
    iterations: Million = Field(80, description="latent_rl.halt: phases of sampling and learning")


class HaltingConfig(Section):
    """When the agent itself ends a training episode."""

    rule: str = Field("never", description="a name of latent_rl.agents.RULES: never, agree, confident, rule, learned")
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the rule's constructor")
    ppo: HaltingPPOConfig = Field(default_factory=HaltingPPOConfig)


class CollectorConfig(Section):
    """How trajectories are gathered (docs/design.md, section 5)."""

    mode: Literal["fused", "captured", "replay"] = Field(
        "fused", description="captured: fused as one fixed program, which a CUDA GPU records once and plays again"
    )
    num_envs: Batch = Field(64, description="puzzles in work at the same time; the batch size of a fused update")
    steps_per_batch: Batch = Field(6, description="replay: recursion steps collected between two learning phases")
    epochs: Batch = Field(1, description="replay: times that a collected batch is learned from")
    minibatch_size: Million = Field(64, description="replay: recursion steps in one update")
    workers: NoneOrThousand = Field(
        0, description="replay: processes that collect, each with its share of the rows; 0: the one that learns"
    )
    backend: Literal["processes", "ray"] = Field(
        "processes",
        description="what starts the workers: processes of this machine, or ray, also on others "
        "(pip install -c constraints.txt -e '.[ray]')",
    )

    @model_validator(mode="after")
    def _shared_equally(self) -> CollectorConfig:
        if self.workers and self.mode != "replay":
            raise ValueError(f"workers collect for mode=replay: {self.mode} training learns from its own steps")
        if self.workers and self.num_envs % self.workers:
            raise ValueError(f"num_envs={self.num_envs} cannot be shared equally by {self.workers} workers")
        if self.backend == "ray" and not self.workers:
            raise ValueError("backend=ray starts workers: say how many, workers=2 for instance")
        return self


class OptimizerConfig(Section):
    """AdamW as in TRM, or Muon for the matrices of the shared network and AdamW for the rest."""

    name: Literal["adamw", "muon"] = "adamw"
    lr: Rate = 1e-3
    muon_lr: Rate = Field(0.02, description="learning rate of the matrices under Muon")
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.95)
    weight_decay: Weight = 0.1
    puzzle_lr: Rate = Field(1e-2, description="of puzzle embeddings, which sign descent updates (TRM)")
    puzzle_weight_decay: Weight = 0.1
    warmup_updates: NonNegative = 100
    decay_updates: Positive | None = Field(
        None, description="updates over which learning rates come down to a tenth, by a cosine; never if empty"
    )
    clip_norm: Number = Field(1.0, gt=0.0)
    ema_decay: Fraction = Field(
        0.999, description="of the averaged weights that evaluation uses; at most (1 + t) / (10 + t) after t updates"
    )


class BudgetConfig(Section):
    """When training ends: at whichever of the three comes first."""

    updates: Positive | None = None
    passes: Positive | None = Field(None, description="network passes spent on training")
    seconds: Number | None = Field(None, gt=0.0, description="training time, without evaluation and set-up")

    @model_validator(mode="after")
    def _some_end(self) -> BudgetConfig:
        if self.updates is None and self.passes is None and self.seconds is None:
            raise ValueError("set budget.updates, budget.passes or budget.seconds, or training would never end")
        return self


class EvaluationConfig(Section):
    """How the model is measured, so many steps or to a learned stop, never to the answer key.

    During training on validation puzzles, at its end on all test puzzles too.
    """

    every_updates: Positive = Field(500, description="updates between two evaluations during training")
    points: Million | None = Field(None, description="evaluations spread evenly over the budget, for every_updates")
    steps: Thousand | None = Field(
        None, description="recursion steps of an evaluation; as many as in training if empty"
    )
    puzzles: Positive | None = Field(None, description="validation puzzles used during training; all of them if empty")
    batch_size: Million = 500
    views: Million = Field(
        1, description="ARC: augmented views of a test input that vote on its answer, if there are as many"
    )


class TrackingConfig(Section):
    """MLflow. With the default, a bare `mlflow ui` in the same folder shows the run."""

    enabled: bool = True
    uri: str = "sqlite:///mlflow.db"
    experiment: str = "latent_rl"
    register_as: str | None = Field(None, description="name in the model registry that the trained model gets there")
    every_updates: Positive = Field(50, description="updates between two points of the training charts")


class Config(Section):
    """Everything about one run."""

    name: str | None = Field(None, description="folder of the run under runs/; by default preset-scheme-seed")
    scheme: str = Field("pi", description="training recipe: a file of configs/scheme, by name or path")
    seed: Integer = Field(0, ge=0, lt=2**63)
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32", description="what the network computes in; auto: the faster one here, measured when training starts"
    )
    compile: bool | Literal["auto"] = Field(
        False, description="torch.compile the shared network; auto: if it pays, measured when a long training starts"
    )
    threads: Integer = Field(0, ge=0, le=1024, description="CPU threads of torch; 0 leaves torch's own choice")
    checkpoint_every_seconds: Number = Field(60.0, gt=0.0, description="training seconds between two checkpoints")
    baseline_passes_per_puzzle: Positive = Field(336, description="TRM's passes: 16 steps x 3 cycles x (6 + 1)")
    baseline_run: str | None = Field(
        None, description="run directory of a trained TRM, whose cheapest stop is the fair baseline"
    )
    env: EnvConfig = Field(default_factory=EnvConfig)
    network: NetworkConfig = Field(default_factory=NetworkConfig)
    answers: AnswersConfig = Field(default_factory=AnswersConfig)
    halting: HaltingConfig = Field(default_factory=HaltingConfig)
    deduction: DeductionConfig = Field(default_factory=DeductionConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    collector: CollectorConfig = Field(default_factory=CollectorConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    budget: BudgetConfig = Field(default_factory=lambda: BudgetConfig(updates=1000))
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)

    @property
    def evaluation_steps(self) -> int:
        """Recursion steps of an evaluation, at most."""
        return self.evaluation.steps or self.env.max_steps
