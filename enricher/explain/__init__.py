"""Why a lead is as it is, told from what stands in the database.

Promises that it only reads, and that each decision is named with its reason. Imports what it reads."""
