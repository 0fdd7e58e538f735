"""Sampled answers, what is learned from them, and that both ways of learning find the best answer where it is known."""

from __future__ import annotations

import itertools

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor
from torchrl.envs.utils import ExplorationType, set_exploration_type

from latent_rl.agents import (
    AnswerPolicy,
    AnswerPolicyLoss,
    GivensLoss,
    GroupJudge,
    PolicyImprovementLoss,
    ReasonerConfig,
    RecursionPolicy,
    RecursiveReasoner,
)

BLANK, TOKENS = 1, 5


def blanks(inputs: Tensor) -> Tensor:
    return inputs == BLANK


def reasoner(cells: int = 4, **shape: int) -> RecursiveReasoner:
    torch.manual_seed(0)
    return RecursiveReasoner(
        ReasonerConfig(vocab_size=TOKENS, seq_len=cells, width=8, heads=2, layers=1, multiple_of=8, **shape)
    )


class TestDraw:
    inputs = torch.tensor([[BLANK, 3, BLANK, 4], [BLANK, BLANK, BLANK, BLANK], [2, 2, 2, 2]])

    @pytest.fixture
    def logits(self) -> Tensor:
        return 2 * torch.randn(3, 4, TOKENS, generator=torch.Generator().manual_seed(1))

    @pytest.mark.parametrize("kind", ["softmax", "stablemax"])
    def test_givens_stay_padding_never_comes_and_tokens_come_as_often_as_they_should(self, logits, kind):
        policy = AnswerPolicy(blanks, group=4000, temperature=0.7, cross_entropy=kind)
        torch.manual_seed(0)
        found = policy.draw(logits, self.inputs)
        group, given = found["group"], ~blanks(self.inputs)
        assert group.shape == (3, 4000, 4) and (group > 0).all()
        assert (group == self.inputs.unsqueeze(1))[given.unsqueeze(1).expand_as(group)].all()
        probability = policy.log_probs(logits).exp()
        # Stablemax as the paper has it, s(x) = x + 1 for x >= 0 and 1 / (1 - x) below; padding left out.
        scores = torch.where(logits < 0, 1 / (1 - logits), logits + 1).log() if kind == "stablemax" else logits
        torch.testing.assert_close(probability[..., 1:], (scores[..., 1:] / 0.7).softmax(-1))
        assert torch.equal(probability[..., 0], torch.zeros(3, 4))
        for row, cell in blanks(self.inputs).nonzero().tolist():
            share = torch.bincount(group[row, :, cell], minlength=TOKENS) / 4000
            torch.testing.assert_close(share, probability[row, cell], atol=0.03, rtol=0)

    def test_how_likely_an_answer_was_is_the_sum_over_its_free_cells(self, logits):
        found = AnswerPolicy(blanks, group=3).draw(logits, self.inputs)
        wanted = logits.clone()
        wanted[..., 0] = -torch.inf
        cells = wanted.log_softmax(-1).unsqueeze(1).expand(3, 3, 4, -1).gather(-1, found["group"].unsqueeze(-1))
        cells = cells.squeeze(-1) * blanks(self.inputs).unsqueeze(1)
        torch.testing.assert_close(found["group_log_prob"], cells)
        assert torch.equal(found["answer"], found["group"][:, 0])
        torch.testing.assert_close(found["answer_log_prob"], cells[:, 0].sum(-1))
        assert found["answer_log_prob"][2] == 0.0

    def test_an_evaluation_takes_the_likeliest(self, logits):
        policy = AnswerPolicy(blanks, group=3)
        with set_exploration_type(ExplorationType.DETERMINISTIC):
            found = policy.draw(logits, self.inputs)
        assert torch.equal(found["answer"], policy.greedy(logits, self.inputs))
        best = policy.log_probs(logits).amax(-1) * blanks(self.inputs)
        torch.testing.assert_close(found["answer_log_prob"], best.sum(-1))

    def test_nonsense_is_refused(self):
        with pytest.raises(ValueError, match="group must be at least 1"):
            AnswerPolicy(blanks, group=0)
        with pytest.raises(ValueError, match="temperature must be above 0"):
            AnswerPolicy(blanks, temperature=0.0)


def test_the_policy_writes_what_it_promises_and_the_halting_rule_sees_the_likeliest_answer():
    seen = []

    class Recorder(torch.nn.Module):
        in_keys, out_keys = ["answer"], ["halt"]

        def forward(self, tensordict):
            seen.append(tensordict["answer"])
            return tensordict.set("halt", torch.zeros(len(tensordict), dtype=torch.int64))

    network = reasoner()
    policy = RecursionPolicy(network, Recorder(), answers=AnswerPolicy(blanks, group=5))
    y, z = network.initial_latents(3)
    batch = TensorDict({"inputs": TestDraw.inputs, "puzzle_id": torch.zeros(3).long(), "y": y, "z": z}, [3])
    batch["step"] = torch.zeros(3, dtype=torch.int64)
    with torch.no_grad():
        policy(batch)
    assert set(policy.out_keys) <= set(batch.keys())
    assert torch.equal(seen[0], batch["logits"].argmax(-1)) and batch["group"].shape == (3, 5, 4)


