"""Inserts many rows with one statement.

`executemany` on SQLite steps through the rows one by one and gives up the interpreter's lock at each; a gateway spent
more on passing that lock between its two threads than on the rows. One statement for all rows gives it up once, and the
event loop runs meanwhile. PostgreSQL's driver sends `executemany` in one go by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import JSON, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

_MAX_VARIABLES = 30_000
"""SQLite takes 32,766."""

Row = Mapping[str, Any]


def insert(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that have a value for every column."""
    if conn.dialect.name != "sqlite":
        conn.execute(table.insert(), rows)
        return
    _insert(conn, table, rows, "")


def insert_new(conn: Connection, table: Table, rows: Sequence[Row]) -> bool:
    """Insert rows whose key is not there yet. True: none was, surely; False: look which."""
    if conn.dialect.name != "sqlite":
        conn.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)
        return False
    return _insert(conn, table, rows, " ON CONFLICT DO NOTHING") == len(rows)


def _insert(conn: Connection, table: Table, rows: Sequence[Row], suffix: str) -> int:
    columns = _columns(table)
    per_statement = _MAX_VARIABLES // len(columns)
    inserted = 0
    for start in range(0, len(rows), per_statement):
        page = rows[start : start + per_statement]
        values = tuple(
            orjson.dumps(row[name]).decode() if is_json and row[name] is not None else row[name]
            for row in page
            for name, is_json in columns
        )
        inserted += conn.exec_driver_sql(_statement(table, len(page)) + suffix, values).rowcount
    return inserted


@lru_cache
def _columns(table: Table) -> tuple[tuple[str, bool], ...]:
    return tuple((column.name, isinstance(column.type, JSON)) for column in table.columns)


@lru_cache(512)
def _statement(table: Table, count: int) -> str:
    names = [sqlite.dialect().identifier_preparer.quote(name) for name, _ in _columns(table)]
    one = f"({', '.join('?' * len(names))})"
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {', '.join([one] * count)}"  # noqa: S608 - our own names
