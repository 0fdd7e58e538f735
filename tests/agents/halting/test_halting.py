"""Rules that stop thinking, and that a row which has stopped costs nothing more."""

from __future__ import annotations

import math

import pytest
import torch
from small import CELLS, STEPS, TOKENS, WIDTH, small_batch, small_reasoner
from tensordict import TensorDict
from torchrl.envs.utils import ExplorationType, set_exploration_type

from latent_rl.agents import (
    RULES,
    AgreeHalt,
    CheckedHalt,
    ConfidentHalt,
    HaltingRule,
    NeverHalt,
    RecursionPolicy,
    RuleContext,
    guided_logits,
    make_rule,
    recurse,
    think,
)


def step_of(q=None, steps_taken=None, rows=4, **changes):
    """A recursion step as a rule sees it, nothing remarkable in it but `changes`."""
    steps_taken = torch.ones(rows, dtype=torch.int64) if steps_taken is None else steps_taken
    rows = len(steps_taken)
    tokens = torch.ones(rows, CELLS, dtype=torch.int64)
    q = torch.zeros(rows, 2) if q is None else q
    values = {"inputs": tokens, "previous": tokens, "answer": tokens, "q": q, "step": steps_taken - 1}
    values |= {"logits": torch.zeros(rows, CELLS, TOKENS), "next_y": torch.zeros(rows, CELLS + 1, WIDTH)}
    return TensorDict({**values, **changes}, [rows])


def choice(rule, step):
    return rule(step)["halt"]


def test_never_halt():
    halt = choice(NeverHalt(), step_of(torch.full((4, 2), 9.0)))
    assert halt.dtype == torch.int64 and not halt.any()


def test_agree_halts_where_no_cell_changed():
    answer = torch.tensor([[1, 2], [1, 2], [3, 3]])
    previous = torch.tensor([[1, 2], [1, 1], [2, 2]])
    assert choice(AgreeHalt(), step_of(rows=3, answer=answer, previous=previous)).tolist() == [1, 0, 0]


def test_checked_halts_where_the_rule_says_so():
    inputs, answer = torch.tensor([[1, 0], [2, 0]]), torch.tensor([[1, 1], [2, 1]])
    rule = CheckedHalt(lambda given, found: (found == given[:, :1]).all(-1))
    assert choice(rule, step_of(rows=2, inputs=inputs, answer=answer)).tolist() == [1, 0]


def test_confident_halt_without_exploration():
    q = torch.tensor([[0.1, -9.0], [-0.1, -9.0], [0.0, -9.0]])
    assert choice(ConfidentHalt(max_steps=16, exploration=0.0), step_of(q, rows=3)).tolist() == [1, 0, 0]


def test_confident_halt_above_a_probability():
    q = torch.tensor([[0.85], [0.95]]).logit().expand(2, 2)
    assert choice(ConfidentHalt(max_steps=2, exploration=0.0, threshold=0.9), step_of(q, rows=2)).tolist() == [0, 1]


def test_confident_halt_explores_as_the_official_rule():
    """P(halt | sure, t) = 1 - e + e (t - 1) / (S - 1): the drawn minimum, uniform on 2 .. S, is at most t."""
    torch.manual_seed(0)
    rule, rows = ConfidentHalt(max_steps=5, exploration=0.4), 20_000
    for steps_taken in range(1, 6):
        taken = torch.full((rows,), steps_taken)
        halted = choice(rule, step_of(torch.ones(rows, 2), taken)).double().mean().item()
        assert halted == pytest.approx(0.6 + 0.4 * (steps_taken - 1) / 4, abs=0.0175)  # five deviations
        assert not choice(rule, step_of(-torch.ones(rows, 2), taken)).any()


def test_deterministic_evaluation_does_not_explore():
    rule = ConfidentHalt(max_steps=5, exploration=1.0)
    sure = step_of(torch.ones(1000, 2), rows=1000)
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        assert choice(rule, sure).all()
    with set_exploration_type(ExplorationType.RANDOM):
        assert not choice(rule, sure).any()


@pytest.mark.parametrize(
    "options", [{"max_steps": 1}, {"max_steps": 4, "exploration": 1.5}, {"max_steps": 4, "threshold": 1.0}]
)
def test_halting_options_are_checked(options):
    with pytest.raises(ValueError, match="max_steps must be at least 2|exploration must lie in|threshold must lie"):
        ConfidentHalt(**options)


class HaltAt(HaltingRule):
    """Row `r` of the whole batch halts after step `steps[r]`; rows are told apart by their first cell."""

    when = "its turn has come"
    in_keys = ["inputs", "step"]

    def __init__(self, steps):
        super().__init__()
        self.steps = torch.tensor(steps)

    def decide(self, step):
        return step["step"] + 1 >= self.steps[step["inputs"][:, 0]]


def counted(reasoner):
    passes = []
    reasoner.network.register_forward_hook(lambda module, args, output: passes.append(len(output)))
    return passes


def batch_of(rows):
    batch = small_batch(rows)
    batch["inputs"][:, 0] = torch.arange(rows)
    return batch["inputs"], batch["puzzle_id"]


