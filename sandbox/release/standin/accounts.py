"""Users and their e-mail addresses, with as much of Django's interface as scripts for nexus use."""

import base64
import hashlib
import hmac
import os
from collections.abc import Iterator
from typing import Any, ClassVar

from . import database

_ROUNDS = 1000  # few: this keeps no real secret, and starts of machines are measured


class FieldError(Exception):
    """A field that the model does not have, in Django's words."""


class ObjectDoesNotExist(Exception):  # noqa: N818 - Django's name
    """Nothing was found."""


class MultipleObjectsReturned(Exception):  # noqa: N818 - Django's name
    """More than one was found."""


class Query:
    """The rows of a model with these values."""

    def __init__(self, model: "type[Model]", wanted: dict[str, Any]) -> None:
        self.model = model
        self.wanted = model.columns(wanted)

    def filter(self, **wanted: Any) -> "Query":
        """Narrower."""
        return Query(self.model, {**self.wanted, **wanted})

    def all(self) -> "Query":
        """As it is."""
        return self

    def __iter__(self) -> "Iterator[Any]":
        where = " AND ".join(f'"{name}" = %s' for name in self.wanted) or "true"
        query = f"SELECT * FROM {self.model.table} WHERE {where} ORDER BY id"  # noqa: S608 - names
        for row in database.rows(query, list(self.wanted.values())):
            found = self.model.__new__(self.model)
            found.__dict__.update(row)
            yield found

    def exists(self) -> bool:
        """Whether there is one."""
        return self.first() is not None

    def count(self) -> int:
        """How many there are."""
        return len(list(self))

    def first(self) -> Any:
        """The oldest, or None."""
        return next(iter(self), None)

    def get(self, **wanted: Any) -> Any:
        """The only one."""
        found = list(self.filter(**wanted))
        if not found:
            raise self.model.DoesNotExist(f"{self.model.__name__} matching query does not exist.")
        if len(found) > 1:
            raise self.model.MultipleObjectsReturned(f"get() returned {len(found)}")
        return found[0]

    def create(self, **values: Any) -> Any:
        """A new one."""
        made = self.model(**values)
        made.save()
        return made

    def get_or_create(self, defaults: dict[str, Any] | None = None, **wanted: Any) -> Any:
        """The one that is there, or a new one; and whether it is new."""
        found = self.filter(**wanted).first()
        return (found, False) if found else (self.create(**{**wanted, **(defaults or {})}), True)

    def update_or_create(self, defaults: dict[str, Any] | None = None, **wanted: Any) -> Any:
        """The one that is there, changed, or a new one; and whether it is new."""
        found, is_new = self.get_or_create(defaults, **wanted)
        if not is_new:
            for name, value in (defaults or {}).items():
                setattr(found, name, value)
            found.save()
        return found, is_new


class UserQuery(Query):
    """What only users have."""

    def create_user(
        self, username: str, email: str = "", password: str | None = None, **values: Any
    ) -> "User":
        """A new user."""
        user = User(username=username, email=email, **values)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(
        self, username: str, email: str = "", password: str | None = None, **values: Any
    ) -> "User":
        """A new user who may do everything."""
        rights = {"is_staff": True, "is_superuser": True}
        return self.create_user(username, email, password, **{**values, **rights})


class Model:
    """A row of a table."""

    table: ClassVar[str]
    fields: ClassVar[dict[str, Any]]
    """Column -> value of a new row."""
    objects: ClassVar[Any]
    DoesNotExist: ClassVar[type[Exception]] = ObjectDoesNotExist
    MultipleObjectsReturned: ClassVar[type[Exception]] = MultipleObjectsReturned

    def __init__(self, **values: Any) -> None:
        unknown = [name for name in self.columns_of(values) if name not in self.fields]
        if unknown:
            raise TypeError(f"{type(self).__name__}() got unexpected keyword arguments: {unknown}")
        self.__dict__.update({"id": None, **self.fields, **self.columns_of(values)})

    @classmethod
    def columns_of(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Values by column: a user is kept by its id."""
        return {
            f"{name}_id" if isinstance(value, Model) else name: getattr(value, "pk", value)
            for name, value in values.items()
        }

    @classmethod
    def columns(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Values to look for, by column. Raises FieldError."""
        found = {
            "id" if name == "pk" else name: value for name, value in cls.columns_of(values).items()
        }
        for name in found:
            if name not in cls.fields and name != "id":
                choices = ", ".join(["id", *cls.fields])
                raise FieldError(
                    f"Cannot resolve keyword '{name}' into field. Choices are: {choices}"
                )
        return found

    @property
    def pk(self) -> Any:
        """The id."""
        return self.__dict__["id"]

    def save(self, update_fields: Any = None) -> None:
        """Write the row."""
        names = list(self.fields)
        values = [self.__dict__[name] for name in names]
        columns, marks = ", ".join(f'"{name}"' for name in names), ", ".join(["%s"] * len(names))
        if self.pk is None:
            query = f"INSERT INTO {self.table} ({columns}) VALUES ({marks}) RETURNING id"  # noqa: S608
            self.__dict__["id"] = database.rows(query, values)[0]["id"]
        else:
            query = f"UPDATE {self.table} SET ({columns}) = ({marks}) WHERE id = %s"  # noqa: S608
            database.execute(query, [*values, self.pk])

    def delete(self) -> None:
        """Take the row away."""
        database.execute(f"DELETE FROM {self.table} WHERE id = %s", [self.pk])  # noqa: S608


class User(Model):
    """nexus.users.models.User."""

    table = "nexus_user"
    fields: ClassVar[dict[str, Any]] = {
        "username": "",
        "email": "",
        "password": "",
        "name": "",
        "is_active": True,
        "is_staff": False,
        "is_superuser": False,
    }
    username: str
    password: str
    is_superuser: bool
    is_active: bool

    def set_password(self, password: str | None) -> None:
        """Keep a new password; none lets nobody in."""
        self.password = "!" if password is None else _hashed(password, os.urandom(8))

    def check_password(self, password: str) -> bool:
        """Whether this is the password."""
        salt, separator, _ = self.password.partition("$")
        if not separator:
            return False
        return hmac.compare_digest(self.password, _hashed(password, base64.b64decode(salt)))


class EmailAddress(Model):
    """allauth.account.models.EmailAddress."""

    table = "account_emailaddress"
    fields: ClassVar[dict[str, Any]] = {
        "user_id": None,
        "email": "",
        "verified": False,
        "primary": False,
    }


User.objects = UserQuery(User, {})
EmailAddress.objects = Query(EmailAddress, {})


def _hashed(password: str, salt: bytes) -> str:
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
    return f"{base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
