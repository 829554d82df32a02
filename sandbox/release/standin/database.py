"""PostgreSQL as the services see it, and the tables that nexus makes."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2  # type: ignore[import-untyped, import-not-found, unused-ignore]  # only on machines

CONNECT_SECONDS = 3
LOOK_SECONDS = 30
_LOCK = 7446  # any number that every nexus agrees on
_TABLES = """
CREATE TABLE IF NOT EXISTS nexus_user (
    id serial PRIMARY KEY, username text UNIQUE NOT NULL, email text NOT NULL DEFAULT '',
    password text NOT NULL, name text NOT NULL DEFAULT '', is_active boolean NOT NULL DEFAULT true,
    is_staff boolean NOT NULL DEFAULT false, is_superuser boolean NOT NULL DEFAULT false);
CREATE TABLE IF NOT EXISTS account_emailaddress (
    id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES nexus_user ON DELETE CASCADE,
    email text UNIQUE NOT NULL, verified boolean NOT NULL DEFAULT false,
    "primary" boolean NOT NULL DEFAULT false);
CREATE TABLE IF NOT EXISTS nexus_setting (
    user_id integer NOT NULL REFERENCES nexus_user ON DELETE CASCADE, key text NOT NULL,
    value text NOT NULL, PRIMARY KEY (user_id, key));
CREATE TABLE IF NOT EXISTS nexus_dataset (
    dataset_id text PRIMARY KEY, name text NOT NULL, owner text NOT NULL, node text NOT NULL,
    num_edges integer NOT NULL DEFAULT 0, num_nodes integer NOT NULL DEFAULT 0,
    created timestamptz NOT NULL DEFAULT now());
ALTER TABLE nexus_dataset ADD COLUMN IF NOT EXISTS described jsonb NOT NULL DEFAULT '{}';
CREATE TABLE IF NOT EXISTS nexus_file (
    file_id text PRIMARY KEY, name text NOT NULL, owner text NOT NULL, file_type text NOT NULL,
    num_rows integer, created timestamptz NOT NULL DEFAULT now());
"""

DatabaseError = psycopg2.Error


@contextmanager
def connected() -> Iterator[Any]:
    """A cursor in a transaction of its own."""
    with closing(_connection()) as connection, connection, connection.cursor() as cursor:
        yield cursor


def _connection() -> Any:
    return psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=CONNECT_SECONDS)


def wait() -> None:
    """Return when PostgreSQL lets this service in, however long that takes."""
    while True:
        try:
            with connected():
                break
        except psycopg2.OperationalError as error:
            print("Waiting for PostgreSQL to become available...", flush=True)
            print(f"  {str(error).strip().splitlines()[0]}", flush=True)
        time.sleep(1)
    print("PostgreSQL is available", flush=True)


def hold() -> None:
    """Keep a connection open from now on, as the pool of a client does; another one where it is lost."""
    threading.Thread(target=_hold, daemon=True).start()


def _hold() -> None:
    while True:
        with suppress(psycopg2.Error), closing(_connection()) as connection:
            connection.autocommit = True
            while True:
                connection.cursor().execute("SELECT 1")
                time.sleep(LOOK_SECONDS)
        time.sleep(1)


def migrate() -> None:
    """Make the tables; of several nexus that start at once, one after the other."""
    with connected() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(_TABLES)
    print("Running migrations: OK", flush=True)


def rows(query: str, values: list[Any]) -> list[dict[str, Any]]:
    """What a query finds."""
    with connected() as cursor:
        cursor.execute(query, values)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def execute(query: str, values: list[Any]) -> None:
    """Change something."""
    with connected() as cursor:
        cursor.execute(query, values)
