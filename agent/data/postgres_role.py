"""The product's role in a PostgreSQL of this program's containers: the database's owner, and no superuser.

The image makes its role a superuser, who reads and writes the server's files and runs its programs (COPY ... TO
PROGRAM). From PostgreSQL 16 on its first role stays one, so that role is renamed, and another takes its name and
password, and owns what it owned.
"""

from __future__ import annotations

from agent.failures import Failure
from agent.machine.commands import run

CONTAINER = "graphistry-cluster-postgres"
"""As components/hosts/data_services.py names it."""
ROLE = "graphistry"
ADMINISTRATOR = "administrator"
"""Has no password: it comes in by the container's own socket alone."""
SECONDS = 120

IS_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = 'graphistry'"
CREATE = """
SELECT 'CREATE ROLE administrator SUPERUSER LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'administrator') \\gexec
"""
DEMOTE = """
DO $do$
DECLARE
  is_first boolean := (SELECT oid = 10 FROM pg_roles WHERE rolname = 'graphistry');
  secret text := (SELECT rolpassword FROM pg_authid WHERE rolname = 'graphistry');
  change text;
BEGIN
  IF is_first AND current_setting('server_version_num')::int >= 160000 THEN
    ALTER ROLE graphistry RENAME TO graphistry_first;
    ALTER ROLE graphistry_first PASSWORD NULL;
    EXECUTE format('CREATE ROLE graphistry LOGIN PASSWORD %L', secret);
  ELSE
    ALTER ROLE graphistry NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
  END IF;
  ALTER DATABASE graphistry OWNER TO graphistry;
  FOR change IN
    WITH own AS (
      SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    ), extensions AS (
      SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
    ), following AS (
      SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    )
    SELECT format('SCHEMA %I', nspname) FROM pg_namespace
      WHERE nspowner = 10 AND oid IN (SELECT oid FROM own)
      AND ('pg_namespace'::regclass, oid) NOT IN (SELECT * FROM extensions)
    UNION ALL
    SELECT format('%s %s', CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW'
        WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, oid::regclass)
      FROM pg_class WHERE relowner = 10 AND relnamespace IN (SELECT oid FROM own)
      AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT (relkind = 'S' AND oid IN (SELECT objid FROM following))
      AND ('pg_class'::regclass, oid) NOT IN (SELECT * FROM extensions)
    UNION ALL
    SELECT format('ROUTINE %s', oid::regprocedure) FROM pg_proc
      WHERE proowner = 10 AND pronamespace IN (SELECT oid FROM own)
      AND ('pg_proc'::regclass, oid) NOT IN (SELECT * FROM extensions)
    UNION ALL
    SELECT format('TYPE %s', oid::regtype) FROM pg_type
      WHERE typowner = 10 AND typnamespace IN (SELECT oid FROM own)
      AND (typtype IN ('e', 'd', 'r')
        OR typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = typrelid) = 'c')
      AND ('pg_type'::regclass, oid) NOT IN (SELECT * FROM extensions)
    UNION ALL
    SELECT format('LARGE OBJECT %s', oid) FROM pg_largeobject_metadata WHERE lomowner = 10
  LOOP
    EXECUTE format('ALTER %s OWNER TO graphistry', change);
  END LOOP;
END
$do$;
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE usesysid = 10 AND pid <> pg_backend_pid();
"""
"""The block is one transaction. Those who came in before it stay superusers until they come again."""


def demote() -> None:
    """Have the product's role be no superuser, without changing its password or a row; raises Failure."""
    if _ask(ROLE, IS_SUPERUSER) == "f":
        return
    print(f"the role {ROLE} of PostgreSQL is made no superuser", flush=True)
    _ask(ROLE, CREATE)
    _ask(ADMINISTRATOR, DEMOTE)


def _ask(role: str, query: str) -> str:
    """What psql says in the container, whose own socket asks for no password."""
    psql = ["psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-U", role, "-d", ROLE]
    done = run(["docker", "exec", "-i", CONTAINER, *psql], text=query, seconds=SECONDS)
    if not done.succeeded:
        raise Failure(
            "PostgresRefused",
            f"the role {ROLE} cannot be made no superuser: psql in {CONTAINER} ended with status {done.status}",
            done.tail(),
        )
    return done.output.strip()
