"""GIF's LZW as far as it goes: what a cut or damaged stream still holds, where a real decoder gives nothing."""

from __future__ import annotations

#: No stream grows more than this: a code of 12 bits stands for at most 4096 indexes.
MOST_INDEXES_PER_BYTE = 4096 * 8 // 12


def unpack_what_is_there(packed: bytes, code_size: int, count: int) -> bytes:
    """The first `count` palette indexes of a stream, or as many as come before it ends or breaks.

    Args:
        packed: codes of growing width, the lowest bit first.
        code_size: bits of an index.
        count: how many indexes are wanted.
    """
    clear, end = 1 << code_size, (1 << code_size) + 1
    plain = [bytes([index & 255]) for index in range(clear)] + [b"", b""]
    table, width, previous = list(plain), code_size + 1, b""
    found = bytearray()
    buffer, bits, position = 0, 0, 0
    while len(found) < count:
        while bits < width:
            if position == len(packed):
                return bytes(found)
            buffer |= packed[position] << bits
            bits += 8
            position += 1
        code, buffer, bits = buffer & (1 << width) - 1, buffer >> width, bits - width
        if code == clear:
            table, width, previous = list(plain), code_size + 1, b""
            continue
        if code == end or code > len(table) or (code == len(table) and not previous):
            break
        entry = table[code] if code < len(table) else previous + previous[:1]
        found += entry
        if previous and len(table) < 4096:
            table.append(previous + entry[:1])
            if len(table) == 1 << width and width < 12:
                width += 1
        previous = entry
    return bytes(found[:count])
