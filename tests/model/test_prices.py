"""The list prices that come with the program: what is unknown stays empty, what is known says whence."""

from decimal import Decimal
from pathlib import Path

import pytest

from model.cost import LISTED
from model.gpu_catalogue import CATALOGUE
from model.prices import PRICES_FILE, price_of, read_prices, write_prices


def test_writing_and_reading_the_file_changes_nothing(tmp_path: Path) -> None:
    copy = tmp_path / "prices.csv"
    write_prices(read_prices(), copy)
    assert copy.read_bytes() == PRICES_FILE.read_bytes()


def test_every_price_says_when_and_where_it_was_read() -> None:
    assert all(each.date >= "2026" and each.source for each in LISTED.values())


def test_a_type_without_a_price_has_none_and_not_zero() -> None:
    assert CATALOGUE["p5e.48xlarge"].price is None
    assert "p5e.48xlarge" not in LISTED
    assert LISTED["g5.xlarge"].usd == Decimal("1.006")


@pytest.mark.parametrize(
    ("usd", "date", "source"),
    [("0", "2026", "x"), ("-1", "2026", "x"), ("free", "2026", "x"), ("1.5", "", "x")],
)
def test_a_price_that_is_none_is_refused(usd: str, date: str, source: str) -> None:
    with pytest.raises(ValueError, match="a number above zero with date and source"):
        price_of(usd, date, source)


def test_a_row_that_nothing_asks_for_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "prices.csv"
    copy.write_text(PRICES_FILE.read_text().replace("gp3 IOPS", "gp2 IOPS"))
    with pytest.raises(
        ValueError, match=r"got gp3 storage, gp2 IOPS.*allowed are gp3 storage, gp3"
    ):
        read_prices(copy)
