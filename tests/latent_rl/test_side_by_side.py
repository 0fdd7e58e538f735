"""Processes side by side: each named, with one thread, stopped together, none of them cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import toy_tasks

from latent_rl.cli import side_by_side
from latent_rl.errors import UserError


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_task_is_done_and_says_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []
    side_by_side([(name, toy_tasks.finish, (name,)) for name in "abc"], 2, done.append)
    assert sorted(done) == ["a", "b", "c"] and all(Path(name).read_text() == "finished" for name in "abc")
    said = capfd.readouterr().err
    assert all(f"{name}: threads 1\n" in said for name in "abc")


def test_one_that_fails_has_the_others_save(capfd: pytest.CaptureFixture[str]) -> None:
    tasks = [("good", toy_tasks.save_when_told, ("good",)), ("bad", toy_tasks.fail, ("good",))]
    with pytest.raises(UserError, match="^bad: it does not fit$"):
        side_by_side([*tasks, ("never", toy_tasks.finish, ("never",))], 2, print)
    assert Path("good").read_text() == "saved" and not Path("never").exists()
    assert "Traceback" not in capfd.readouterr().err


def test_a_signal_has_all_of_them_save(capfd: pytest.CaptureFixture[str]) -> None:
    def tell() -> None:
        for name in "ab":
            toy_tasks.until(toy_tasks.at_work(name))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=tell, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        side_by_side([(name, toy_tasks.save_when_told, (name,)) for name in "ab"], 2, print)
    assert Path("a").read_text() == Path("b").read_text() == "saved"
    assert "Traceback" not in capfd.readouterr().err


def test_they_save_if_the_program_dies(tmp_path: Path) -> None:
    script = (
        "import toy_tasks; from latent_rl.cli import side_by_side\n"
        "if __name__ == '__main__': side_by_side([('a', toy_tasks.save_when_told, ('a',))], 1, print)"
    )
    Path("script.py").write_text(script)
    paths = {"PYTHONPATH": str(Path(toy_tasks.__file__).parent)}
    program = subprocess.Popen([sys.executable, "script.py"], env={**os.environ, **paths})
    toy_tasks.until(toy_tasks.at_work("a"))
    program.kill()
    program.wait()
    toy_tasks.until(lambda: Path("a").read_text() == "saved")
