"""Every exception this package raises on purpose, and the exit code each one means.

    EnricherError
    +-- SettingsError        a setting is unknown or wrong; nothing was started
    +-- DatabaseError        MongoDB cannot be used
    |   +-- DatabaseUnreachable    no server answered in time
    |   |   +-- NoPrimary              servers answered, but none of them takes writes
    |   +-- DatabaseRefused        it answered and said no: credentials or privileges
    +-- EmbeddedServerError  the embedded server is missing, or did not come up
    +-- CheckFailed          `enricher check` found something that would keep leads from being enriched

"Not now" (a limit, a vendor's outage, an exhausted quota) is never an exception: it is an
`Answer` (see `answer.py`). A lost lease is a return value of `settle`, not an error.
Messages name settings, hosts and commands, never a key or a person.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; the reference of the commands prints these texts."""

    OK = 0
    """All is well."""
    UNEXPECTED = 1
    """A bug: the traceback is in the log. Of `reenrich` and `explain`: there is no such lead."""
    SETTINGS = 2
    """A setting or an argument is wrong; one line for each says which."""
    DATABASE = 3
    """MongoDB is unreachable, refuses the credentials or a privilege, is no replica set (`check`), or a lead is written no more (`forget`)."""
    CHECK_FAILED = 4
    """`enricher check`: at least one line is not ok."""


class EnricherError(Exception):
    """Root of the tree; `exit_code` is the command's exit code."""

    exit_code = ExitCode.UNEXPECTED


class SettingsError(EnricherError):
    """One or more settings are unknown or wrong; `problems` has one line for each."""

    exit_code = ExitCode.SETTINGS

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DatabaseError(EnricherError):
    """MongoDB cannot be used as it stands."""

    exit_code = ExitCode.DATABASE


class DatabaseUnreachable(DatabaseError):
    """No server answered within the connection timeout."""


class NoPrimary(DatabaseUnreachable):
    """Servers of a replica set answered, but none of them is the primary: an election, as a rule."""


class DatabaseRefused(DatabaseError):
    """The server answered and refused: wrong credentials or a missing privilege."""


class EmbeddedServerError(DatabaseError):
    """The embedded MongoDB is not installed, or did not come up."""


class CheckFailed(EnricherError):
    """A check found something that would keep leads from being enriched."""

    exit_code = ExitCode.CHECK_FAILED
