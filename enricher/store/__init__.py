"""The only place that speaks MongoDB; one file for each thing that is stored."""

from pymongo.errors import PyMongoError as DatabaseTrouble

__all__ = ["DatabaseTrouble"]
