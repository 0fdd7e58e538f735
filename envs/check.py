"""`check_puzzle`: what a puzzle's author runs to learn, in plain words, what is wrong with it."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, get_args

import gymnasium
import torch
from gymnasium.utils.env_checker import check_env
from torch import Tensor

from latent_rl.envs.mdp import LatentRecursionEnv
from latent_rl.envs.puzzle import IGNORE, PAD, Instances, Puzzle, PuzzleError, Split

SAMPLE = 64
"""Instances of a split on which the rule is tried; shapes and tokens are checked on all of them."""

SPLITS: tuple[Split, ...] = get_args(Split)


def check_puzzle(puzzle: Puzzle) -> None:
    """Check that a puzzle keeps the promises of `Puzzle`, and that its environment keeps those of Gymnasium.

    The checks go from the alphabet over the data to the rule; where one group finds mistakes, the groups that
    build on it are not tried, because they could only fail in a more obscure way.

    Raises:
        PuzzleError: with everything that is wrong, one line each.
    """
    groups = (_alphabet, _data, _rule, _declarations, _quality, _augmentation, _text, _environment)
    problems: list[str] = []
    for check in groups:
        problems += _run(check, puzzle)
        if problems and check in (_alphabet, _data):
            break
    if problems:
        name = getattr(puzzle, "name", type(puzzle).__name__)
        raise PuzzleError(f"{name} is not a sound puzzle:" + "".join(f"\n- {problem}" for problem in problems))


def _run(check: Callable[[Puzzle], Iterator[str]], puzzle: Puzzle) -> list[str]:
    """The problems that a check yields; whatever the puzzle raises is one more."""
    problems = []
    try:
        for problem in check(puzzle):
            problems.append(problem)
    except Exception as error:  # the author's code may raise anything, and all of it is a finding
        where = check.__name__.strip("_")
        problems.append(f"checking the {where} stopped with {type(error).__name__}: {error}")
    return problems


def _alphabet(puzzle: Puzzle) -> Iterator[str]:
    for attribute in ("name", "grid_shape", "symbols"):
        if not hasattr(puzzle, attribute):
            yield f"it has no attribute {attribute!r}"
            return
    if not (isinstance(puzzle.name, str) and puzzle.name):
        yield f"name must be a non-empty string, got {puzzle.name!r}"
    shape = puzzle.grid_shape
    if len(shape) != 2 or not all(isinstance(side, int) and side >= 1 for side in shape):
        yield f"grid_shape must be two positive integers (rows, columns), got {shape!r}"
    symbols = list(puzzle.symbols)
    if len(symbols) < 2:
        yield f"symbols must hold the padding and at least one more, got {symbols!r}"
    for symbol in symbols:
        if not (isinstance(symbol, str) and len(symbol) == 1):
            yield f"symbols must be single characters, got {symbol!r}"
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        yield f"symbols must be distinct, {twice[0]!r} stands for more than one token"


def _data(puzzle: Puzzle) -> Iterator[str]:
    sound, splits = True, _splits(puzzle)
    for split in splits:
        for problem in _split(puzzle, split):
            sound = False
            yield f"the {split} split: {problem}"
    if not sound:
        return
    # The same inputs under another puzzle id are another puzzle.
    rows = {split: [tuple(row) for row in _with_ids(puzzle.instances(split)).tolist()] for split in splits}
    for one, other in combinations(splits, 2):
        known = set(rows[one])
        shared = [list(row[1:]) for row in rows[other] if row in known]
        if shared:
            yield f"{len(shared)} puzzles of the {other} split are in the {one} split too, the first is {shared[0]}"


def _splits(puzzle: Puzzle) -> list[Split]:
    return [split for split in SPLITS if split != "validation" or puzzle.has_validation]


def _split(puzzle: Puzzle, split: Split) -> Iterator[str]:
    instances, again = puzzle.instances(split), puzzle.instances(split)
    tensors = {"inputs": instances.inputs, "solution": instances.solution, "puzzle_id": instances.puzzle_id}
    count = len(instances)
    if count == 0:
        yield "it holds no instances"
        return
    for name, tensor in tensors.items():
        expected = (count,) if name == "puzzle_id" else (count, puzzle.seq_len)
        if tensor.dtype != torch.int64:
            yield f"{name} must be int64, got {tensor.dtype}"
        if tuple(tensor.shape) != expected:
            yield f"{name} must have shape {list(expected)}, got {list(tensor.shape)}"
            return
        if tensor.device.type != "cpu":
            yield f"{name} must be on the CPU, got {tensor.device}"
        if not torch.equal(tensor, getattr(again, name)):
            yield f"{name} differ between two calls of instances({split!r})"
    vocabulary = puzzle.vocab_size
    inputs, solutions, ids = instances.inputs, instances.solution, instances.puzzle_id
    for row in _rows((inputs < 0) | (inputs >= vocabulary)):
        yield f"inputs of instance {row} hold tokens outside 0 to {vocabulary - 1}"
    counted = solutions != IGNORE
    for row in _rows(counted & ((solutions < 0) | (solutions >= vocabulary))):
        yield f"the solution of instance {row} holds tokens outside 0 to {vocabulary - 1} (and not IGNORE)"
    for row in _rows(~counted.any(-1, keepdim=True)):
        yield f"the solution of instance {row} ignores every cell"
    for row in _rows(((ids < 0) | (ids >= max(1, puzzle.num_puzzle_ids)))[:, None]):
        yield f"the puzzle id of instance {row} is {int(ids[row])}, outside 0 to {max(1, puzzle.num_puzzle_ids) - 1}"


def _rule(puzzle: Puzzle) -> Iterator[str]:
    if not puzzle.has_rule:
        return
    for split in _splits(puzzle):
        sample, chosen = _sample(puzzle, split)
        inputs, keys = sample.inputs, _keys(sample)
        before = inputs.clone(), keys.clone()
        solved = puzzle.is_solved(inputs, keys)
        if not (torch.equal(before[0], inputs) and torch.equal(before[1], keys)):
            yield "is_solved modifies its arguments"
            return
        if solved.dtype != torch.bool or tuple(solved.shape) != (len(sample),):
            yield (
                f"is_solved must return bool [{len(sample)}] for a batch of {len(sample)}, "
                f"got {solved.dtype} {list(solved.shape)}"
            )
            return
        for row in _rows(~solved[:, None]):
            yield f"is_solved refuses the answer key of instance {chosen[row]} of the {split} split"
        singly = torch.cat([puzzle.is_solved(inputs[i : i + 1], keys[i : i + 1]) for i in range(len(sample))])
        if not torch.equal(singly, solved):
            yield "is_solved judges an answer differently alone and in a batch"
        yield from _violations(puzzle, inputs, keys)
        padded = puzzle.is_solved(inputs, torch.full_like(keys, PAD))
        if padded.any():
            yield "is_solved accepts an answer of nothing but padding"
        wrong = _corrupted(keys, sample, puzzle.vocab_size)
        accepted = puzzle.is_solved(inputs, wrong) & (wrong != keys).any(-1)
        # Some puzzles have several answers, so that a changed key may be right; a rule that mostly says so is none.
        if 2 * int(accepted.sum()) > len(sample):
            yield f"is_solved accepts most answers that have one cell changed ({int(accepted.sum())} of {len(sample)})"


def _violations(puzzle: Puzzle, inputs: Tensor, keys: Tensor) -> Iterator[str]:
    found = puzzle.violations(inputs, keys)
    if found.dtype != torch.float32 or tuple(found.shape) != (len(inputs),):
        yield f"violations must return float32 [{len(inputs)}], got {found.dtype} {list(found.shape)}"
        return
    free = puzzle.free_cells(inputs)
    if free.dtype != torch.bool or free.shape != inputs.shape:
        yield f"free_cells must return bool {list(inputs.shape)}, got {free.dtype} {list(free.shape)}"
        return
    if bool(((inputs != keys) & ~free).any()):
        yield "free_cells leaves out a cell in which inputs and key differ"
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(1, puzzle.vocab_size, keys.shape, generator=generator)
    # The keys themselves, one cell in ten changed, and answers of nothing but chance.
    for share in (0.0, 0.1, 1.0):
        answers = torch.where(torch.rand(keys.shape, generator=generator) < share, noise, keys)
        found = puzzle.violations(inputs, answers)
        if bool((found < 0).any()):
            yield "violations are below 0 for some answers"
        if not torch.equal(found == 0, puzzle.is_solved(inputs, answers)):
            yield "violations are not 0 exactly where is_solved says so"
            return


def _declarations(puzzle: Puzzle) -> Iterator[str]:
    for kind, of in enumerate(puzzle.units):
        if len(of) != puzzle.seq_len or not all(isinstance(unit, int) for unit in of):
            cells = puzzle.seq_len
            yield f"units: kind {kind} must name a unit, an int, of each of {cells} cells, got {len(of)} values"
    names = list(puzzle.interchangeable)
    if len(set(names)) < len(names) or not all(PAD < token < puzzle.vocab_size for token in names):
        yield f"interchangeable must be distinct tokens within 1 to {puzzle.vocab_size - 1}, got {names}"
    elif names and puzzle.has_rule:
        renamed = torch.arange(puzzle.vocab_size)
        renamed[names] = torch.tensor(names).roll(1)
        for split in _splits(puzzle):
            sample, chosen = _sample(puzzle, split)
            solved = puzzle.is_solved(renamed[sample.inputs], renamed[_keys(sample)])
            for row in _rows(~solved[:, None]):
                yield (
                    f"is_solved refuses the answer key of instance {chosen[row]} of the {split} split once the "
                    "interchangeable tokens are renamed"
                )


def _quality(puzzle: Puzzle) -> Iterator[str]:
    for split in _splits(puzzle):
        sample, _ = _sample(puzzle, split)
        for answers, what in ((_keys(sample), "answer keys"), (sample.inputs, "inputs")):
            before = answers.clone(), sample.solution.clone()
            quality = puzzle.quality(answers, sample.solution)
            if not (torch.equal(before[0], answers) and torch.equal(before[1], sample.solution)):
                yield "quality modifies its arguments"
                return
            if quality.dtype != torch.float32 or tuple(quality.shape) != (len(sample),):
                yield (
                    f"quality must return float32 [{len(sample)}] for a batch of {len(sample)}, "
                    f"got {quality.dtype} {list(quality.shape)}"
                )
                return
            if not bool(((quality >= 0) & (quality <= 1)).all()):
                yield f"the quality of the {split} split's {what} leaves [0, 1]"
            if what == "answer keys" and not bool((quality == 1).all()):
                yield f"the quality of the {split} split's answer keys is not 1"


def _augmentation(puzzle: Puzzle) -> Iterator[str]:
    sample, chosen = _sample(puzzle, "train")
    before = sample.inputs.clone(), sample.solution.clone()
    images = []
    for noise in (1, 2):
        # Same generator, different global randomness: whoever reads the latter gives different images.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(noise)
            images.append(puzzle.augment(sample, torch.Generator().manual_seed(0)))
        if not (torch.equal(before[0], sample.inputs) and torch.equal(before[1], sample.solution)):
            yield "augment modifies its arguments"
            return
    first, second = images
    for name in ("inputs", "solution", "puzzle_id"):
        image, original = getattr(first, name), getattr(sample, name)
        if image.dtype != original.dtype or image.shape != original.shape:
            yield (
                f"augment turns {name} from {original.dtype} {list(original.shape)} "
                f"into {image.dtype} {list(image.shape)}"
            )
            return
        if not torch.equal(image, getattr(second, name)):
            yield f"augment draws {name} from something other than the generator it is given"
    for row in _rows((first.inputs < 0) | (first.inputs >= puzzle.vocab_size)):
        yield f"augment gives instance {chosen[row]} tokens outside 0 to {puzzle.vocab_size - 1}"
    solved = puzzle.judge(first.inputs, _keys(first), first.solution)
    for row in _rows(~solved[:, None]):
        yield f"augment turns the solved instance {chosen[row]} of the train split into one that is_solved refuses"


def _text(puzzle: Puzzle) -> Iterator[str]:
    sample, chosen = _sample(puzzle, "train")
    for row, tokens in zip(chosen[:4], sample.inputs[:4], strict=True):
        if bool((tokens == PAD).any()):
            continue  # people write no padding
        text = puzzle.render(tokens)
        try:
            parsed = puzzle.parse(text)
        except PuzzleError as error:
            yield f"parse refuses what render made of instance {row}: {error}"
            return
        if not torch.equal(parsed, tokens):
            yield f"parse reads other tokens than render wrote for instance {row}"
            return
        try:
            puzzle.check_input(tokens)
        except PuzzleError as error:
            yield f"check_input refuses instance {row} of the train split: {error}"


def _environment(puzzle: Puzzle) -> Iterator[str]:
    def entry_point(**options: Any) -> LatentRecursionEnv:
        return LatentRecursionEnv(puzzle, **options)

    spec = gymnasium.envs.registration.EnvSpec(f"{type(puzzle).__name__}-v0", entry_point=entry_point)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(spec.make(disable_env_checker=True).unwrapped)
    for warning in caught:
        yield f"gymnasium's check_env warns: {warning.message}"


def _sample(puzzle: Puzzle, split: Split) -> tuple[Instances, list[int]]:
    """Some instances of a split, in memory of their own, and their indices; the same ones at every call."""
    instances = puzzle.instances(split)
    chosen = random.Random(0).sample(range(len(instances)), min(SAMPLE, len(instances)))
    return instances[torch.tensor(chosen)], chosen


def _with_ids(instances: Instances) -> Tensor:
    """Puzzle ids and inputs, int64 `[N, 1 + L]`."""
    return torch.cat([instances.puzzle_id.unsqueeze(1), instances.inputs], dim=1)


def _keys(instances: Instances) -> Tensor:
    """Answer keys as complete answers: cells that do not count keep their inputs."""
    return torch.where(instances.solution == IGNORE, instances.inputs, instances.solution)


def _corrupted(keys: Tensor, instances: Instances, vocabulary: int) -> Tensor:
    """The keys with one counted cell changed to the next token, the first one where inputs and key differ."""
    counted = instances.solution != IGNORE
    played = counted & (keys != instances.inputs)
    cell = torch.where(played.any(-1, keepdim=True), played, counted).int().argmax(-1, keepdim=True)
    changed = keys.gather(-1, cell) % (vocabulary - 1) + 1
    return keys.scatter(-1, cell, changed)


def _rows(bad: Tensor) -> list[int]:
    """The first row of `bad` (bool `[N, ...]`) with a mistake, as a list: one example says enough."""
    return bad.flatten(1).any(-1).nonzero(as_tuple=True)[0][:1].tolist()
