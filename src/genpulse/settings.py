"""All settings, the only reader of the environment (and of a `.env` file in the working directory).

Every field says what follows from it. `genpulse settings` prints the effective values, secrets masked.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_POOL = re.compile(r"^([a-z][a-z0-9-]{0,31})=(\d{1,5})$")


def _env(name: str) -> AliasChoices:
    """The environment name of a field that doesn't follow `GENPULSE_<FIELD>`."""
    return AliasChoices(name, name.lower())


class Settings(BaseSettings):
    """Effective settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="GENPULSE_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True
    )

    host: str = Field("127.0.0.1", description="Address to bind. Any other than a loopback address needs API keys.")
    port: int = Field(8000, ge=0, le=65535, description="Port to bind; 0 takes a free one and prints it.")
    data_dir: Path = Field(Path("data"), description="Everything GenPulse keeps: database, queue, files, secret.")
    public_url: str | None = Field(
        None, description="Base of all URLs in answers, behind a proxy say. Absent: taken from each request."
    )
    redis_url: SecretStr | None = Field(
        None,
        validation_alias=_env("REDIS_URL"),
        description="Redis >= 6.2 or Valkey for the queue. Absent: an embedded Valkey is started and supervised.",
    )
    database_url: SecretStr | None = Field(
        None,
        validation_alias=_env("DATABASE_URL"),
        description="postgresql://… for several machines. Absent: SQLite in the data directory, one machine only.",
    )
    storage_url: SecretStr | None = Field(
        None, description="s3://bucket/prefix, gs://… or az://… for files. Absent: the data directory's files/."
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Signs file URLs; all gateways must share it. Absent: made once and kept in the data directory.",
    )
    plugins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated modules or .py files that register task types and models at start."
    )
    plugin_variables: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma-separated names of environment variables that plugins read. A task whose worker crashed "
        "runs again in a process of its own, which gets these and no other secrets.",
    )
    redis_prefix: str = Field("", description="Put before every Redis key and channel, to share one Redis.")
    ingress_tenant: str = Field("default", description="Whose the tasks of direct producers (LPUSH) are.")

    pools: Annotated[dict[str, int], NoDecode] = Field(
        {"local": 1, "handlers": 50, "comfyui": 8, "cloud": 500},
        description="What a worker runs at once, by pool: local=1,cloud=500. A pool that is not named isn't served.",
    )
    lease_s: float = Field(
        30, ge=1, description="A worker silent for so long is taken for dead and its tasks are rescued."
    )
    drain_s: float = Field(
        25, ge=0, description="At SIGTERM running tasks may finish for so long; then they are handed back, not lost."
    )
    task_timeout_s: float = Field(3600, gt=0, description="No attempt runs longer; it then fails with `timeout`.")
    max_attempts: int = Field(3, ge=1, le=20, description="Attempts for errors that are worth retrying.")
    retry_backoff_s: float = Field(2, ge=0, description="Wait before attempt 2; doubled for each further, with jitter.")
    ageing_s: float = Field(300, gt=0, description="A `low` task that waited so long counts as `normal`.")
    max_queued: int = Field(100_000, ge=0, description="Queued tasks per tenant, then `queue_full`; 0 = no limit.")
    max_upload_mb: int = Field(100, gt=0, description="Largest file for POST /files.")
    min_free_mb: int = Field(200, ge=0, description="Nothing is accepted with less free disk (507 storage_full).")
    file_url_ttl_s: int = Field(3600, ge=1, description="Life of a signed file URL.")
    retention_days: float = Field(
        30, ge=0, description="Finished tasks and their files are removed after so long; 0 keeps them for ever."
    )
    engine_memory_mb: int = Field(4096, ge=256, description="A local engine's process is killed above this memory.")

    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="More `Host` names to answer to, beside loopback ones; a guard against DNS rebinding."
    )
    insecure_no_auth: bool = Field(
        False, description="Serve a non-loopback address without keys. Whoever reaches it may do everything."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="json for machines, text for people; auto: text on a terminal."
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="A start-worker answers /metrics on this loopback port, without a key; 0 takes a free one. "
        "Absent: it doesn't. A gateway has /metrics anyway.",
    )
    run_dir: Path | None = Field(
        None, description="Folder for sockets, at most 60 characters long. Absent: a short one is made."
    )

    @field_validator("plugins", "plugin_variables", "allowed_hosts", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("pools", mode="before")
    @classmethod
    def _parse_pools(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pools: dict[str, int] = {}
        for part in filter(None, (p.strip() for p in value.split(","))):
            match = _POOL.match(part)
            if match is None:
                raise ValueError("write pools as name=slots, comma-separated: local=1,cloud=500")
            pools[match[1]] = int(match[2])
        return pools

    @field_validator("public_url")
    @classmethod
    def _no_trailing_slash(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @cached_property
    def heartbeat_s(self) -> float:
        """Three beats per lease: two may be missed."""
        return self.lease_s / 3
