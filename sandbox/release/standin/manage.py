"""`python manage.py shell` of nexus: runs the Python code on its standard input."""

import sys
import types

from . import accounts


def main(arguments: list[str]) -> None:
    """Run `shell` or `shell -c CODE`; an error of the code ends with its traceback and exit code 1."""
    if arguments[:1] != ["shell"]:
        sys.exit(f"Unknown command: {arguments[:1]}: the stand-in has `shell` only")
    _module("nexus.users.models", User=accounts.User)
    _module("allauth.account.models", EmailAddress=accounts.EmailAddress)
    _module("django.contrib.auth", get_user_model=lambda: accounts.User)
    code = arguments[2] if arguments[1:2] == ["-c"] else sys.stdin.read()
    exec(compile(code, "<shell>", "exec"), {"__name__": "__main__"})  # noqa: S102 - what a shell is for


def _module(path: str, **content: object) -> None:
    """Make `from path import name` work, for each package on the way too."""
    names = path.split(".")
    for length in range(1, len(names) + 1):
        name = ".".join(names[:length])
        module = sys.modules.setdefault(name, types.ModuleType(name))
        if length < len(names):
            module.__path__ = []
    sys.modules[path].__dict__.update(content)


if __name__ == "__main__":
    main(sys.argv[1:])
