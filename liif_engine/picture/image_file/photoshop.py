"""Photoshop image resources (8BIM blocks), which hold IPTC among others."""

from __future__ import annotations

_STALE_RESOURCES = {1033, 1036}  # thumbnails of the old pixels


def without_stale_resources(resources: bytes) -> bytes:
    """Photoshop resources without the thumbnails of the old pixels; as they are if there is none or they are broken."""
    kept, position, dropped = [], 0, False
    while position + 12 <= len(resources):
        if resources[position : position + 4] not in {b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR"}:
            return resources
        number = int.from_bytes(resources[position + 4 : position + 6])
        name = resources[position + 6] + 1
        size_at = position + 6 + name + name % 2
        size = int.from_bytes(resources[size_at : size_at + 4])
        end = size_at + 4 + size + size % 2
        if end > len(resources) + 1:
            return resources
        if number in _STALE_RESOURCES:
            dropped = True
        else:
            kept.append(resources[position:end])
        position = end
    return b"".join(kept) + resources[position:] if dropped else resources