@pytest.mark.parametrize(
    "steps",
    [
        [1, 3, 2, 9],
        [9, 9, 9, 9],  # never
        [1, 1, 1, 1],  # all at once
        [2, 2, 2, 2],  # all together, later
        [3],
    ],
)
def test_rows_that_halt_leave_the_batch_and_the_others_do_not_notice(steps):
    reasoner = small_reasoner()
    inputs, ids = batch_of(len(steps))
    plain = list(recurse(reasoner, inputs, ids, STEPS))
    passes = counted(reasoner)
    seen = list(think(reasoner, inputs, ids, STEPS, HaltAt(steps)))
    spent = [min(one, STEPS) for one in steps]
    assert sum(passes) == sum(spent) * reasoner.config.passes_per_step
    assert len(seen) == max(spent)
    for number, taken in enumerate(seen):
        assert taken.rows.tolist() == [row for row, last in enumerate(spent) if last > number]
        assert taken.halt.tolist() == [steps[row] == number + 1 for row in taken.rows]
        assert torch.allclose(taken.output.y, plain[number].y[taken.rows], atol=1e-6)
        assert torch.equal(taken.answer, plain[number].logits[taken.rows].argmax(-1))


def test_the_rule_sees_the_answer_before_the_step():
    reasoner, seen = small_reasoner(), []

    class Recorder(NeverHalt):
        def decide(self, step):
            seen.append(step.copy())
            return super().decide(step)

    inputs, ids = batch_of(3)
    taken = list(think(reasoner, inputs, ids, 3, Recorder()))
    assert torch.equal(seen[0]["previous"], inputs)
    assert torch.equal(seen[1]["previous"], taken[0].answer) and torch.equal(seen[2]["answer"], taken[2].answer)
    assert [int(one["step"][0]) for one in seen] == [0, 1, 2]


def test_guidance_changes_the_readout_and_not_the_latents():
    reasoner = small_reasoner()
    inputs, ids = batch_of(4)
    plain = list(think(reasoner, inputs, ids, STEPS))
    guided = list(think(reasoner, inputs, ids, STEPS, guidance=3.0))
    for ours, theirs in zip(plain, guided, strict=True):
        assert torch.equal(ours.output.y, theirs.output.y) and torch.equal(ours.output.logits, theirs.output.logits)
        wanted = guided_logits(ours.reference, ours.output.logits, 3.0).argmax(-1)
        assert torch.equal(theirs.answer, wanted)
    assert any(not torch.equal(ours.answer, theirs.answer) for ours, theirs in zip(plain, guided, strict=True))


def test_noise_moves_only_the_rows_that_ask_for_it():
    reasoner = small_reasoner()
    inputs, ids = batch_of(4)
    torch.manual_seed(1)
    (plain, *_), (noisy, *_) = (
        list(think(reasoner, inputs, ids, 2, noise=noise)) for noise in (None, torch.tensor([0.0, 0.0, 0.3, 0.3]))
    )
    moved = (plain.output.y - noisy.output.y).abs().amax((1, 2))
    assert moved[:2].max() < 1e-6 and moved[2:].min() > 1e-3
    assert math.isfinite(float(moved.max()))


def test_rules_are_made_by_name():
    context = RuleContext(max_steps=4, is_solved=lambda inputs, answers: inputs.bool().all(-1))
    for name in ("never", "agree", "confident", "rule"):
        assert type(make_rule(name, context)) is RULES[name] and RULES[name].when
    assert make_rule("confident", context, threshold=0.9).least == pytest.approx(math.log(9))
    for name, options, message in (
        ("agre", {}, "unknown halting rule 'agre'; did you mean 'agree'?"),
        ("agree", {"treshold": 1}, "unknown option 'treshold'; there are none"),
        ("learned", {}, "there is no halting policy to stop by"),
        ("confident", {"threshold": 2.0}, "threshold must lie between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make_rule(name, context, **options)
    with pytest.raises(ValueError, match="the value head, which was not trained"):
        make_rule("confident", RuleContext(max_steps=4, knows_when_right=False))
    with pytest.raises(ValueError, match="only its key tells"):
        make_rule("rule", RuleContext(max_steps=4))


def test_a_rule_of_ones_own_is_one_file(monkeypatch):
    """A subclass and its name: it stops a policy and an evaluation, with options of its own."""

    class Settled(HaltingRule):
        """Halt once so many steps were taken and nothing changed."""

        when = "the answer is settled"
        in_keys = ["answer", "previous", "step"]

        def __init__(self, *, least: int = 2) -> None:
            super().__init__()
            self.least = least

        def decide(self, step):
            return (step["answer"] == step["previous"]).all(-1) & (step["step"] + 1 >= self.least)

    monkeypatch.setitem(RULES, "settled", Settled)
    same = torch.ones(2, CELLS, dtype=torch.int64)
    step = step_of(steps_taken=torch.tensor([2, 3]), answer=same, previous=same)
    assert choice(make_rule("settled", RuleContext(max_steps=4), least=3), step).tolist() == [0, 1]
    policy = RecursionPolicy(small_reasoner(), make_rule("settled", RuleContext(max_steps=4), least=1))
    batch = policy(small_batch(3))
    before = policy.reasoner.decode(batch["y"]).argmax(-1)
    previous = torch.where((batch["step"] == 0)[:, None], batch["inputs"], before)
    assert torch.equal(batch["halt"].bool(), (batch["answer"] == previous).all(-1))
