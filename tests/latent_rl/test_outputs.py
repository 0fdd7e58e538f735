"""Where programs write: places are looked at before the work, and standard output may close."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from programs import Program
from tiny_models import save_untrained, tiny_config

from latent_rl import analyze, cli, compare, evaluate, halt, solve, train
from latent_rl.errors import UserError
from latent_rl.storage import claim

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


@pytest.mark.parametrize(
    "redirection",
    ["| true", *(pytest.param(one, marks=pytest.mark.slow) for one in ("| head -1", ">&-", "> /dev/full"))],
)
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


def test_what_standard_error_cannot_take_is_lost_and_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def fileno(self) -> int:
            return os.open(os.devnull, os.O_WRONLY)

    full, done = Full(), []
    monkeypatch.setattr(sys, "stderr", full)

    def program() -> None:
        print("working", file=sys.stderr, flush=True)
        done.append(True)

    cli.run_program(program)
    assert done and sys.stderr is full


def test_a_name_that_the_file_system_cannot_hold_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(self: Path, *_: object, **__: object) -> None:
        str(self.name).encode("ascii")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(UserError, match=r"R\\xe4tsel': file names are ascii here"), claim(tmp_path / "Rätsel"):
        pass
