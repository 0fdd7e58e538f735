"""Files are whole or as they were and follow the umask; folders are claimed by one and held by one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from latent_rl.errors import UserError
from latent_rl.storage import claim, hold, write_text
from latent_rl.storage.files import replacing


def test_what_fails_in_writing_leaves_the_file_as_it_was(tmp_path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "first")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"sec")
        raise ZeroDivisionError
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["a.txt"]
    with pytest.raises(UserError, match=r"cannot write .*missing.*: No such file"):
        write_text(tmp_path / "missing" / "a.txt", "x")


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_files_follow_the_umask(tmp_path, mask) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~mask


def test_a_link_under_the_name_of_what_is_not_whole_is_not_followed(tmp_path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".a.txt.new").symlink_to("precious")
    write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "a.txt").is_symlink()


def _claim_and_sign(first: Path, name: str) -> None:
    with claim(first) as folder:
        (folder / "owner").write_text(name)
        time.sleep(0.2)
        assert (folder / "owner").read_text() == name


def test_claims_at_the_same_time_get_folders_of_their_own(tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_claim_and_sign, args=(tmp_path / "run", str(k))) for k in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", *(f"run-{k}" for k in range(2, 7))]
    assert sorted((path / "owner").read_text() for path in tmp_path.iterdir()) == [str(k) for k in range(6)]


def test_a_claim_that_comes_to_nothing_is_given_back(tmp_path) -> None:
    with pytest.raises(UserError, match="no"), claim(tmp_path / "run"):
        raise UserError("no")
    with pytest.raises(UserError, match="no"), hold(tmp_path / "runs" / "run"):
        raise UserError("no")
    assert not (tmp_path / "run").exists() and not (tmp_path / "runs" / "run").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="no"), hold(tmp_path / "there"):
        raise UserError("no")
    assert (tmp_path / "there").exists()


def _hold(folder: Path, held) -> None:
    with hold(folder):
        held.set()
        time.sleep(60)


def test_a_held_folder_is_refused_until_its_process_has_died(tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held))
    holder.start()
    assert held.wait(30)
    try:
        with pytest.raises(UserError, match="is in use by another program") as refused, hold(tmp_path):
            pass
        assert "\n" not in str(refused.value)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.join(30)
    with hold(tmp_path):
        pass


def test_what_kills_have_left_is_swept_and_nothing_else(tmp_path) -> None:
    for folder in ("checkpoint", "figures"):
        (tmp_path / folder).mkdir()
    kept = ["config.yaml", "notes.new", "checkpoint/model.pt", "checkpoint/training.pt"]
    left = [".config.yaml.new", "summary.json.new", "checkpoint/.model.pt.new", "checkpoint/.training.pt.a1b2c3"]
    left += ["figures/.steps.new.png"]
    for name in (*kept, *left):
        (tmp_path / name).write_text("x")
    with hold(tmp_path):
        found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {*kept, ".lock"}
