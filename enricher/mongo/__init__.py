"""What all rooms that store something share: the connection, the server's clock, outages, and the secret.

Promises that what we need of a connection holds whatever the URI says, and that no reply of the server ends
a daemon. Imports telemetry, settings and the process's signals; it knows no collection but its own.
"""

from typing import Final

from bson.errors import BSONError
from pymongo.errors import PyMongoError

DatabaseTrouble: Final = (PyMongoError, BSONError)
"""What a loop waits out, including the driver's error for a command too large for the server."""

__all__ = ["DatabaseTrouble"]
