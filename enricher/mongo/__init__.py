"""The only place that speaks MongoDB; one file for each thing that is stored."""

from typing import Final

from bson.errors import BSONError
from pymongo.errors import PyMongoError

DatabaseTrouble: Final = (PyMongoError, BSONError)
"""What a loop waits out. A command that grew too large for the server is one of the driver's too."""

__all__ = ["DatabaseTrouble"]