def judged(logits: Tensor, inputs: Tensor, worth, policy: AnswerPolicy) -> TensorDict:
    """Steps as the losses read them; `worth` of answers, which is minus their violations."""
    steps = TensorDict({"logits": logits, "inputs": inputs, "solution": torch.ones_like(inputs)}, [len(inputs)])
    steps.update(policy.draw(logits.detach(), inputs))
    return GroupJudge(lambda _, answers: -worth(answers), lambda violations: -violations, policy)(steps)


def test_the_gradient_is_that_of_the_expected_worth():
    """All answers to two cells enumerated, their expected worth differentiated by finite differences."""
    table = torch.randn(TOKENS, TOKENS, generator=torch.Generator().manual_seed(2))
    inputs = torch.full((1, 2), BLANK)
    policy = AnswerPolicy(blanks, group=400_000)
    logits = torch.randn(1, 2, TOKENS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def worth(answers: Tensor) -> Tensor:
        return table[answers[:, 0], answers[:, 1]]

    def expected(values: Tensor) -> tuple[float, float]:
        probability = policy.log_probs(values)[0].exp()
        pairs = list(itertools.product(range(1, TOKENS), repeat=2))
        weights = torch.stack([probability[0, a] * probability[1, b] for a, b in pairs])
        found = torch.stack([table[a, b] for a, b in pairs]).double()
        mean = (weights * found).sum()
        return float(mean), float((weights * (found - mean) ** 2).sum() ** 0.5)

    slope, step = torch.zeros_like(logits), 1e-5
    for place in itertools.product(range(2), range(TOKENS)):
        shift = torch.zeros_like(logits)
        shift[0, place[0], place[1]] = step
        slope[0, place[0], place[1]] = (expected(logits + shift)[0] - expected(logits - shift)[0]) / (2 * step)
    torch.manual_seed(0)
    graph = logits.float().requires_grad_()
    loss = AnswerPolicyLoss(reasoner(2), policy, entropy=0.0)(judged(graph, inputs, worth, policy))
    loss["loss_answer"].backward()
    # An action is a cell: the objective is the mean over two of them, and advantages are in standard deviations.
    wanted = -slope / expected(logits)[1] / 2
    torch.testing.assert_close(graph.grad.double(), wanted, atol=0.003, rtol=0)
    assert wanted.abs().max() > 0.05


def test_the_gradient_of_a_network_is_that_of_the_expected_worth():
    """Along directions in the space of all weights of a tiny network, through its recursion step."""
    # Of several cycles only the last carries a gradient.
    network = reasoner(2, cycles=1, inner_updates=2)
    inputs, nothing = torch.full((1, 2), BLANK), torch.zeros(1, dtype=torch.int64)
    policy = AnswerPolicy(blanks, group=400_000)
    table = torch.randn(TOKENS, TOKENS, generator=torch.Generator().manual_seed(2))
    pairs = torch.tensor(list(itertools.product(range(1, TOKENS), repeat=2)))

    def logits() -> Tensor:
        return network.step(inputs, nothing, *network.initial_latents(1), nothing).logits

    def worth(answers: Tensor) -> Tensor:
        return table[answers[:, 0], answers[:, 1]]

    @torch.no_grad()
    def expected(shift: list[Tensor] | None = None) -> tuple[float, float]:
        """Mean and standard deviation of what answers are worth, with all weights shifted."""
        for weight, by in zip(weights, shift or [], strict=False):
            weight += by
        probability = policy.log_probs(logits())[0].double().exp()
        for weight, by in zip(weights, shift or [], strict=False):
            weight -= by
        likely, found = probability[0, pairs[:, 0]] * probability[1, pairs[:, 1]], worth(pairs).double()
        mean = (likely * found).sum()
        return float(mean), float((likely * (found - mean) ** 2).sum() ** 0.5)

    torch.manual_seed(0)
    AnswerPolicyLoss(network, policy, entropy=0.0)(judged(logits(), inputs, worth, policy))["loss_answer"].backward()
    weights = [weight for weight in network.parameters() if weight.grad is not None]
    uphill = [_of_length_one(weight.grad) for weight in weights]
    assert len(weights) > 5
    for _ in range(3):
        # Partly along the gradient: across it there would be nothing to compare but chance.
        along = [way + _of_length_one(torch.randn_like(way)) for way in uphill]
        step = 3e-3
        ends = [expected([sign * step * way for way in along])[0] for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        ours = sum(float((weight.grad * way).sum()) for weight, way in zip(weights, along, strict=True))
        # An action is a cell: the objective is the mean over two of them, and advantages are in standard deviations.
        assert ours == pytest.approx(-slope / expected()[1] / 2, rel=0.03) and abs(ours) > 0.05


def _of_length_one(values: Tensor) -> Tensor:
    return values / values.norm().clamp(min=1e-9)


@pytest.mark.parametrize("way", ["grpo", "grpo, critic", "exit"])
def test_the_best_answer_of_a_toy_is_found(way):
    """Two states of one cell each; tokens break the rule as the table says, and each state has its own best."""
    table = -torch.tensor([[0, 1.0, 0.1, 0.0, 0.8], [0, 0.0, 1.0, 3.0, 0.5]])

    def worth(answers: Tensor) -> Tensor:
        state = torch.arange(len(answers)) // (len(answers) // 2)
        return table[state, answers[:, 0]]

    policy = AnswerPolicy(blanks, group=8)
    torch.manual_seed(0)
    network = reasoner(1)
    logits = torch.nn.Parameter(torch.zeros(2, 1, TOKENS))
    if way == "exit":
        loss = PolicyImprovementLoss(targets="search", cross_entropy="softmax", max_steps=1)
    else:
        loss = AnswerPolicyLoss(network, policy, advantage="critic" if "critic" in way else "group", entropy=0.0)
    optimizer = torch.optim.Adam([logits, *(weight for head in loss.heads for weight in head.parameters())], lr=0.05)
    y = torch.randn(2, 2, 8)
    for _ in range(300):
        batch = judged(logits, torch.full((2, 1), BLANK), worth, policy)
        batch["y"] = y
        found = loss(batch)
        optimizer.zero_grad()
        sum(value for key, value in found.items() if key.startswith("loss_")).backward()
        optimizer.step()
    probability = policy.log_probs(logits.detach())[:, 0].exp()
    assert probability[0, 3] > 0.9 and probability[1, 1] > 0.9


def test_a_row_with_nothing_better_learns_its_givens_alone():
    inputs = torch.tensor([[3, BLANK]] * 4)
    steps = TensorDict(
        {
            "inputs": inputs,
            "free": blanks(inputs),
            "best": torch.tensor([[3, 4], [3, 2], [3, 3], [3, 3]]),
            "best_worth": torch.tensor([2.0, 2.0, 1.0, 6.0]),
            "greedy": torch.tensor([[3, 3]] * 4),
            "greedy_worth": torch.tensor([1.0, 1.0, 1.0, 6.0]),
            "greedy_solved": torch.tensor([False, False, False, True]),
        },
        [4],
    )
    from latent_rl.agents import make_targets

    assert make_targets("search", max_steps=6)(steps).tolist() == [[3, 4], [3, 2], [3, -100], [3, 3]]


def test_the_judge_finds_the_best_of_the_group_and_of_the_likeliest() -> None:
    inputs = torch.tensor([[3, BLANK]] * 3)
    worth = {2: 1.0, 3: 2.0, 4: 5.0}
    judge = GroupJudge(
        lambda _, answers: torch.tensor([5.0 - worth[int(token)] for token in answers[:, 1]]),
        torch.neg,
        AnswerPolicy(blanks, group=2),
    )
    steps = TensorDict(
        {"inputs": inputs, "group": torch.tensor([[[3, 2], [3, 4]], [[3, 3], [3, 2]], [[3, 2]] * 2])}, [3]
    )
    steps["logits"] = torch.nn.functional.one_hot(torch.tensor([[3, 2], [3, 2], [3, 3]]), TOKENS).float()
    found = judge(steps)
    assert found["best"].tolist() == [[3, 4], [3, 3], [3, 3]]
    assert found["best_worth"].tolist() == [0.0, -3.0, -3.0] and found["greedy_worth"].tolist() == [-4.0, -4.0, -3.0]
    assert found["group_solved"].tolist() == [[False, True], [False, False], [False, False]]
    assert found["greedy_solved"].tolist() == [False] * 3


def test_the_divergence_from_the_averaged_policy() -> None:
    """Against KL by hand; it draws the policy there, and nothing flows into the average."""
    policy = AnswerPolicy(blanks, group=4)
    inputs = torch.tensor([[BLANK, 3], [BLANK, BLANK]])
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, TOKENS, generator=generator).requires_grad_()
    averaged = torch.randn(2, 2, TOKENS, generator=generator).requires_grad_()
    batch = judged(logits, inputs, lambda answers: torch.zeros(len(answers)), policy)
    batch["averaged_logits"] = averaged
    loss = AnswerPolicyLoss(reasoner(2), policy, entropy=0.0, kl=2.0)
    assert set(loss.out_keys) == set(loss(batch).keys()) and "averaged_logits" in loss.in_keys
    ours, theirs = (values[..., 1:].log_softmax(-1) for values in (logits.detach(), averaged.detach()))
    wanted = (ours.exp() * (ours - theirs)).sum(-1)[blanks(inputs)].mean()
    out = loss(batch)
    torch.testing.assert_close(out["averaged_kl"], wanted)
    # All answers are worth the same: nothing but the divergence is left.
    torch.testing.assert_close(out["loss_answer"].detach(), 2 * wanted)
    out["loss_answer"].backward()
    assert (
        averaged.grad is None
        and logits.grad.isfinite().all()
        and logits.grad[0, 0].any()
        and not logits.grad[0, 1].any()
    )


def test_the_entropy_bonus_and_the_clip() -> None:
    policy, inputs = AnswerPolicy(blanks, group=4), torch.full((1, 1), BLANK)
    logits = torch.tensor([[[0.0, 1.0, 0.0, -1.0, 0.5]]], requires_grad=True)
    batch = judged(logits, inputs, lambda answers: torch.zeros(len(answers)), policy)
    out = AnswerPolicyLoss(reasoner(1), policy, entropy=0.5)(batch)
    probability = logits.detach()[0, 0, 1:].softmax(-1)
    entropy = -(probability * probability.log()).sum()
    # All answers are worth the same: nothing but the bonus is left.
    torch.testing.assert_close(out["loss_answer"].detach(), -0.5 * entropy)

    # One good answer of four, which has become 1.65 times as likely: beyond the clip it pulls no further.
    batch["group"] = torch.tensor([[[1], [2], [2], [2]]])
    batch["group_worth"] = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    taken = policy.log_probs(logits.detach()).expand(4, -1, -1).gather(-1, batch["group"][0].unsqueeze(-1)).squeeze(-1)
    batch["group_log_prob"] = (taken - torch.tensor([[0.5], [0.0], [0.0], [0.0]])).unsqueeze(0)
    pulls = []
    for clip in (0.2, 0.9):
        logits.grad = None
        AnswerPolicyLoss(reasoner(1), policy, clip=clip, entropy=0.0)(batch)["loss_answer"].backward()
        pulls.append(float(logits.grad[0, 0, 1]))
    # The worse answers push it up in both; the good one only where it is not clipped.
    assert pulls[1] < pulls[0] < 0.0


def test_a_batch_without_a_free_cell_teaches_nothing_and_breaks_nothing() -> None:
    """Puzzles may come full; a process of a team may have no others, and its gradients are waited for."""
    policy = AnswerPolicy(blanks, group=4)
    logits = torch.randn(2, 2, TOKENS).requires_grad_()
    batch = judged(logits, torch.full((2, 2), 3), lambda answers: torch.zeros(len(answers)), policy)
    batch["averaged_logits"] = torch.randn(2, 2, TOKENS)
    loss = AnswerPolicyLoss(reasoner(2), policy, kl=2.0)
    out = loss(batch)
    assert set(loss.out_keys) == set(out.keys()) and all(value.isfinite() for value in out.values())
    out["loss_answer"].backward()
    assert out["loss_answer"] == 0.0 and not logits.grad.any()


def test_what_the_critic_explains() -> None:
    policy = AnswerPolicy(blanks, group=8)
    inputs = torch.full((2, 1), BLANK)
    batch = judged(torch.zeros(2, 1, TOKENS), inputs, lambda answers: torch.arange(len(answers)) // 9 * 2.0, policy)
    batch["y"] = torch.randn(2, 2, 8)
    loss = AnswerPolicyLoss(reasoner(1), policy, advantage="critic")
    out = loss(batch)
    assert set(loss.out_keys) == set(out.keys())
    # It promises nothing yet: of groups worth 0 and 2 nothing is explained, the advantage is all that they are worth.
    assert out["critic_explained_variance"] == 0.0 and out["advantage"] == 1.0 and out["group_spread"] == 0.0
    loss.head.forward = lambda y: torch.tensor([[0.5], [2.5]])
    assert loss(batch)["critic_explained_variance"] == 1.0


def test_givens_are_learned_and_free_cells_are_left_alone():
    logits = torch.zeros(2, 2, TOKENS, requires_grad=True)
    inputs = torch.tensor([[3, BLANK], [BLANK, BLANK]])
    batch = TensorDict({"logits": logits, "inputs": inputs, "free": blanks(inputs)}, [2])
    GivensLoss()(batch)["loss_givens"].backward()
    assert logits.grad[0, 0, 3] < 0 and not logits.grad[0, 1].any() and not logits.grad[1].any()
