"""Signed file URLs and the secret behind them."""

import asyncio
import stat
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from genpulse.storage import UrlSigner, load_secret

SIGNER = UrlSigner(b"s" * 32)
FILE, EXP, NOW = "0192f0c8-0000-7000-8000-000000000001", 2_000_000_000, 1_999_999_999.0


def test_a_fresh_url_opens_its_file() -> None:
    query = {name: values[0] for name, values in parse_qs(SIGNER.query(FILE, EXP)).items()}
    assert SIGNER.verify(FILE, query["exp"], query["sig"], NOW)


def test_it_expires() -> None:
    sig = SIGNER.sign(FILE, EXP)
    assert SIGNER.verify(FILE, str(EXP), sig, EXP - 0.001)
    assert not SIGNER.verify(FILE, str(EXP), sig, EXP)


def test_it_opens_nothing_else() -> None:
    sig = SIGNER.sign(FILE, EXP)
    assert not SIGNER.verify(FILE[:-1] + "2", str(EXP), sig, NOW)
    assert not SIGNER.verify(FILE, str(EXP + 1), sig, NOW)
    assert not UrlSigner(b"t" * 32).verify(FILE, str(EXP), sig, NOW)


def test_parts_can_not_be_shifted_into_each_other() -> None:
    """The file id ends where the expiry begins: `…1` + `2000…` is not `…` + `12000…`."""
    assert SIGNER.sign("a1", 2) != SIGNER.sign("a", 12)
    assert SIGNER.sign("a\n1", 2) != SIGNER.sign("a", 1)


@pytest.mark.parametrize(
    "exp", ["", "0", "-1", "02000000000", "+2000000000", " 2000000000", "2e9", "٢٠٠٠٠٠٠٠٠٠", "9" * 5000]
)
def test_only_the_canonical_expiry_counts(exp: str) -> None:
    assert not SIGNER.verify(FILE, exp, SIGNER.sign(FILE, EXP), 0)


@given(exp=st.text(), sig=st.text(), file_id=st.text())
def test_nonsense_is_refused_without_an_error(exp: str, sig: str, file_id: str) -> None:
    assert not SIGNER.verify(file_id, exp, sig, 0)


def test_the_secret_itself_is_not_the_key() -> None:
    """The same secret may be used for another purpose without these URLs being valid there."""
    import hmac

    direct = hmac.new(b"s" * 32, f"read\n{FILE}\n{EXP}".encode(), "sha256").hexdigest()
    assert SIGNER.sign(FILE, EXP) != direct


def test_a_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    made = load_secret(None, tmp_path / "data")
    path = tmp_path / "data" / "secret"
    assert len(made) >= 32
    assert load_secret(None, tmp_path / "data") == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert load_secret(None, tmp_path / "other") != made


async def test_processes_that_start_together_get_the_same_secret(tmp_path: Path) -> None:
    for n in range(20):
        made = await asyncio.gather(*(asyncio.to_thread(load_secret, None, tmp_path / str(n)) for _ in range(8)))
        assert len(set(made)) == 1


def test_a_secret_others_could_read_is_made_private(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_secret(None, tmp_path)
    (tmp_path / "secret").chmod(0o644)
    load_secret(None, tmp_path)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert "readable by others" in caplog.text


def test_the_setting_goes_first_and_must_be_long(tmp_path: Path) -> None:
    assert load_secret(SecretStr("x" * 32), tmp_path) == b"x" * 32
    assert not (tmp_path / "secret").exists()
    with pytest.raises(ValueError, match="GENPULSE_SECRET_KEY is too short") as failure:
        load_secret(SecretStr("hunter2"), tmp_path)
    assert "hunter2" not in str(failure.value)
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(ValueError, match="too short"):
        load_secret(None, tmp_path)
