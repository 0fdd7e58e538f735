"""Where programs write: places are looked at before the work, and standard output may close."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from programs import Program
from tiny_models import save_untrained, tiny_config

from latent_rl import analyze, cli, compare, evaluate, halt, solve, train

LINE = "321...32.12.23.1"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    save_untrained(folder / "run", tiny_config(folder / "cache"))
    return folder / "run"


@pytest.mark.parametrize(
    ("program", "option"),
    [
        (train, "--json=x/out.json"),
        (compare, "--json=x/out.json"),
        (compare, "--out=x/out"),
        (evaluate, "--json=x/out.json"),
        (evaluate, "--json="),
        (evaluate, "--sheet=x/out.png"),
        (evaluate, "--submission=x/out.json"),
        (solve, "--json=x/out.json"),
        (solve, "--png=x/out.png"),
        (solve, "--png=out.nonsense"),
        (solve, "--gif=x/out.gif"),
        (solve, "--gif=out.png"),
        (analyze, "--json=x/out.json"),
        (analyze, "--out=x/out"),
        (halt, "--json=x/out.json"),
        (halt, "--out=x/out"),
    ],
)
def test_nothing_is_begun_whose_result_cannot_be_written(program, option, run_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("a file where a folder should be")
    model = [] if program in (train, compare) else [run_dir]
    message = Program(program.main).mistake(capsys, *model, *([LINE] if program is solve else []), option)
    assert message.startswith("error: cannot ") and "model" not in message
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("redirection", ["| head -1", "| true", ">&-", "> /dev/full"])
def test_an_output_that_closes_is_no_traceback(redirection, run_dir) -> None:
    command = f"set -o pipefail; {sys.executable} -m latent_rl.solve {run_dir} {LINE} {redirection}"
    finished = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env={**os.environ})
    lines = finished.stderr.splitlines()
    if redirection == "> /dev/full":
        assert (finished.returncode, lines) == (2, ["error: cannot write to standard output: No space left on device"])
    else:
        assert (finished.returncode, lines) == (0, [])


def test_a_mistake_is_one_line_of_bearable_length(capsys) -> None:
    for message in ("a\nb", "\x1b[31mred", "the path " + "x" * 5000, "one two " * 100):
        with pytest.raises(SystemExit):
            cli.fail(message)
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and line.strip().isprintable()
        assert len(line) < max(300, 9 * 100)
