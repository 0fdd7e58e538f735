"""Places to write: looked at before the work, and written whole or not at all."""

from __future__ import annotations

import os

import pytest
from matplotlib.figure import Figure

from latent_rl.errors import UserError
from latent_rl.reporting.files import check_file, check_folder, replacing, write
from latent_rl.reporting.style import check_figure, save


def test_a_place_where_nothing_can_be_written_is_found_out(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path, reason in (
        (tmp_path / "no" / "x.json", "No such file"),
        (tmp_path / "file" / "x.json", "Not a directory"),
        (tmp_path / ("a" * 300), "too long"),
        ("/proc/x.json", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(UserError, match=f"cannot write .*{reason}"):
            check_file(type(tmp_path)(path))
    for path in (tmp_path / "file", tmp_path / "file" / "out", tmp_path / ("a" * 300)):
        with pytest.raises(UserError, match="cannot make the folder"):
            check_folder(path)
    with pytest.raises(UserError, match="format 'xyz' is not among .* png"):
        check_figure(tmp_path / "x.xyz")
    check_file(tmp_path / "x.json")
    check_file(type(tmp_path)("/dev/null"))
    check_folder(tmp_path / "new" / "newer")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_file_is_replaced_as_a_whole_with_the_mode_that_the_umask_says(tmp_path) -> None:
    link, target = tmp_path / "link.txt", tmp_path / "target.txt"
    target.write_text("old")
    link.symlink_to(target)
    with pytest.raises(RuntimeError), replacing(link) as file:
        file.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    before = os.umask(0o027)
    try:
        write(link, "new")
        save(Figure(), tmp_path / "plain")
    finally:
        os.umask(before)
    assert link.is_symlink() and target.read_text() == "new"
    assert (target.stat().st_mode & 0o777, (tmp_path / "plain").stat().st_mode & 0o777) == (0o640, 0o640)
    assert (tmp_path / "plain").read_bytes().startswith(b"\x89PNG")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.txt", "plain", "target.txt"]
