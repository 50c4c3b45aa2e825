"""Files arrive whole, verified, under safe names, and overwrite nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import PICTURE, Cli
from tests.cli.fake_gateway import FakeGateway


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_names_never_collide(cli: Cli, tmp_path: Path) -> None:
    for _ in range(3):
        assert cli("run", "picture", "-o", "out").code == 0
    assert names(tmp_path / "out") == ["picture-2.png", "picture-3.png", "picture.png"]
    assert all((tmp_path / "out" / name).read_bytes() == PICTURE for name in names(tmp_path / "out"))


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/passwd", "..\\evil.png", "", ".", ".bashrc", "a\0b", "con.png"]
)
def test_hostile_names_stay_in_the_folder(lying: Cli, gateway: FakeGateway, tmp_path: Path, name: str) -> None:
    gateway.twists.output_name = name
    done = lying("run", "picture", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert [tmp_path / done.json["files"][0]] == list((tmp_path / "out").iterdir())
    assert not names(tmp_path / "out")[0].startswith((".", "-"))
    assert names(tmp_path) == ["out"]


def test_damaged_files_are_not_kept(lying: Cli, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.twists.damaged = True
    done = lying("run", "picture", "-o", "out", "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == "damaged"
    assert names(tmp_path / "out") == []


def test_endless_files_are_cut_off(lying: Cli, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.twists.announced_bytes = 10
    done = lying("run", "picture", "-o", "out")
    assert done.code == 1
    assert "longer than announced" in done.err
    assert names(tmp_path / "out") == []


def test_an_expired_url_is_renewed(lying: Cli, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.twists.expired_urls = 2
    assert lying("run", "picture", "-o", "out").code == 0
    assert names(tmp_path / "out") == ["picture.png"]


def test_the_key_is_not_sent_with_signed_urls(lying: Cli, gateway: FakeGateway) -> None:
    assert lying("--key", "gp_secret", "run", "picture").code == 0
    downloads = [headers for _, path, headers in gateway.requests if path.startswith("/files/")]
    assert len(downloads) == 1
    assert "authorization" not in downloads[0]


def test_an_unwritable_folder_is_found_before_anything_is_paid_for(
    lying: Cli, gateway: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = lying("run", "picture", "-o", "file/out")
    assert done.code == 1
    assert "-o" in done.err.splitlines()[-1]
    assert gateway.tasks == {}
