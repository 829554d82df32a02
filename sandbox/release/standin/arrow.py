"""How much an Arrow file holds, from its footer (Arrow columnar format, IPC file format; FlatBuffers)."""

import struct

MAGIC = b"ARROW1"


def size(content: bytes) -> tuple[int, list[str]]:
    """The number of rows, and the columns' names. Raises ValueError for what is no Arrow file."""
    if not (content.startswith(MAGIC) and content.endswith(MAGIC)):
        raise ValueError("no Arrow file: it begins and ends with ARROW1")
    try:
        length = int.from_bytes(content[-10:-6], "little")
        footer = _Table.root(content, len(content) - 10 - length)
        names = [each.text(0) for each in footer.table(1).tables(1)]
        rows = 0
        for block in footer.vector(3, 24):  # offset, length of the metadata, length of the body
            start = struct.unpack_from("<q", content, block)[0]
            rows += _Table.root(content, start + 8).table(2).long(0)
    except (struct.error, IndexError) as error:
        raise ValueError(f"a broken Arrow file: {error}") from error
    return rows, names


class _Table:
    """A table of FlatBuffers: its fields by number."""

    def __init__(self, content: bytes, place: int) -> None:
        self.content, self.place = content, place

    @classmethod
    def root(cls, content: bytes, start: int) -> "_Table":
        return cls(content, start + struct.unpack_from("<I", content, start)[0])

    def _field(self, number: int) -> int:
        """Where a field is; 0 for one that has its default."""
        table = self.place - struct.unpack_from("<i", self.content, self.place)[0]
        if 4 + 2 * number >= struct.unpack_from("<H", self.content, table)[0]:
            return 0
        offset = int(struct.unpack_from("<H", self.content, table + 4 + 2 * number)[0])
        return self.place + offset if offset else 0

    def _followed(self, place: int) -> int:
        return place + int(struct.unpack_from("<I", self.content, place)[0])

    def long(self, number: int) -> int:
        place = self._field(number)
        return int(struct.unpack_from("<q", self.content, place)[0]) if place else 0

    def table(self, number: int) -> "_Table":
        return _Table(self.content, self._followed(self._field(number)))

    def text(self, number: int) -> str:
        start = self._followed(self._field(number))
        length = struct.unpack_from("<I", self.content, start)[0]
        return self.content[start + 4 : start + 4 + length].decode()

    def vector(self, number: int, width: int) -> list[int]:
        """Where each of a vector's members is."""
        place = self._field(number)
        if not place:
            return []
        start = self._followed(place)
        count = struct.unpack_from("<I", self.content, start)[0]
        return [start + 4 + width * index for index in range(count)]

    def tables(self, number: int) -> list["_Table"]:
        return [_Table(self.content, self._followed(each)) for each in self.vector(number, 4)]
