"""Which number a version gets: what a bump comes to, and whether a number promises no more than is true.

Semantic Versioning; before 1.0.0 its usual reading: the minor part may break, the patch part may add.
Previews promise nothing, so numbers are measured from the last release.
"""

from __future__ import annotations

from typing import Final

from runtime.model.values import SemVer
from runtime.model.workflow_diff import VersionBump

FIRST: Final = SemVer(1)
_WEIGHT: Final = {VersionBump.MAJOR: 2, VersionBump.MINOR: 1, VersionBump.PATCH: 0}


def bumped(release: SemVer | None, bump: VersionBump) -> SemVer:
    """The number after the highest release; the first is 1.0.0."""
    if release is None:
        return FIRST
    match bump:
        case VersionBump.MAJOR:
            return SemVer(release.major + 1)
        case VersionBump.MINOR:
            return SemVer(release.major, release.minor + 1)
        case VersionBump.PATCH:
            return SemVer(release.major, release.minor, release.patch + 1)


def proposed(release: SemVer | None, needed: VersionBump) -> SemVer:
    """The lowest number above a release that tells of such a change."""
    if release is not None and release.major == 0 and needed is VersionBump.MAJOR:
        needed = VersionBump.MINOR
    return bumped(release, needed)


def is_enough(release: SemVer, number: SemVer, needed: VersionBump) -> bool:
    """Whether a number above a release tells of such a change."""
    if number.major > release.major:
        return True
    weight = _WEIGHT[needed] - (release.major == 0)
    return weight <= (number.minor > release.minor)
